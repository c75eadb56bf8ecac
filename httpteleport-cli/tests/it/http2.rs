//! Clients that speak HTTP/2.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::server;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::client::Client;
use crate::clients::log_has;
use crate::origin::Origin;
use crate::program::{PATIENCE, Program, run_shell};
use crate::stage::Stage;
use crate::tls::Identity;

mod bodiless;
pub(crate) mod raw;
mod small_frames;

type Body = BoxBody<Bytes, Infallible>;

pub(crate) fn empty() -> Body {
    Empty::new().boxed()
}

fn whole(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes)).boxed()
}

/// A body whose frames are sent one by one.
struct Frames(mpsc::Receiver<Frame<Bytes>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

fn frames() -> (mpsc::Sender<Frame<Bytes>>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Frames(receiver).boxed())
}

/// Connects, with prior knowledge.
pub(crate) async fn connect(address: &str) -> SendRequest<Body> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    sender
}

async fn ask(client: &mut SendRequest<Body>, request: Request<Body>) -> Response<Incoming> {
    timeout(PATIENCE, client.send_request(request)).await.expect("in time").expect("a reply")
}

async fn frame(reply: &mut Response<Incoming>) -> Frame<Bytes> {
    let frame = timeout(PATIENCE, reply.body_mut().frame()).await.expect("in time");
    frame.expect("a frame").expect("no error")
}

async fn text(reply: Response<Incoming>) -> String {
    let bytes = timeout(PATIENCE, reply.into_body().collect()).await.expect("in time").expect("a body").to_bytes();
    String::from_utf8(bytes.into()).expect("UTF-8")
}

#[tokio::test]
async fn heads_are_translated_both_ways() {
    let stage = Stage::start().await;
    let mut client = connect(stage.program.address()).await;
    let request = Request::get("http://shop.example:81/a%2Fb?q")
        .header("cookie", "a=b")
        .header("cookie", "c=d")
        .header("te", "trailers")
        .header("x-token", "1");
    let reply = ask(&mut client, request.body(empty()).expect("a request"));
    let origin = async {
        let mut origin = stage.accept().await;
        let head = origin.head().await.head;
        let mut lines: Vec<_> = head.trim_end().lines().collect();
        lines[1..].sort_unstable();
        let want = ["Connection: te", "Cookie: a=b; c=d", "Host: shop.example:81", "Te: trailers", "X-Token: 1"];
        assert_eq!((lines[0], &lines[1..]), ("GET /a%2Fb?q HTTP/1.1", &want[..]));
        origin
            .send("HTTP/1.1 207 Odd\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 7\r\nX-End: 2\r\nContent-Length: 2\r\n\r\nok")
            .await;
        origin
    };
    let (reply, _origin) = tokio::join!(reply, origin);
    assert_eq!((reply.version(), reply.status().as_u16()), (Version::HTTP_2, 207));
    let mut names: Vec<_> = reply.headers().keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "date", "x-end"]);
    assert_eq!(text(reply).await, "ok");
}

#[tokio::test]
async fn values_that_begin_or_end_with_a_blank_are_no_http_2() {
    let origin = Origin::start().await;
    let program = Program::http(&origin.url()).await;
    let mut client = connect(program.address()).await;
    for (value, status) in [("a b", 200), ("", 200), (" a", 400), ("a\t", 400), (" ", 400)] {
        let request = Request::get("http://h/size/1").header("x", value).body(empty()).expect("a request");
        assert_eq!(ask(&mut client, request).await.status().as_u16(), status, "{value:?}");
        let (sender, body) = frames();
        let request = Request::post("http://h/echo").header("te", "trailers").body(body).expect("a request");
        let trailers = HeaderMap::from_iter([("x".parse().expect("a name"), HeaderValue::from_static(value))]);
        sender.send(Frame::trailers(trailers)).await.expect("taken");
        drop(sender);
        assert_eq!(ask(&mut client, request).await.status().as_u16(), status, "{value:?} behind the body");
    }
}

#[tokio::test]
async fn messages_go_both_ways_at_once_with_trailers_behind_them() {
    let stage = Stage::start().await;
    let mut client = connect(stage.program.address()).await;
    let (sender, body) = frames();
    let request = Request::post("http://h/Echo").header("te", "trailers").header("trailer", "x-sum");
    let reply = tokio::spawn(client.send_request(request.body(body).expect("a request")));
    let mut origin = stage.accept().await;
    let head = origin.head().await;
    assert_eq!((head.field("transfer-encoding"), head.field("te")), (Some("chunked"), Some("trailers")));
    origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n").await;
    let mut reply = reply.await.expect("no panic").expect("a reply");
    for n in 0..3 {
        sender.send(Frame::data(Bytes::from(format!("ask{n}")))).await.expect("read");
        assert_eq!(origin.exactly(9).await, format!("4\r\nask{n}\r\n").as_bytes());
        origin.send(format!("4\r\nans{n}\r\n")).await;
        assert_eq!(frame(&mut reply).await.into_data().expect("data"), format!("ans{n}"));
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().expect("a value"));
    sender.send(Frame::trailers(trailers)).await.expect("read");
    drop(sender);
    let want = "0\r\nX-Sum: 7\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&origin.exactly(want.len()).await), want);
    origin.send("0\r\ngrpc-status: 0\r\nContent-Type: no\r\n\r\n").await;
    let trailers = frame(&mut reply).await.into_trailers().expect("trailers");
    assert_eq!((trailers.len(), &trailers["grpc-status"]), (1, &"0".parse().expect("a value")));

    // Nothing but trailers, as an empty body and as no body at all.
    for (framing, body) in [("Transfer-Encoding: chunked", "0\r\ngrpc-status: 5\r\n\r\n"), ("Content-Length: 0", "")] {
        let request = Request::post("http://h/Fail").header("te", "trailers").body(whole(b"x".to_vec()));
        let reply = tokio::spawn(client.send_request(request.expect("a request")));
        origin.head().await;
        origin.exactly(1).await;
        origin.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\nx-status: 5\r\n\r\n{body}")).await;
        let mut reply = reply.await.expect("no panic").expect("a reply");
        assert_eq!(reply.headers()["x-status"], "5");
        if body.is_empty() {
            assert!(hyper::body::Body::is_end_stream(reply.body()), "the head ends the stream");
        } else {
            assert_eq!(frame(&mut reply).await.into_trailers().expect("trailers")["grpc-status"], "5");
        }
    }
}

#[tokio::test]
async fn many_requests_share_a_connection() {
    let origin = Origin::start().await;
    let program = Program::http(&origin.url()).await;
    let mut client = connect(program.address()).await;
    let mut replies = Vec::new();
    for _ in 0..50 {
        let held = Request::get("http://h/hold").body(empty()).expect("a request");
        replies.push(tokio::spawn(client.send_request(held)));
        origin.holds().await;
    }
    let large = Request::get("http://h/size/3000000").body(empty()).expect("a request");
    assert_eq!(text(ask(&mut client, large).await).await.len(), 3_000_000);
    for _ in 0..50 {
        origin.let_go();
    }
    for reply in replies {
        assert_eq!(reply.await.expect("no panic").expect("a reply").status(), 200);
    }
}

#[tokio::test]
async fn limits_are_those_of_http_1() {
    let origin = Origin::start().await;
    let mut program = Program::start(&[
        "--in",
        "http://127.0.0.1:0",
        "--out",
        &origin.url(),
        "--in-max-body-size",
        "100000",
        "--admin",
        "127.0.0.1:0",
    ])
    .await;
    let admin = program.admin().await;
    let mut client = connect(program.address()).await;
    // One that reads all of it: the connection of one that does not may break before its reply has come.
    let post = |size: usize| Request::post("http://h/echo").body(whole(vec![b'b'; size])).expect("a request");
    assert_eq!(ask(&mut client, post(100_000)).await.status(), 200);
    let reply = ask(&mut client, post(100_001)).await;
    assert_eq!((reply.status().as_u16(), reply.headers().contains_key("connection")), (413, false));
    let (sender, body) = frames();
    let reply = tokio::spawn(client.send_request(Request::post("http://h/echo").body(body).expect("a request")));
    for _ in 0..11 {
        let _ = sender.send(Frame::data(vec![b'b'; 10_000].into())).await;
    }
    assert_eq!(reply.await.expect("no panic").expect("a reply").status(), 413);

    let head = |size: usize| Request::get("http://h/size/1").header("x", "x".repeat(size)).body(empty());
    assert_eq!(ask(&mut client, head(3_000).expect("a request")).await.status(), 200);
    assert_eq!(ask(&mut client, head(5_000).expect("a request")).await.status(), 431);
    let metrics = crate::admin::get(&admin, "/metrics").await;
    assert!(metrics.text().contains("httptp_refusals_total{reason=\"large_head\"} 1\n"), "{}", metrics.text());
    let connect = Request::connect("h:443").body(empty()).expect("a request");
    assert_eq!(ask(&mut client, connect).await.status(), 501);
}

#[tokio::test]
async fn a_request_that_is_dropped_takes_its_upstream_connection_along() {
    let stage = Stage::start().await;
    let mut client = connect(stage.program.address()).await;
    let request = || Request::get("http://h/").body(empty()).expect("a request");
    let reply = tokio::spawn(client.send_request(request()));
    let mut origin = stage.accept().await;
    origin.head().await;
    reply.abort();
    assert!(origin.rest().await.is_empty(), "before its reply");

    let reply = tokio::spawn(client.send_request(request()));
    let mut origin = stage.accept().await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
    let mut reply = reply.await.expect("no panic").expect("a reply");
    frame(&mut reply).await;
    drop(reply);
    assert!(origin.rest().await.is_empty(), "in the middle of its reply");
}

#[tokio::test]
async fn who_has_nothing_to_do_is_not_waited_for_however_it_takes_its_farewell() {
    let options = ["--in-idle-timeout", "300ms"];
    let program = Program::between("http://127.0.0.1:0", "http://127.0.0.1:1", &options).await;
    for pings in [false, true] {
        let mut client = Client::connect(program.address()).await;
        client.send(raw::hello()).await;
        let (mut reader, mut writer) = client.into_split();
        let goes_on = tokio::spawn(async move {
            let ping = raw::frame(raw::PING, 0, 0, b"12345678").repeat(100);
            while pings && writer.write_all(&ping).await.is_ok() {}
            // It stays open.
            std::future::pending::<()>().await;
            drop(writer);
        });
        let mut received = Vec::new();
        let _ = timeout(PATIENCE, reader.read_to_end(&mut received)).await.expect("it is closed in time");
        goes_on.abort();
        let goaway = [7, 0, 0, 0, 0, 0];
        assert!(received.windows(6).any(|window| window == goaway), "it was told so: {}", received.escape_ascii());
    }
}

#[tokio::test]
async fn who_still_sends_when_it_is_refused_reads_the_reply() {
    let program = Program::between("http://127.0.0.1:0", "http://127.0.0.1:1", &["--in-get-only"]).await;
    for size in [3, 100_000] {
        let line = format!(
            "head -c {size} /dev/zero | curl -sS --http2-prior-knowledge --data-binary @- http://{}/",
            program.address()
        );
        for _ in 0..10 {
            let (code, text) = run_shell(&line).await;
            assert_eq!((code, &*text), (Some(0), "http: proxying error: only GET is let in\n"), "{size}");
        }
    }
}

#[tokio::test]
async fn a_drain_does_not_wait_for_who_has_nothing_to_do_and_takes_no_farewell() {
    let options = ["--drain-timeout", "1h"];
    let mut program = Program::between("http://127.0.0.1:0", "http://127.0.0.1:1", &options).await;
    let mut silent = Client::connect(program.address()).await;
    silent.send(raw::hello()).await;
    while raw::next_kind(&mut silent).await != raw::SETTINGS {}
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code(), Some(0));
    // It was there all the time.
    drop(silent);
}

#[tokio::test]
async fn draining_finishes_what_runs() {
    let origin = Origin::start().await;
    let mut program = Program::http(&origin.url()).await;
    let mut idle = connect(program.address()).await;
    let mut client = connect(program.address()).await;
    for client in [&mut idle, &mut client] {
        let request = Request::get("http://h/size/1").body(empty()).expect("a request");
        assert_eq!(ask(client, request).await.status(), 200);
    }
    let held = Request::get("http://h/hold").body(empty()).expect("a request");
    let reply = tokio::spawn(client.send_request(held));
    origin.holds().await;
    program.signal(Signal::TERM);
    let closed = async {
        while !idle.is_closed() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, closed).await.expect("an idle connection ends at once");
    origin.let_go();
    assert_eq!(reply.await.expect("no panic").expect("a reply").status(), 200);
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn curl_speaks_it_with_prior_knowledge_and_over_tls() {
    let (identity, origin) = (Identity::new("http2"), Origin::start().await);
    let program = Program::http(&origin.url()).await;
    let curl = |options: &str, url: &str| {
        let line = format!("curl -sS {options} --write-out ' over HTTP/%{{http_version}}' {url}/echo");
        async move { run_shell(&line).await }
    };
    let url = format!("http://{}", program.address());
    let (code, text) = curl("--http2-prior-knowledge --data hello", &url).await;
    assert_eq!(code, Some(0), "{text}: is curl installed?");
    assert!(text.starts_with("POST /echo HTTP/1.1\n") && text.ends_with("\n\nhello over HTTP/2"), "{text}");
    // An upgrade to HTTP/2 is not agreed to, and nobody else is asked to.
    let (_, text) = curl("--http2", &url).await;
    assert!(text.ends_with(" over HTTP/1.1") && !text.contains("upgrade") && !text.contains("http2"), "{text}");

    let (cert, key) = (identity.cert.to_str().expect("UTF-8"), identity.key.to_str().expect("UTF-8"));
    let args = ["--in", "https://127.0.0.1:0", "--out", &origin.url(), "--in-tls-cert", cert, "--in-tls-key", key];
    let program = Program::start(&args).await;
    let url = format!("https://{}", program.address());
    for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let (_, text) = curl(&format!("--cacert {cert} {option} --data hello"), &url).await;
        assert!(text.ends_with(&format!("\n\nhello over HTTP/{version}")), "{text}");
    }
}

#[tokio::test]
async fn an_inputs_limits_hold_for_it_as_well() {
    let origin = Origin::start().await;
    let options =
        ["--in-get-only", "--in-max-headers", "5", "--client-rate", "1", "--client-burst", "3", "--forwarded", "x"];
    let program = Program::between("http://127.0.0.1:0", &origin.url(), &options).await;
    let mut client = connect(program.address()).await;
    let get = |fields: usize| {
        let mut request = Request::get("http://h/echo");
        for n in 0..fields {
            request = request.header(format!("x-{n}"), "y");
        }
        request.body(empty()).expect("a request")
    };
    let told = text(ask(&mut client, get(1)).await).await;
    assert!(told.contains("x-forwarded-for: 127.0.0.1\n") && told.contains("x-forwarded-host: h\n"), "{told}");
    assert_eq!(ask(&mut client, get(9)).await.status(), 431);
    let post = Request::post("http://h/echo").body(whole(vec![7; 100_000])).expect("a request");
    assert_eq!(ask(&mut client, post).await.status(), 405);
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(ask(&mut client, get(0)).await.status().as_u16());
    }
    assert!(statuses[0] == 200 && statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_replies_is_cut_off() {
    let origin = Origin::start().await;
    let out = origin.url();
    let args = ["--in", "http://127.0.0.1:0", "--out", &out, "--in-write-timeout", "800ms", "--log-all-errors"];
    let (program, mut log) = Program::logged(&args).await;
    let mut client = connect(program.address()).await;
    let get = || Request::get("http://h/size/10000000").body(empty()).expect("a request");
    // Its body is not read, so no credit is given beyond the first window.
    let reply = ask(&mut client, get()).await;
    assert_eq!(reply.status(), 200);
    log_has(&mut log, "the client has stopped taking its replies").await;
    assert!(reply.into_body().collect().await.is_err(), "it breaks off");
    let mut client = connect(program.address()).await;
    assert_eq!(text(ask(&mut client, get()).await).await.len(), 10_000_000, "who reads gets all of it");
}
