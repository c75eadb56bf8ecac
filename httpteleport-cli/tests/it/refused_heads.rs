//! Heads that the libraries refuse before they are a request of the program's: each is counted, and has its lines in both logs.

use bytes::Bytes;
use fastrpc::stream::{HeadCodec, SendBody};
use fastrpc::{BoxError, Protocol};
use http::Request;
use httpteleport::{Body, Limits, Wire};
use testkit::raw::RawPeer;
use testkit::wire::{Compression, Hello, HttpRequest, frame};
use tokio::io::{BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::ChildStderr;
use tokio::time::timeout;

use crate::admin::{get, value};
use crate::client::Client;
use crate::clients::log_has;
use crate::http2::{connect, empty, raw};
use crate::origin::Origin;
use crate::program::{PATIENCE, Program};

/// A program with all its logs.
struct Node {
    program: Program,
    log: Lines<BufReader<ChildStderr>>,
    admin: String,
    _origin: Origin,
}

impl Node {
    async fn start(input: &str, more: &[&str]) -> Node {
        let origin = Origin::start().await;
        let url = origin.url();
        let args = ["--in", input, "--out", &url, "--admin", "127.0.0.1:0", "--access-log", "-", "--log-all-errors"];
        let (program, mut log) = Program::saying_on_stderr(&[&args[..], more].concat()).await;
        let told = log_has(&mut log, "admin page").await;
        let admin = told.rsplit_once("http://").expect("a URL").1.trim_end_matches('/').to_owned();
        Node { program, log, admin, _origin: origin }
    }

    /// `HOST:PORT` of its input.
    fn address(&self) -> &str {
        self.program.address().split(" (").next().expect("an address")
    }

    async fn counted(&self, reason: &str) -> f64 {
        let metrics = get(&self.admin, "/metrics").await;
        value(metrics.text(), "httptp_refusals_total", &[&format!("reason=\"{reason}\"")])
    }

    /// One more was refused with this status, for that reason.
    async fn has_refused(&mut self, status: u16, reason: &str, why: &str, before: f64) {
        self.has_noted(&format!("refused with {status}: {why}"), status, reason, before).await;
    }

    /// The log says that of a request, the access log that status, and one more is counted.
    async fn has_noted(&mut self, became: &str, status: u16, reason: &str, before: f64) {
        let line = log_has(&mut self.log, became).await;
        assert!(line.contains(" WARN ") || line.contains(" DEBUG "), "{line}");
        assert!(line.contains("request of 127.0.0.1:"), "{line}");
        let line = self.program.next_line().await;
        assert!(line.starts_with("127.0.0.1 ") && line.contains(&format!("\" {status} ")), "{line}");
        assert_eq!(self.counted(reason).await, before + 1.0, "{became}");
    }
}

#[tokio::test]
async fn of_a_node_that_sends_too_many_fields_or_too_many_bytes() {
    for wire in [Wire::Framed, Wire::Classic] {
        let more = ["--in-max-headers", "5", "--in-max-header-size", "1000"];
        let mut far = Node::start("teleport://127.0.0.1:0", &more).await;
        let client = httpteleport::Client::builder(Limits::default().with_peer_max_head(1 << 20)).wire(wire);
        let client = client.connect(far.address()).expect("fine");
        let call = async |fields: usize, length: usize| {
            let mut request = Request::get("http://h/size/1").body(Body::default()).expect("a request");
            for number in 0..fields {
                let name = http::HeaderName::try_from(format!("x-{number}")).expect("a name");
                request.headers_mut().insert(name, "y".repeat(length).parse().expect("a value"));
            }
            timeout(PATIENCE, client.call(request)).await.expect("in time")
        };
        assert_eq!(call(8, 1).await.expect("a reply").status(), 431, "{wire:?}");
        far.has_refused(431, "large_head", "it has more than 5 header lines", 0.0).await;
        if wire == Wire::Classic {
            assert_eq!(call(1, 2000).await.expect("a reply").status(), 431);
            far.has_refused(431, "large_head", "its head is over the limit of 1000 bytes", 1.0).await;
        } else {
            // The node has said how much it takes.
            assert!(call(1, 2000).await.is_err());
        }
        assert_eq!(call(1, 1).await.expect("a reply").status(), 200, "{wire:?}");
    }
}

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

#[tokio::test]
async fn of_a_node_on_the_framed_wire_that_makes_no_sense() {
    let mut far = Node::start("teleport://127.0.0.1:0", &[]).await;
    let client = fastrpc::stream::Client::builder(Raw).protocol(Protocol::new("httpteleport", 0).expect("a name"));
    let client = client.wire(Wire::Framed).connect(far.address()).expect("an address");
    // GET of a target, and fields whose names are written out.
    let (target, host, length) = (b"\0\x01/", b"\x44host\x01h", b"\x4econtent-length\x019");
    for (before, head, status, why) in [
        (0.0, target.to_vec(), Some(400), "it names no host"),
        (1.0, [&target[..], host, b"\x41x\x03a\nb"].concat(), Some(400), ""),
        // It is broken off.
        (2.0, [&target[..], host, length].concat(), None, ""),
    ] {
        let (answer, _) = client.call(&head, SendBody::Whole(Bytes::new())).await.expect("a connection");
        let answered = timeout(PATIENCE, answer).await.expect("in time").ok().map(|reply| reply.head);
        assert_eq!(answered, status, "{why}");
        far.has_refused(400, "malformed", why, before).await;
    }
}

#[tokio::test]
async fn of_a_node_on_the_classic_wire_that_makes_no_sense() {
    let mut far = Node::start("teleport://127.0.0.1:0", &[]).await;
    let mut client = RawPeer::new(TcpStream::connect(far.address()).await.expect("a connection"));
    let hello = Hello::http(Compression::None);
    client.send(&hello.bytes()).await;
    let heard = client.hear_hello(&hello.sniff).await;
    client.begin(&hello, &heard);
    client.say(&frame(1, &HttpRequest::new("GET", "/").header("Host", "h").header("a@b", "c").bytes())).await;
    far.has_refused(400, "malformed", "", 0.0).await;
    // Where this ends nobody knows.
    client
        .say(&frame(2, &HttpRequest::new("GET", "/").header("Host", "h").header("Content-Length", "x").bytes()))
        .await;
    let line = log_has(&mut far.log, "teleport connection of 127.0.0.1:").await;
    assert!(line.contains(" closed: "), "{line}");
    assert_eq!(far.counted("malformed").await, 2.0);
}

#[tokio::test]
async fn of_a_client_whose_target_is_too_long() {
    let mut node = Node::start("http://127.0.0.1:0", &["--in-max-header-size", "200000"]).await;
    let target = "x".repeat(70_000);
    let reply = Client::connect(node.address()).await.ask(format!("GET /{target} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
    assert_eq!(reply.status(), 414);
    node.has_refused(414, "large_head", "", 0.0).await;
}

#[tokio::test]
async fn of_a_client_whose_head_over_http2_is_far_too_large() {
    let mut node = Node::start("http://127.0.0.1:0", &["--in-max-header-size", "4096"]).await;
    let mut client = connect(node.address()).await;
    for (before, size) in [(0.0, 5_000), (1.0, 75_000), (2.0, 80_000)] {
        let request = Request::get("http://h/size/1").header("x", "x".repeat(size)).body(empty()).expect("a request");
        client.ready().await.expect("a connection");
        let reply = timeout(PATIENCE, client.send_request(request)).await.expect("in time").expect("a reply");
        assert_eq!(reply.status(), 431, "{size}");
        node.has_refused(431, "large_head", "", before).await;
    }
    // One that is larger still ends its connection.
    let request = Request::get("http://h/size/1").header("x", "x".repeat(300_000)).body(empty()).expect("a request");
    client.ready().await.expect("a connection");
    assert!(timeout(PATIENCE, client.send_request(request)).await.expect("in time").is_err());
    log_has(&mut node.log, "WARN connection of 127.0.0.1:").await;
    assert_eq!(node.counted("malformed").await, 1.0);
}

#[tokio::test]
async fn of_a_client_of_http2_that_makes_no_sense() {
    let mut node = Node::start("http://127.0.0.1:0", &[]).await;
    let fine = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "h")];
    for (before, fields, why) in [
        (0.0, [&fine[..], &[("connection", "close")]].concat(), "malformed header block"),
        (1.0, fine[..1].to_vec(), "malformed headers: missing scheme"),
        (2.0, [&fine[..2], &[(":path", "/<"), fine[3]]].concat(), "malformed headers: malformed path"),
        (
            3.0,
            [&fine[..], &[("content-length", "1")]].concat(),
            "recv_headers with END_STREAM: content-length is not zero",
        ),
    ] {
        let mut client = Client::connect(node.address()).await;
        client.send([raw::hello(), raw::headers(1, &fields)].concat()).await;
        node.has_noted(&format!("reset as no good HTTP/2: {why}"), 400, "malformed", before).await;
    }
}
