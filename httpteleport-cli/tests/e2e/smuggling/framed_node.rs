//! A node on the framed wire that says what no node of ours would.

use std::sync::Arc;

use bytes::Bytes;
use fastrpc::stream::{Client, HeadCodec, SendBody};
use fastrpc::{BoxError, Protocol, Wire};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::case::{numbered, unnumbered};
use super::of;
use super::origins::Reader;
use crate::node::{Node, PATIENCE};

/// A head of its own making.
#[derive(Clone, Copy)]
struct Head {
    /// With its length or number.
    method: &'static str,
    target: &'static str,
    /// [`PROTOCOL`] is a number of the table of names; others are written out.
    fields: &'static [(&'static str, &'static str)],
}

struct Case {
    about: &'static str,
    head: Head,
    /// The last one is what follows the body: `None` without trailers.
    pieces: &'static [&'static str],
    trailers: Option<(&'static str, &'static str)>,
    want: &'static str,
}

const GET: &str = "\0";
const POST: &str = "\u{2}";
const CONNECT: &str = "\u{5}";
const HOST: (&str, &str) = ("host", "h");
const PROTOCOL: &str = "\0";

const fn case(
    about: &'static str,
    (method, target): (&'static str, &'static str),
    fields: &'static [(&'static str, &'static str)],
    pieces: &'static [&'static str],
    want: &'static str,
) -> Case {
    Case { about, head: Head { method, target, fields }, pieces, trailers: None, want }
}

const fn trailed(about: &'static str, trailer: (&'static str, &'static str), want: &'static str) -> Case {
    let case = case(about, (POST, "/outer"), &[HOST], &["INNER"], want);
    Case { trailers: Some(trailer), ..case }
}

const CASES: &[Case] = &[
    case("a body", (POST, "/outer"), &[HOST], &["INNER"], "POST /outer h 40"),
    case("a body in pieces", (POST, "/outer"), &[HOST], &["INNER", "INNER"], "POST /outer h 80"),
    case("a length", (POST, "/outer"), &[HOST, ("content-length", "40")], &["INNER"], "POST /outer h 40"),
    case("a length that is too small", (POST, "/outer"), &[HOST, ("content-length", "0")], &["INNER"], "reset"),
    case("a length that is too large", (POST, "/outer"), &[HOST, ("content-length", "41")], &["INNER"], "reset"),
    case(
        "a length that is too small for pieces",
        (POST, "/outer"),
        &[HOST, ("content-length", "41")],
        &["INNER", "INNER"],
        "reset",
    ),
    case(
        "a length that is too large for pieces",
        (POST, "/outer"),
        &[HOST, ("content-length", "90")],
        &["INNER", "INNER"],
        "reset",
    ),
    case("a length of a GET that has no body", (GET, "/outer"), &[HOST, ("content-length", "40")], &[], "reset"),
    case(
        "two lengths",
        (POST, "/outer"),
        &[HOST, ("content-length", "0"), ("content-length", "40")],
        &["INNER"],
        "400",
    ),
    case(
        "the same length twice",
        (POST, "/outer"),
        &[HOST, ("content-length", "40"), ("content-length", "40")],
        &["INNER"],
        "POST /outer h 40",
    ),
    case("a list of lengths", (POST, "/outer"), &[HOST, ("content-length", "40, 40")], &["INNER"], "400"),
    case("a plus sign", (POST, "/outer"), &[HOST, ("content-length", "+40")], &["INNER"], "400"),
    case(
        "a length over 64 bits",
        (POST, "/outer"),
        &[HOST, ("content-length", "18446744073709551656")],
        &["INNER"],
        "400",
    ),
    case("a coding", (POST, "/outer"), &[HOST, ("transfer-encoding", "chunked")], &["CHUNKS"], "400"),
    case("connection", (POST, "/outer"), &[HOST, ("connection", "x")], &["INNER"], "400"),
    case("upgrade", (GET, "/outer"), &[HOST, ("upgrade", "h2c")], &[], "400"),
    case("te", (GET, "/outer"), &[HOST, ("te", "chunked")], &[], "400"),
    case("expect", (POST, "/outer"), &[HOST, ("expect", "100-continue")], &["INNER"], "POST /outer h 40"),
    case(
        "CR and LF in a value",
        (POST, "/outer"),
        &[HOST, ("x", "a\r\nTransfer-Encoding: chunked")],
        &["CHUNKS"],
        "400",
    ),
    case("LF in a value", (GET, "/outer"), &[HOST, ("x", "a\nHost: other")], &[], "400"),
    case("a null byte in a value", (GET, "/outer"), &[HOST, ("x", "a\0b")], &[], "400"),
    case("a blank at the end of a value", (GET, "/outer"), &[HOST, ("x", "a ")], &[], "400"),
    case("a request in a value", (GET, "/outer"), &[HOST, ("x", "\r\n\r\nINNER")], &[], "400"),
    case("CR and LF in a name", (GET, "/outer"), &[HOST, ("x: y\r\nhost", "other")], &[], "400"),
    case("a colon in a name", (GET, "/outer"), &[HOST, ("x:", "y")], &[], "400"),
    case("capitals in a name", (POST, "/outer"), &[HOST, ("Content-Length", "0")], &["INNER"], "400"),
    case("no host", (GET, "/outer"), &[], &[], "400"),
    case("two hosts", (GET, "/outer"), &[HOST, ("host", "other")], &[], "400"),
    case("the same host twice", (GET, "/outer"), &[HOST, HOST], &[], "400"),
    case("an empty host", (GET, "/outer"), &[("host", "")], &[], "400"),
    case("a host with CR and LF", (GET, "/outer"), &[("host", "h\r\nX: y")], &[], "400"),
    case("a host with a path", (GET, "/outer"), &[("host", "h/smuggled")], &[], "400"),
    case("a port that is none", (GET, "/outer"), &[("host", "h:x")], &[], "400"),
    case("an absolute target", (GET, "http://other/outer"), &[HOST], &[], "400"),
    case("a target with a blank", (GET, "/outer HTTP/1.1"), &[HOST], &[], "400"),
    case("a target with a request behind it", (GET, "/outer HTTP/1.1\r\nHost: h\r\n\r\nINNER"), &[HOST], &[], "400"),
    case("a target with a fragment", (GET, "/outer#x"), &[HOST], &[], "400"),
    case("an asterisk", (GET, "*"), &[HOST], &[], "400"),
    case("no target", (GET, ""), &[HOST], &[], "400"),
    case("a request line for a method", ("\u{21}GET / HTTP/1.1\r\n", "/outer"), &[HOST], &[], "400"),
    case("CONNECT", (CONNECT, "h:1"), &[], &["INNER"], "501"),
    case("HTTP/2 for a protocol", (GET, "/outer"), &[HOST, (PROTOCOL, "h2c")], &["INNER"], "501"),
    case("HTTP/1.1 for a protocol", (GET, "/outer"), &[HOST, (PROTOCOL, "HTTP/1.1")], &["INNER"], "501"),
    case("a protocol with CR and LF", (GET, "/outer"), &[HOST, (PROTOCOL, "x\r\nX: y")], &["INNER"], "400"),
    trailed("a trailer", ("x", "y"), "POST /outer h 40"),
    trailed("a length as a trailer", ("content-length", "0"), "reset"),
    trailed("a coding as a trailer", ("transfer-encoding", "chunked"), "reset"),
    trailed("a host as a trailer", ("host", "other"), "reset"),
    trailed("CR and LF in a trailer", ("x", "a\r\n\r\nINNER"), "reset"),
];

/// Heads as they are told.
struct Raw;

impl HeadCodec for Raw {
    type Request = Vec<u8>;
    type Reply = u16;

    fn encode_request(&self, head: &Vec<u8>, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(head);
        Ok(())
    }

    fn decode_request(&self, _: &Bytes) -> Result<Vec<u8>, BoxError> {
        Err("nobody asks this node".into())
    }

    fn encode_reply(&self, _: &u16, _: &mut Vec<u8>) -> Result<(), BoxError> {
        Err("nobody asks this node".into())
    }

    fn decode_reply(&self, head: &Bytes) -> Result<u16, BoxError> {
        Ok(u16::from_le_bytes(head[..2].try_into()?))
    }
}

impl Head {
    fn bytes(&self, number: usize) -> Vec<u8> {
        let mut bytes = self.method.as_bytes().to_vec();
        string(&mut bytes, &numbered(self.target, number));
        self.fields.iter().for_each(|(name, value)| field(&mut bytes, name, &numbered(value, number)));
        bytes
    }
}

fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    if name != PROTOCOL {
        out.push(64 + u8::try_from(name.len()).expect("short"));
    }
    out.extend(name.bytes());
    string(out, value);
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).ok().filter(|length| *length < 128).expect("short"));
    out.extend(text.bytes());
}

/// What the call is answered, in words.
async fn call(client: &Client<Raw>, case: &Case, number: usize) -> String {
    let head = case.head.bytes(number);
    let whole = case.pieces.len() < 2 && case.trailers.is_none();
    let body = case.pieces.first().filter(|_| whole).map_or(Bytes::new(), |body| numbered(body, number).into());
    let body = if whole { SendBody::Whole(body) } else { SendBody::Pieces };
    let (answer, writer) = client.call(&head, body).await.expect("a connection");
    if let Some(mut writer) = writer {
        for piece in case.pieces {
            // It may have been refused by now.
            let _ = writer.write(numbered(piece, number).into()).await;
        }
        let trailers = case.trailers.map(|(name, value)| {
            let mut out = Vec::new();
            field(&mut out, name, &numbered(value, number));
            out.into()
        });
        writer.finish(trailers).expect("short");
    }
    let Ok(mut reply) = answer.await else { return "reset".to_owned() };
    let mut body = Vec::new();
    while let Some(piece) = reply.body.piece().await {
        let Ok(piece) = piece else { return "cut".to_owned() };
        body.extend_from_slice(&piece);
    }
    match reply.head {
        200 => unnumbered(&String::from_utf8_lossy(&body)).1,
        status => status.to_string(),
    }
}

async fn all_is_read_in_one_way(reader: Reader) {
    let far = Node::start("teleport://127.0.0.1:0", &reader.url, &["--wire", "framed"]);
    let builder = Client::builder(Raw).protocol(Protocol::new("httpteleport", 0).expect("a name"));
    let client = Arc::new(builder.wire(Wire::Framed).connect(far.address()).expect("an address"));
    let mut running = JoinSet::new();
    for (number, case) in CASES.iter().enumerate() {
        let client = Arc::clone(&client);
        running.spawn(async move { (number, timeout(PATIENCE, call(&client, case, number)).await.expect("in time")) });
    }
    let answers = running.join_all().await;
    drop(far);
    let seen = reader.seen();
    let mut faults = Vec::new();
    for (number, answer) in answers {
        let Case { about, want, .. } = &CASES[number];
        let passed: Vec<&str> = [*want].into_iter().filter(|want| want.contains(' ')).collect();
        if answer != *want || of(&seen, number) != passed {
            faults.push(format!("{about}: answered {answer:?}, not {want:?}; the origin: {:?}", of(&seen, number)));
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
