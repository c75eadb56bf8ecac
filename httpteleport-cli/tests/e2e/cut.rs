//! Messages over HTTP/2 that are broken off by a reset which names no error: nobody takes a part for the whole.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{Request, Response};
use testkit::wire::Error;
use testkit::wire::http::read_reply;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::caller::request;
use crate::node::{Node, PATIENCE};

const REASONS: [Reason; 2] = [Reason::NO_ERROR, Reason::CANCEL];

/// Nodes from an HTTP input to this origin: one, and a pair.
fn ways(origin: &str) -> Vec<Vec<Node>> {
    let one = Node::start("http://127.0.0.1:0", origin, &[]);
    let far = Node::start("teleport://127.0.0.1:0", origin, &[]);
    let near = Node::start("http://127.0.0.1:0", far.url(), &[]);
    vec![vec![one], vec![near, far]]
}

/// A client of HTTP/2 that has begun an upload without a length.
async fn begin(address: &str) -> h2::SendStream<Bytes> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut client = client.ready().await.expect("room");
    let (reply, mut body) =
        client.send_request(Request::post("http://h/").body(()).expect("a request"), false).expect("sent");
    tokio::spawn(reply);
    body.send_data(Bytes::from(vec![b'a'; 1000]), false).expect("sent");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_its_client_breaks_off_never_ends_at_the_origin() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    for nodes in ways(&origin) {
        for reason in REASONS {
            let mut body = begin(nodes[0].address()).await;
            let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.expect("in time").expect("a connection");
            let mut received = Vec::new();
            while !received.ends_with(&[b'a'; 1000]) && !received.ends_with(b"aaa\r\n") {
                timeout(PATIENCE, stream.read_buf(&mut received)).await.expect("in time").expect("a part of it");
            }
            body.send_reset(reason);
            // It ends, or is reset.
            let _ = timeout(PATIENCE, stream.read_to_end(&mut received)).await.expect("in time");
            let text = String::from_utf8_lossy(&received);
            assert!(text.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{text}");
            assert!(!text.ends_with("0\r\n\r\n"), "{reason:?} by way of {}: {text}", nodes.len());
        }
    }
}

/// What an origin says before it resets a stream.
#[derive(Clone, Copy)]
enum Says {
    /// A part of its reply, once the request has ended.
    Part,
    /// A part of it, while the request has not.
    EarlyPart,
    /// All of it, while the request has not.
    All,
}

/// An origin of HTTP/2 that answers one request on each connection, and resets it; the reset goes off when it is told.
async fn resetting(says: Says, reason: Reason) -> (String, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("h2c://{}", listener.local_addr().expect("an address"));
    let (go, told) = oneshot::channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
        let (mut request, mut respond) = connection.accept().await.expect("a request").expect("well");
        tokio::spawn(async move { poll_fn(|cx| connection.poll_closed(cx)).await });
        if matches!(says, Says::Part) {
            while request.body_mut().data().await.is_some() {}
        }
        let mut body = respond.send_response(Response::new(()), false).expect("sent");
        body.send_data(Bytes::from_static(b"a part"), matches!(says, Says::All)).expect("sent");
        told.await.expect("its time comes");
        body.send_reset(reason);
    });
    (url, go)
}

/// Sends this much of a request, has the origin go on when a part of the reply is here, and gives all that came.
async fn ask(address: &str, sent: &[u8], go: oneshot::Sender<()>) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(sent).await.expect("sent");
    let mut received = Vec::new();
    while !received.windows(6).any(|window| window == b"a part") {
        let read = timeout(PATIENCE, stream.read_buf(&mut received)).await.expect("in time").expect("a part");
        assert!(read > 0, "{}", received.escape_ascii());
    }
    go.send(()).expect("it waits");
    while matches!(read_reply(&received), Err(Error::Incomplete(_))) {
        match timeout(PATIENCE, stream.read_buf(&mut received)).await.expect("in time") {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    received
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_its_upstream_breaks_off_never_ends_at_the_client() {
    for reason in REASONS {
        let post = request("POST", "/").header("Transfer-Encoding", "chunked").bytes();
        let goes_on = [&post[..], b"5\r\nhello\r\n"].concat();
        for (says, sent) in [(Says::Part, request("GET", "/").bytes()), (Says::EarlyPart, goes_on)] {
            let (origin, go) = resetting(says, reason).await;
            let node = Node::start("http://127.0.0.1:0", &origin, &[]);
            let received = ask(node.address(), &sent, go).await;
            let ended = read_reply(&received).is_ok();
            assert!(!ended, "{reason:?}: {}", received.escape_ascii());
        }
    }
}

/// Of which one would make the client send its request again.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_resets_with_in_the_middle_of_a_reply_is_not_what_its_client_is_told() {
    for reason in [Reason::REFUSED_STREAM, Reason::HTTP_1_1_REQUIRED] {
        let (origin, go) = resetting(Says::Part, reason).await;
        let node = Node::start("http://127.0.0.1:0", &origin, &[]);
        let stream = TcpStream::connect(node.address()).await.expect("a connection");
        let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        let mut client = client.ready().await.expect("room");
        let (reply, _) =
            client.send_request(Request::get("http://h/").body(()).expect("a request"), true).expect("sent");
        let mut body = timeout(PATIENCE, reply).await.expect("in time").expect("a reply").into_body();
        assert_eq!(body.data().await.expect("a piece").expect("well"), "a part");
        go.send(()).expect("it waits");
        let error = timeout(PATIENCE, body.data()).await.expect("in time").expect("more").expect_err("no more");
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{reason:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_may_answer_and_want_no_more_of_the_request() {
    let (origin, go) = resetting(Says::All, Reason::NO_ERROR).await;
    let node = Node::start("http://127.0.0.1:0", &origin, &[]);
    let mut sent = request("POST", "/").header("Transfer-Encoding", "chunked").bytes();
    sent.extend_from_slice(b"5\r\nhello\r\n");
    let received = ask(node.address(), &sent, go).await;
    let (reply, _) = read_reply(&received).expect("a whole reply");
    assert_eq!((reply.status, &reply.body[..]), (200, &b"a part"[..]));
}

/// Answers each connection's first request with 3,000 bytes.
async fn short_origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut head).await.expect("a head");
            }
            let reply = [b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n".to_vec(), vec![b'r'; 3000]].concat();
            stream.write_all(&reply).await.expect("sent");
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_makes_room_slowly_gets_its_reply_though_its_place_is_wanted() {
    let node = Node::start("http://127.0.0.1:0", &short_origin().await, &["--concurrency", "1"]);
    let stream = TcpStream::connect(node.address()).await.expect("a connection");
    let builder = h2::client::Builder::new().initial_window_size(1000).handshake::<_, Bytes>(stream);
    let (client, connection) = builder.await.expect("HTTP/2");
    let mut connection = tokio::spawn(connection);
    let mut client = client.ready().await.expect("room");
    let (reply, _) = client.send_request(Request::get("http://h/").body(()).expect("a request"), true).expect("sent");
    let mut body = timeout(PATIENCE, reply).await.expect("in time").expect("a reply").into_body();
    let first = timeout(PATIENCE, body.data()).await.expect("in time").expect("a piece").expect("well");
    let mut next = TcpStream::connect(node.address()).await.expect("a connection");
    next.write_all(&request("GET", "/").bytes()).await.expect("sent");
    node.says("--concurrency");
    // Longer than one gets who never asked for anything.
    let ended = timeout(Duration::from_millis(1500), &mut connection).await;
    assert!(ended.is_err(), "{ended:?}");
    let (mut got, mut piece) = (0, first);
    loop {
        got += piece.len();
        body.flow_control().release_capacity(piece.len()).expect("it was taken");
        piece = match timeout(PATIENCE, body.data()).await.expect("in time") {
            Some(piece) => piece.expect("well"),
            None => break,
        };
    }
    assert_eq!(got, 3000);
    let mut received = Vec::new();
    while !received.ends_with(b"rrr") {
        let read = timeout(PATIENCE, next.read_buf(&mut received)).await.expect("in time").expect("a reply");
        assert!(read > 0, "the next one has the place then");
    }
}
