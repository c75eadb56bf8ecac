//! HTTP/2 to upstreams, and from end to end.

use std::convert::Infallible;
use std::process::Command;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Request, Response};
use http_body_util::StreamBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use testkit::programs::{Curl, Nghttpx, Running};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::caller::{Caller, body, request};
use crate::http2_origin::{Http2Origin, Refusal, refusing, waiting};
use crate::load::Load;
use crate::node::{Certificates, Files, Node, PATIENCE, Pair};
use crate::origin::Origin;

async fn connect<B>(address: &str) -> SendRequest<B>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    sender
}

async fn frame(reply: &mut Response<Incoming>) -> Frame<Bytes> {
    let frame = timeout(PATIENCE, reply.body_mut().frame()).await.expect("in time");
    frame.expect("a frame").expect("no error")
}

/// A call whose request goes on as long as the sender that comes back is there.
async fn begin(address: &str) -> (mpsc::Sender<Frame<Bytes>>, Response<Incoming>) {
    let (sender, pieces) = mpsc::channel(1);
    let pieces = futures_util::stream::unfold(pieces, |mut pieces| async move {
        pieces.recv().await.map(|piece: Frame<Bytes>| (Ok::<_, Infallible>(piece), pieces))
    });
    let mut client = connect(address).await;
    let request = Request::post("http://shop.example/pkg.Service/Talk").header("te", "trailers");
    let request = request.header("content-type", "application/grpc").body(StreamBody::new(Box::pin(pieces)));
    let reply = client.send_request(request.expect("a request"));
    (sender, timeout(PATIENCE, reply).await.expect("in time").expect("a reply"))
}

/// A call as gRPC makes it: messages both ways at once, and trailers behind them, both ways.
async fn call(address: &str) {
    let (sender, mut reply) = begin(address).await;
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()["content-type"], "application/grpc");
    assert_eq!(reply.headers()["x-te"], "trailers");
    assert!(reply.headers()["x-uri"].to_str().expect("text").ends_with("://shop.example/pkg.Service/Talk"));
    for n in 0..3 {
        let message = Bytes::from(format!("message {n}"));
        sender.send(Frame::data(message.clone())).await.expect("read");
        assert_eq!(frame(&mut reply).await.into_data().expect("data"), message, "while the request still goes");
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().expect("a value"));
    sender.send(Frame::trailers(trailers)).await.expect("read");
    drop(sender);
    let trailers = frame(&mut reply).await.into_trailers().expect("trailers");
    assert_eq!(["grpc-status", "x-pieces", "x-sum"].map(|name| &trailers[name]), ["0", "3", "7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_call_goes_from_http_2_over_teleport_to_http_2() {
    let origin = Http2Origin::start().await;
    let pair = Pair::start(&format!("h2c://{}", origin.address));
    for _ in 0..3 {
        call(pair.near.address()).await;
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn and_through_one_node_and_tls() {
    let files = Files::new();
    let certificates = Certificates::new(&files);
    let origin = Http2Origin::tls(&certificates).await;
    let near = Node::start("http://127.0.0.1:0", &format!("https://{}", origin.address), &certificates.output());
    call(near.address()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_share_as_many_connections_as_there_may_be() {
    for (count, option) in [(1, "1"), (3, "3")] {
        let origin = Http2Origin::start().await;
        let out = format!("h2c://{}", origin.address);
        let near = Node::start("http://127.0.0.1:0", &out, &["--out-conns-per-addr", option]);
        let load = Load::start(near.address(), 32);
        load.good(500).await;
        assert_eq!((load.stop().await.failed(), origin.connections()), (0, count));
    }
}

/// What nghttpx has told the origin behind it of how it was spoken to.
fn spoken(origin: &Origin) -> String {
    let via = origin.last().value("Via").expect("nghttpx says so").to_owned();
    via.split(' ').next().expect("a version").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn nghttpx_is_spoken_to_as_the_scheme_says_or_as_it_negotiates() {
    let (files, origin) = (Files::new(), Origin::start().await);
    let certificates = Certificates::new(&files);
    let server = origin.url.strip_prefix("http://").expect("TCP").parse().expect("an address");
    let clear = Nghttpx::start(server, None);
    let tls = Nghttpx::start(server, Some(&certificates.identity));
    let cases = [
        (format!("h2c://{}", clear.address), "2"),
        (format!("http://{}", clear.address), "1.1"),
        (format!("https://{}", tls.address), "2"),
    ];
    for (out, version) in cases {
        let near = Node::start(
            "http://127.0.0.1:0",
            &out,
            &certificates.output()[..if out.starts_with("https") { 2 } else { 0 }],
        );
        let large = "x".repeat(100_000);
        let reply = Curl::new(&format!("{}/some", near.url())).args(["--data", &large]).run().await;
        assert_eq!((reply.status, reply.body == large.as_bytes()), (200, true), "{out}");
        assert_eq!(
            (spoken(&origin), origin.last().value("Host").map(str::to_owned)),
            (version.to_owned(), Some(near.address().to_owned()))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_https_server_that_negotiates_nothing_speaks_http_1() {
    let files = Files::new();
    let certificates = Certificates::new(&files);
    let origin = Origin::tls(&certificates).await;
    let near = Node::start("http://127.0.0.1:0", &origin.url, &certificates.output());
    let load = Load::start(near.address(), 8);
    load.good(100).await;
    assert_eq!(load.stop().await.failed(), 0, "also those that came before that was known");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_has_not_taken_is_sent_again() {
    for (refusal, method, want) in [
        (Refusal::Stream, "POST", 204),
        (Refusal::GoAway, "POST", 204),
        (Refusal::GoAway, "GET", 204),
        (Refusal::Reset, "POST", 502),
    ] {
        let near = Node::start("http://127.0.0.1:0", &format!("h2c://{}", refusing(refusal).await), &[]);
        let mut caller = Caller::connect(near.address()).await;
        let reply = caller.ask(&request(method, "/").body(if method == "POST" { b"once" } else { b"" })).await;
        assert_eq!(reply.status, want, "{refusal:?} {method}: {}", body(&reply));
        assert_eq!(caller.get("/after").await.status, 204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_speak_it_too() {
    let origin = Http2Origin::start().await;
    let checked = ["--health-check", "/healthz", "--health-interval", "100ms"];
    let near = Node::start("http://127.0.0.1:0", &format!("h2c://{}", origin.address), &checked);
    let several = async {
        while origin.connections() < 4 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, several).await.expect("in time");
    assert!(!near.has_said("unhealthy"), "{near:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_http_1_alone_is_a_clear_502() {
    let origin = Origin::start().await;
    let near = Node::start("http://127.0.0.1:0", &origin.url.replace("http", "h2c"), &[]);
    let reply = Caller::connect(near.address()).await.get("/").await;
    assert_eq!(reply.status, 502, "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn h2load_from_end_to_end() {
    let origin = Http2Origin::start().await;
    let pair = Pair::start(&format!("h2c://{}", origin.address));
    let mut command = Command::new("h2load");
    command.args(["-n", "2000", "-c", "4", "-m", "16", &pair.url("/load")]);
    let h2load = Running::start(command);
    let done = tokio::task::block_in_place(|| {
        h2load.line("its result", |line| line.strip_prefix("requests: ").map(str::to_owned))
    });
    assert!(done.contains("2000 succeeded, 0 failed"), "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_any_size_pass() {
    let origin = Http2Origin::start().await;
    let near =
        Node::start("http://127.0.0.1:0", &format!("h2c://{}", origin.address), &["--in-max-body-size", "10000000"]);
    for size in [0, 1, 100_000, 5_000_000] {
        let content = vec![b'b'; size];
        let mut client = connect::<Full<Bytes>>(near.address()).await;
        let request = Request::post("http://h/x").body(Full::new(Bytes::from(content.clone()))).expect("a request");
        let reply = timeout(PATIENCE, client.send_request(request)).await.expect("in time").expect("a reply");
        let got = timeout(PATIENCE, reply.into_body().collect()).await.expect("in time").expect("a body");
        assert_eq!(got.trailers().expect("trailers")["grpc-status"], "0");
        assert!(got.to_bytes() == content, "{size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_ends_at_the_upstream() {
    let (address, mut came, gone) = waiting().await;
    let near = Node::start("http://127.0.0.1:0", &format!("h2c://{address}"), &[]);
    let mut client = connect::<Full<Bytes>>(near.address()).await;
    let request = Request::get("http://h/").body(Full::new(Bytes::new())).expect("a request");
    let reply = tokio::spawn(client.send_request(request));
    timeout(PATIENCE, came.recv()).await.expect("in time").expect("it came");
    reply.abort();
    assert_eq!(timeout(PATIENCE, gone).await.expect("in time"), Ok(h2::Reason::CANCEL));
}

#[tokio::test(flavor = "multi_thread")]
async fn web_sockets_pass_as_streams() {
    let origin = Http2Origin::start().await;
    let near = Node::start("http://127.0.0.1:0", &format!("h2c://{}", origin.address), &[]);
    let (mut socket, reply) = tokio_tungstenite::client_async(
        "ws://test/talk",
        TcpStream::connect(near.address()).await.expect("a connection"),
    )
    .await
    .expect("the key is answered");
    assert_eq!(reply.status(), 101);
    for n in 0..3 {
        let message = tokio_tungstenite::tungstenite::Message::text(format!("message {n}"));
        socket.send(message.clone()).await.expect("sent");
        assert_eq!(timeout(PATIENCE, socket.next()).await.expect("in time").expect("one").expect("well"), message);
    }
    socket.close(None).await.expect("closed");

    // One that cannot is not blamed for it.
    let near = Node::start("http://127.0.0.1:0", &format!("h2c://{}", refusing(Refusal::Reset).await), &[]);
    let asked = request("GET", "/").header("Upgrade", "websocket").header("Connection", "upgrade");
    for _ in 0..10 {
        let mut caller = Caller::connect(near.address()).await;
        let reply = caller.ask(&asked).await;
        assert_eq!(reply.status, 501, "{}", body(&reply));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_502_and_others_go_on() {
    let origin = Http2Origin::start().await;
    let near = Node::start("http://127.0.0.1:0", &format!("h2c://{}", origin.address), &[]);
    let mut caller = Caller::connect(near.address()).await;
    for (long, want) in [("3000", 200), ("100000", 502), ("10", 200)] {
        let reply = caller.ask(&request("GET", "/").header("X-Long", long)).await;
        assert_eq!(reply.status, want, "{long}: {}", body(&reply));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_keep_nobody_else_from_it() {
    let origin = Http2Origin::start().await;
    let near = Node::start("http://127.0.0.1:0", &format!("h2c://{}", origin.address), &[]);
    let mut deaf = Vec::new();
    for _ in 0..30 {
        let mut caller = Caller::connect(near.address()).await;
        caller.send(&request("GET", "/size/30000000").bytes()).await;
        deaf.push(caller);
    }
    others_go_on(&near, &origin).await;
}

/// Whoever reads is served meanwhile, over the one connection that there is.
async fn others_go_on(near: &Node, origin: &Http2Origin) {
    let mut caller = Caller::connect(near.address()).await;
    for _ in 0..50 {
        let reply = timeout(PATIENCE, caller.get("/size/100000")).await.expect("in time");
        assert_eq!((reply.status, reply.body.len()), (200, 100_000));
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_do_many_of_them_on_one_connection() {
    const CALLS: usize = 190;
    let origin = Http2Origin::narrow(1000).await;
    let near = Node::start("http://127.0.0.1:0", &format!("h2c://{}", origin.address), &[]);
    let stream = TcpStream::connect(near.address()).await.expect("a connection");
    let mut deaf = http2::Builder::new(TokioExecutor::new());
    let opened = deaf.initial_stream_window_size(1).handshake(TokioIo::new(stream)).await;
    let (mut client, connection) = opened.expect("a handshake");
    tokio::spawn(connection);
    let mut held = Vec::new();
    for _ in 0..CALLS {
        let request = Request::get("http://test/size/30000000").body(Full::<Bytes>::default()).expect("a request");
        held.push(timeout(PATIENCE, client.send_request(request)).await.expect("in time").expect("a reply"));
    }
    // That is far more than lies in the buffers on the way.
    origin.has_sent(CALLS * 350_000).await;
    others_go_on(&near, &origin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_no_more_requests_than_could_fill_it() {
    let origin = Http2Origin::narrow(100_000).await;
    let near = Node::start("http://127.0.0.1:0", &format!("h2c://{}", origin.address), &["--concurrency", "3000"]);
    let mut held = Vec::new();
    for begun in 1..=2010 {
        if begun % 200 == 1 {
            held.push((connect(near.address()).await, Vec::new()));
        }
        let (client, replies) = held.last_mut().expect("a client");
        let request = Request::post("http://test/").body(StreamBody::new(futures_util::stream::pending()));
        let reply = client.send_request(request.expect("a request"));
        replies.push(timeout(PATIENCE, reply).await.expect("in time").expect("a reply"));
        assert_eq!(origin.connections(), if begun > 2000 { 2 } else { 1 }, "{begun}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_a_connection_takes_get_another_one() {
    let origin = Http2Origin::narrow(10).await;
    let near = Node::start("http://127.0.0.1:0", &format!("h2c://{}", origin.address), &[]);
    let mut held = Vec::new();
    for _ in 0..35 {
        held.push(begin(near.address()).await);
    }
    assert_eq!(origin.connections(), 4);
    drop(held);
    for _ in 0..5 {
        call(near.address()).await;
    }
    assert_eq!(origin.connections(), 4);
}
