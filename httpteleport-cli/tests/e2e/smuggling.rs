//! Requests made to look different to different readers, through all that stands between client and origin. What the front
//! has not passed on as a request of its own, nobody behind it may take for one.

mod bodies;
mod case;
mod chunks;
mod classic_node;
mod codings;
mod downgrade;
mod framed_node;
mod frames;
mod heads;
mod lengths;
mod origins;
mod targets;

use testkit::wire::HttpReply;
use testkit::wire::http::{read_bodiless_reply, read_reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::case::{Case, text, unnumbered};
use self::origins::{Reader, Seen};
use crate::node::{Node, PATIENCE};

/// The corpus: what is in doubt, and its cases.
const CORPUS: [(&str, &[Case]); 6] = [
    ("a length", lengths::CASES),
    ("a coding", codings::CASES),
    ("a chunk", chunks::CASES),
    ("a head", heads::CASES),
    ("a target", targets::CASES),
    ("a body", bodies::CASES),
];

/// The front ends what does not come to its end after so long.
const LIMITS: [&str; 6] = ["--in-head-timeout", "2s", "--in-body-timeout", "2s", "--in-idle-timeout", "2s"];

/// What stands between client and origin.
enum Way {
    OneNode,
    Framed,
    Classic,
}

impl Way {
    fn name(&self) -> &'static str {
        match self {
            Way::OneNode => "no wire",
            Way::Framed => "framed",
            Way::Classic => "classic",
        }
    }

    /// The node that clients speak to, and the others.
    fn start(&self, out: &str) -> (Node, Option<Node>) {
        if matches!(self, Way::OneNode) {
            return (Node::start("http://127.0.0.1:0", out, &LIMITS), None);
        }
        let wire = ["--wire", self.name()];
        let far = Node::start("teleport://127.0.0.1:0", out, &wire);
        let near = Node::start("http://127.0.0.1:0", far.url(), &[&wire[..], &LIMITS].concat());
        (near, Some(far))
    }
}

/// All that a client is answered on one connection, to its end.
async fn converse(address: String, bytes: Vec<u8>) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    // It may be refused, and the connection reset, before all of it is out.
    let _ = stream.write_all(&bytes).await;
    let mut received = Vec::new();
    if timeout(PATIENCE, stream.read_to_end(&mut received)).await.is_err() {
        received.extend_from_slice(b"and no end");
    }
    received
}

/// Replies in words, as [`Case::want`] has them; interim ones say nothing.
fn replies(mut bytes: &[u8], want: &[&str]) -> Vec<String> {
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        let bodiless = want.get(replies.len()).is_some_and(|want| want.starts_with("HEAD "));
        let read = if bodiless { read_bodiless_reply(bytes) } else { read_reply(bytes) };
        let Ok((reply, length)) = read else {
            replies.push(format!("{read:?}: {}", bytes.escape_ascii()));
            break;
        };
        bytes = &bytes[length..];
        if reply.status >= 200 {
            replies.push(answer(&reply));
        }
    }
    replies
}

fn answer(reply: &HttpReply) -> String {
    match reply.value("X-Seen") {
        Some(seen) => unnumbered(&text(seen)).1,
        None => reply.status.to_string(),
    }
}

/// What was passed on of a case, of what its client was answered.
fn passed<'a>(want: &[&'a str]) -> Vec<&'a str> {
    want.iter().filter(|want| want.parse::<u16>().is_err()).copied().collect()
}

/// The request line of a request in words.
fn line(words: &str) -> String {
    let target = words.rsplitn(3, ' ').last().expect("method and target");
    format!("{target} HTTP/1.1")
}

/// Those of them that are of this case.
fn of(seen: &[Seen], number: usize) -> Vec<&str> {
    seen.iter().filter(|seen| seen.0 == Some(number)).map(|seen| &*seen.1).collect()
}

async fn all_is_read_in_one_way(way: Way, reader: Reader) {
    let (near, far) = way.start(&reader.url);
    let cases: Vec<(&str, &Case)> =
        CORPUS.iter().flat_map(|(what, cases)| cases.iter().map(move |case| (*what, case))).collect();
    let mut running = JoinSet::new();
    for (number, (_, case)) in cases.iter().enumerate() {
        let (address, bytes) = (near.address().to_owned(), case.bytes(number));
        running.spawn(async move { (number, converse(address, bytes).await) });
    }
    let received = running.join_all().await;
    drop((near, far));
    // Also what that server refuses itself.
    let lines = |case: &Case| passed(case.wanted(&[way.name()])).into_iter().map(line).collect::<Vec<_>>();
    let numbered = cases.iter().enumerate();
    let wanted: Vec<Seen> = numbered
        .flat_map(|(number, (_, case))| lines(case).into_iter().map(move |line| (Some(number), line)))
        .collect();
    let (seen, asked) = (reader.seen(), reader.asked(&wanted).await);
    let mut faults = Vec::new();
    for (number, received) in received {
        let (what, case) = cases[number];
        let want = case.wanted(&[way.name(), reader.name]);
        let answers = replies(&received, want);
        if answers != want {
            faults.push(format!("{what}, {}: the client was answered {answers:?}, not {want:?}", case.about));
        }
        let (seen, want) = (of(&seen, number), passed(want));
        if seen != want {
            faults.push(format!("{what}, {}: the last one to read has understood {seen:?}, not {want:?}", case.about));
        }
        let Some(asked) = &asked else { continue };
        let want = lines(case);
        let mut asked = of(asked, number);
        if answers.iter().any(|answer| answer == "408") {
            // It had begun, and was broken off.
            asked.retain(|line| *line != "POST /outer HTTP/1.1");
        }
        if asked != want {
            faults.push(format!("{what}, {}: {} has read {asked:?}, not {want:?}", case.about, reader.name));
        }
    }
    let nobodys = seen.iter().chain(asked.iter().flatten()).filter(|seen| seen.0.is_none());
    faults.extend(nobodys.map(|(_, request)| format!("nobody asked {request:?}")));
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), cases.len(), faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_parser_behind_one_node() {
    all_is_read_in_one_way(Way::OneNode, Reader::strict().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_parser_behind_the_framed_wire() {
    all_is_read_in_one_way(Way::Framed, Reader::strict().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_parser_behind_the_classic_wire() {
    all_is_read_in_one_way(Way::Classic, Reader::strict().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_behind_one_node() {
    all_is_read_in_one_way(Way::OneNode, Reader::nginx().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_behind_the_framed_wire() {
    all_is_read_in_one_way(Way::Framed, Reader::nginx().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_behind_the_classic_wire() {
    all_is_read_in_one_way(Way::Classic, Reader::nginx().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apache_behind_one_node() {
    all_is_read_in_one_way(Way::OneNode, Reader::apache().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apache_behind_the_framed_wire() {
    all_is_read_in_one_way(Way::Framed, Reader::apache().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apache_behind_the_classic_wire() {
    all_is_read_in_one_way(Way::Classic, Reader::apache().await).await;
}
