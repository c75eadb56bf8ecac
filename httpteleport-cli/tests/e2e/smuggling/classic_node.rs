//! A node on the classic wire, whose messages are HTTP/1.1 text, that says what no node of ours would.

use testkit::raw::RawPeer;
use testkit::wire::http::{read_reply, read_request};
use testkit::wire::{Compression, Hello, frame};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::case::{AFTER, numbered};
use super::origins::Reader;
use super::{answer, of};
use crate::node::{Node, PATIENCE};

/// A message, in the words of [`Case`](super::case::Case), and what it is answered; `end` where the connection ends. `CALL` is
/// `INNER` as a call of its own, 44 bytes, hexadecimal 2c.
type Case = (&'static str, &'static str, &'static [&'static str]);

/// It is passed on, with the call in its body.
const AS_A_BODY: &[&str] = &["POST /outer h 44", AFTER];
const END: &[&str] = &["end"];

const CASES: &[Case] = &[
    ("a body", "OUTERContent-Length: 44\r\n\r\nCALL", AS_A_BODY),
    ("a body in chunks", "OUTERTransfer-Encoding: chunked\r\n\r\n2c\r\nCALL\r\n0\r\n\r\n", AS_A_BODY),
    ("two lengths", "OUTERContent-Length: 0\r\nContent-Length: 44\r\n\r\nCALL", END),
    ("two lengths, the larger one first", "OUTERContent-Length: 44\r\nContent-Length: 0\r\n\r\nCALL", END),
    ("the same length twice", "OUTERContent-Length: 44\r\nContent-Length: 44\r\n\r\nCALL", END),
    ("a list of lengths", "OUTERContent-Length: 44, 44\r\n\r\nCALL", END),
    ("a plus sign", "OUTERContent-Length: +44\r\n\r\nCALL", END),
    ("a blank in a length", "OUTERContent-Length: 4 4\r\n\r\nCALL", END),
    ("no length", "OUTERContent-Length: \r\n\r\nCALL", END),
    ("a length over 64 bits", "OUTERContent-Length: 18446744073709551660\r\n\r\nCALL", END),
    (
        "a length and chunks",
        "OUTERContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2c\r\nCALL\r\n0\r\n\r\n",
        AS_A_BODY,
    ),
    (
        "chunks and a length",
        "OUTERTransfer-Encoding: chunked\r\nContent-Length: 44\r\n\r\n2c\r\nCALL\r\n0\r\n\r\n",
        AS_A_BODY,
    ),
    ("identity", "OUTERContent-Length: 44\r\nTransfer-Encoding: identity\r\n\r\nCALL", AS_A_BODY),
    ("chunked, then identity", "OUTERTransfer-Encoding: chunked, identity\r\n\r\n2c\r\nCALL\r\n0\r\n\r\n", END),
    ("identity, then chunked", "OUTERTransfer-Encoding: identity, chunked\r\n\r\n2c\r\nCALL\r\n0\r\n\r\n", END),
    ("xchunked", "OUTERTransfer-Encoding: xchunked\r\n\r\n2c\r\nCALL\r\n0\r\n\r\n", END),
    ("a blank before the colon of a length", "OUTERContent-Length : 44\r\n\r\nCALL", AS_A_BODY),
    ("a folded length", "OUTERContent-Length:\r\n 44\r\n\r\nCALL", END),
    ("a folded coding", "OUTERX: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 44\r\n\r\nCALL", END),
    (
        "a bare CR in a value",
        "OUTERX: a\rTransfer-Encoding: chunked\r\nContent-Length: 44\r\n\r\nCALL",
        &["400", AFTER],
    ),
    ("a null byte in a value", "OUTERX: a\0b\r\nContent-Length: 44\r\n\r\nCALL", &["400", AFTER]),
    ("no colon", "OUTERTransfer-Encoding\r\nContent-Length: 44\r\n\r\nCALL", END),
    ("a chunk size with a sign", "OUTERTransfer-Encoding: chunked\r\n\r\n+2c\r\nCALL\r\n0\r\n\r\n", END),
    ("a chunk size with 0x", "OUTERTransfer-Encoding: chunked\r\n\r\n0x2c\r\nCALL\r\n0\r\n\r\n", END),
    ("a chunk size over 64 bits", "OUTERTransfer-Encoding: chunked\r\n\r\n1000000000000002c\r\nCALL\r\n0\r\n\r\n", END),
    ("a chunk with a tail", "OUTERTransfer-Encoding: chunked\r\n\r\n2\r\nhiXX\r\n0\r\n\r\nCALL", END),
    (
        "a length as a trailer",
        "OUTERTransfer-Encoding: chunked\r\n\r\n2c\r\nCALL\r\n0\r\nContent-Length: 0\r\n\r\n",
        AS_A_BODY,
    ),
    ("Connection names the length", "OUTERConnection: Content-Length\r\nContent-Length: 44\r\n\r\nCALL", AS_A_BODY),
    ("Connection names the host", "OUTERConnection: Host\r\nContent-Length: 44\r\n\r\nCALL", AS_A_BODY),
    ("two hosts", "OUTERHost: other\r\nContent-Length: 44\r\n\r\nCALL", &["400", AFTER]),
    ("an absolute target", "POST http://h/outer HTTP/1.1\r\nHost: other\r\nContent-Length: 44\r\n\r\nCALL", AS_A_BODY),
    (
        "an absolute target with a user",
        "POST http://other@h/outer HTTP/1.1\r\nHost: h\r\nContent-Length: 44\r\n\r\nCALL",
        &["400", AFTER],
    ),
    ("a fragment", "POST /outer#x HTTP/1.1\r\nHost: h\r\nContent-Length: 44\r\n\r\nCALL", AS_A_BODY),
    ("no host", "POST /outer HTTP/1.1\r\nContent-Length: 44\r\n\r\nCALL", &["400", AFTER]),
    ("a host with a path", "POST /outer HTTP/1.1\r\nHost: h/x\r\nContent-Length: 44\r\n\r\nCALL", &["400", AFTER]),
    ("a blank in the target", "POST /outer GET HTTP/1.1\r\nHost: h\r\nContent-Length: 44\r\n\r\nCALL", &["400", AFTER]),
    ("CONNECT", "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nContent-Length: 44\r\n\r\nCALL", &["501", AFTER]),
    ("an upgrade", "OUTERUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 44\r\n\r\nCALL", AS_A_BODY),
    ("another version", "POST /outer HTTP/2.0\r\nHost: h\r\nContent-Length: 44\r\n\r\nCALL", &["505", AFTER]),
];

/// What a case is answered on a connection of its own, in words; calls behind it too.
async fn converse(address: &str, message: &str, number: usize) -> Vec<String> {
    let hello = Hello::http(Compression::None);
    let mut peer = RawPeer::new(TcpStream::connect(address).await.expect("a connection"));
    let call = frame(9, numbered("INNER", number).as_bytes());
    assert!(read_request(&call[4..]).is_ok_and(|(_, length)| length + 4 == 44), "as long as the cases say");
    let message = numbered(message, number).replace("CALL", &String::from_utf8(call).expect("ASCII"));
    let after = numbered("GET /after HTTP/1.1\r\nHost: h\r\n\r\n", number);
    peer.send(&[hello.bytes(), frame(1, message.as_bytes()), frame(2, after.as_bytes())].concat()).await;
    let heard = peer.hear_hello(&hello.sniff).await;
    peer.begin(&hello, &heard);
    let mut answers = Vec::new();
    while answers.len() < 2 {
        let Some(reply) = peer.next_frame(read_reply).await else {
            answers.push((u32::MAX, "end".to_owned()));
            break;
        };
        answers.push((reply.id, answer(&reply.message)));
    }
    // They may come in any order.
    answers.sort();
    answers.into_iter().map(|(_, answer)| answer).collect()
}

async fn all_is_read_in_one_way(reader: Reader) {
    let far = Node::start("teleport://127.0.0.1:0", &reader.url, &["--wire", "classic", "--in-compress", "none"]);
    let mut running = JoinSet::new();
    for (number, (_, message, _)) in CASES.iter().enumerate() {
        let address = far.address().to_owned();
        running.spawn(async move {
            (number, timeout(PATIENCE, converse(&address, message, number)).await.expect("in time"))
        });
    }
    let answers = running.join_all().await;
    drop(far);
    let seen = reader.seen();
    let mut faults = Vec::new();
    for (number, answers) in answers {
        let (about, _, want) = CASES[number];
        let mut passed: Vec<&str> = want.iter().copied().filter(|want| want.contains(' ')).collect();
        let mut seen = of(&seen, number);
        passed.sort_unstable();
        seen.sort_unstable();
        if answers != want || seen != passed {
            faults.push(format!("{about}: answered {answers:?}, not {want:?}; the origin: {seen:?}"));
        }
    }
    assert!(seen.iter().all(|(number, _)| number.is_some()), "nobody asked that: {seen:?}");
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), CASES.len(), faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn before_a_strict_parser() {
    all_is_read_in_one_way(Reader::strict().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_nginx() {
    all_is_read_in_one_way(Reader::nginx().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_apache() {
    all_is_read_in_one_way(Reader::apache().await).await;
}
