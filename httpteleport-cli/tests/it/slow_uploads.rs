//! Clients that stop in the middle of their uploads, over teleport: they are answered 408 by the node that found it, and no
//! upstream is blamed.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::Request;
use http::header::CONTENT_LENGTH;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use httpteleport::{Limits, Wire};
use testkit::raw::RawPeer;
use testkit::wire::{Compression, Hello, HttpRequest, frame};
use tokio::net::TcpStream;

use crate::admin::{get, value};
use crate::client::{Client, Reply};
use crate::clients::log_has;
use crate::origin::Origin;
use crate::program::Program;
use crate::stage::Stage;

const ANY: &str = "127.0.0.1:0";
const SOON: &str = "--in-body-timeout=50ms";
/// More than is read before any of it goes on.
const LENGTH: usize = 100_000;
/// More of them than get an upstream ejected that fails them.
const MANY: usize = 8;

/// Two nodes and an origin that waits for the rest of what is sent there.
struct Pair {
    near: Program,
    near_admin: String,
    far_admin: String,
    _far: Program,
    _origin: Origin,
}

impl Pair {
    async fn start(near: &[&str], far: &[&str]) -> Pair {
        let (origin, far, far_admin) = far_node(far).await;
        let out = format!("teleport://{}", teleport_address(&far));
        let mut near = Program::between("http://127.0.0.1:0", &out, &[&["--admin", ANY], near].concat()).await;
        let near_admin = near.admin().await;
        Pair { near, near_admin, far_admin, _far: far, _origin: origin }
    }

    /// The replies to clients that send a part of a body and then nothing, and to one that asks when these have theirs.
    async fn stopped(&self) -> Vec<Reply> {
        let length = format!("Content-Length: {LENGTH}");
        let mut replies = Vec::new();
        for framing in [&length, "Transfer-Encoding: chunked"].into_iter().cycle().take(MANY) {
            let mut client = Client::connect(self.near.address()).await;
            client.send(format!("PUT /echo HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n3\r\nabc\r\n")).await;
            replies.push(client.reply().await);
        }
        assert_eq!(Client::connect(self.near.address()).await.get("/size/1").await.text(), "x");
        replies
    }
}

/// An origin, the node before it, and that one's admin address.
async fn far_node(options: &[&str]) -> (Origin, Program, String) {
    let origin = Origin::start().await;
    let options = [&["--admin", ANY], options].concat();
    let mut far = Program::between("teleport://127.0.0.1:0", &origin.url(), &options).await;
    let admin = far.admin().await;
    (origin, far, admin)
}

fn teleport_address(program: &Program) -> &str {
    program.address().split(" (").next().expect("an address")
}

/// How many bodies a node has found that stopped.
async fn found(admin: &str) -> f64 {
    value(get(admin, "/metrics").await.text(), "httptp_refusals_total", &["reason=\"slow_body\""])
}

/// Nobody holds anything against the node's upstream.
async fn blames_nobody(admin: &str) {
    let metrics = get(admin, "/metrics").await;
    let of = |name: &str, labels: &[&str]| value(metrics.text(), name, labels);
    assert_eq!(of("httptp_upstream_failures_total", &[]), 0.0);
    assert_eq!(of("httptp_upstream_ejections_total", &[]), 0.0);
    assert_eq!(of("httptp_upstream_retries_total", &[]), 0.0);
    for kind in ["unreachable", "timeout", "busy", "refused", "broken"] {
        assert_eq!(of("httptp_failed_requests_total", &[&format!("kind=\"{kind}\"")]), 0.0, "{kind}");
    }
}

#[tokio::test]
async fn the_far_node_finds_it() {
    let pair = Pair::start(&[], &[SOON]).await;
    for reply in pair.stopped().await {
        assert_eq!((reply.status(), reply.text()), (408, "teleport: proxying error: the request's body stopped\n"));
    }
    assert_eq!((found(&pair.far_admin).await, found(&pair.near_admin).await), (MANY as f64, 0.0));
    blames_nobody(&pair.near_admin).await;
    blames_nobody(&pair.far_admin).await;
}

#[tokio::test]
async fn the_near_node_finds_it() {
    for wire in ["framed", "classic"] {
        let pair = Pair::start(&[SOON, "--wire", wire], &[]).await;
        for reply in pair.stopped().await {
            let want = (408, "http: proxying error: the request's body stopped\n");
            assert_eq!((reply.status(), reply.text()), want, "{wire}");
        }
        assert_eq!((found(&pair.far_admin).await, found(&pair.near_admin).await), (0.0, MANY as f64), "{wire}");
        blames_nobody(&pair.near_admin).await;
        blames_nobody(&pair.far_admin).await;
    }
}

#[tokio::test]
async fn a_client_of_the_library_is_answered_too() {
    let origin = Origin::start().await;
    let args = ["--in", "teleport://127.0.0.1:0", "--out", &origin.url(), "--admin", ANY, SOON, "--log-all-errors"];
    let (mut far, mut log) = Program::logged(&args).await;
    let admin = far.admin().await;
    let client = httpteleport::Client::builder(Limits::default()).wire(Wire::Framed);
    let client = client.connect(teleport_address(&far)).expect("fine");
    for length in [None, Some(10), Some(LENGTH)] {
        let piece = Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"abc")));
        let body = StreamBody::new(stream::iter([piece]).chain(stream::pending()));
        let mut request = Request::put("http://h/echo").body(body).expect("fine");
        if let Some(length) = length {
            request.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        let reply = client.stream(request).await.expect("a reply");
        assert_eq!(reply.status(), 408, "{length:?}");
        let text = reply.into_body().collect().await.expect("whole").to_bytes();
        assert_eq!(text, "teleport: proxying error: the request's body stopped\n");
        let line = log_has(&mut log, "the request's body stopped").await;
        assert!(line.contains("request of 127.0.0.1:"), "{line}");
    }
    assert_eq!(found(&admin).await, 3.0);
    blames_nobody(&admin).await;
}

/// The classic wire has no way to break off a message alone: the connection ends.
#[tokio::test]
async fn a_client_of_the_classic_wire_that_stops_in_the_middle_of_a_message_is_ended() {
    let origin = Origin::start().await;
    let args = ["--in", "teleport://127.0.0.1:0", "--out", &origin.url(), "--admin", ANY, SOON, "--log-all-errors"];
    let (mut far, mut log) = Program::logged(&args).await;
    let admin = far.admin().await;
    let message = HttpRequest::new("PUT", "/echo").header("Host", "h").body(&[b'x'; 1000]).bytes();
    let message = frame(1, &message);
    for part in [1, 20, 500, message.len() - 1] {
        let mut client = RawPeer::new(TcpStream::connect(teleport_address(&far)).await.expect("a connection"));
        let hello = Hello::http(Compression::None);
        client.send(&hello.bytes()).await;
        let heard = client.hear_hello(&hello.sniff).await;
        client.begin(&hello, &heard);
        client.say(&message[..part]).await;
        let line = log_has(&mut log, "teleport connection of 127.0.0.1:").await;
        assert!(line.contains("the peer has not sent the rest of a request for 50 ms"), "{line}");
    }
    assert_eq!(found(&admin).await, 4.0);
    assert_eq!(origin.connections(), 0);
    blames_nobody(&admin).await;
}

#[tokio::test]
async fn a_reply_that_has_begun_breaks_off() {
    // Long enough for the reply to begin, on any machine.
    let mut stage = Stage::with(&["--in-body-timeout=1500ms", "--admin", ANY]).await;
    let admin = stage.program.admin().await;
    let (mut client, mut origin) = stops_late(stage.program.address(), &stage).await;
    assert_eq!(client.rest().await, b"12345");
    assert_eq!(origin.rest().await, b"abc");
    assert_eq!(found(&admin).await, 1.0);
    blames_nobody(&admin).await;
}

/// A client of the node that stops in its upload when its reply has begun, and the origin behind that.
async fn stops_late(node: &str, stage: &Stage) -> (Client, Client) {
    let mut client = Client::connect(node).await;
    client.send(format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {LENGTH}\r\n\r\nabc")).await;
    let mut origin = stage.accept().await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345").await;
    assert_eq!(client.head().await.status(), 200);
    (client, origin)
}

#[tokio::test]
async fn the_near_node_blames_nobody_when_the_far_one_breaks_off_a_reply_for_that() {
    for (input, out) in [("teleport", "teleport"), ("http", "h2c")] {
        let input = format!("{input}://127.0.0.1:0");
        let mut far = Stage::before(&input, &["--in-body-timeout=1500ms", "--admin", ANY]).await;
        let far_admin = far.program.admin().await;
        let out = format!("{out}://{}", teleport_address(&far.program));
        let mut near = Program::between("http://127.0.0.1:0", &out, &["--admin", ANY]).await;
        let near_admin = near.admin().await;
        let (mut client, mut origin) = stops_late(near.address(), &far).await;
        assert_eq!(client.rest().await, b"12345");
        assert_eq!(origin.rest().await, b"abc");
        assert_eq!((found(&far_admin).await, found(&near_admin).await), (1.0, 0.0), "{out}");
        blames_nobody(&far_admin).await;
        blames_nobody(&near_admin).await;
    }
}

#[tokio::test]
async fn an_upstream_that_waits_for_the_rest_is_not_blamed_for_its_pause() {
    let mut stage = Stage::with(&["--out-body-timeout=500ms", "--admin", ANY]).await;
    let admin = stage.program.admin().await;
    let (mut client, _origin) = stops_late(stage.program.address(), &stage).await;
    assert_eq!(client.rest().await, b"12345");
    blames_nobody(&admin).await;
}

#[tokio::test]
async fn one_that_is_lost_meanwhile_is() {
    let mut stage = Stage::with(&["--admin", ANY]).await;
    let admin = stage.program.admin().await;
    let (mut client, origin) = stops_late(stage.program.address(), &stage).await;
    drop(origin);
    assert_eq!(client.rest().await, b"12345");
    assert_eq!(value(get(&admin, "/metrics").await.text(), "httptp_upstream_failures_total", &[]), 1.0);
}
