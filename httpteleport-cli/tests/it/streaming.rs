//! Bodies that pass as they come, and what ends them early.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::admin::{get, value};
use crate::client::Client;
use crate::origin::Origin;
use crate::program::{PATIENCE, Program, logged};
use crate::stage::Stage;

/// Far over what all sockets on the way hold.
const LARGE: usize = 64 << 20;
const MOST_AHEAD: usize = 32 << 20;
const PIECE: usize = 64 * 1024;

fn post(length: usize) -> String {
    format!("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n")
}

const CHUNKED: &str = "POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(size: usize) -> Vec<u8> {
    [format!("{size:x}\r\n").as_bytes(), &vec![b'c'; size], b"\r\n"].concat()
}

#[tokio::test]
async fn a_large_upload_is_nowhere_held_whole() {
    let stage = Stage::with(&["--in-max-body-size", &LARGE.to_string(), "--out-timeout", "300ms"]).await;
    let (mut reader, mut writer) = stage.client().await.into_split();
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let upload = tokio::spawn(async move {
        writer.write_all(post(LARGE).as_bytes()).await.expect("sent");
        for _ in 0..LARGE / PIECE {
            writer.write_all(&[b'u'; PIECE]).await.expect("sent");
            counter.fetch_add(PIECE, Ordering::SeqCst);
        }
    });
    // Takes nothing. Once all on the way to it is full, nothing moves any more, and then its time begins.
    let _origin = stage.accept().await;
    let mut reply = [0; 12];
    timeout(PATIENCE, reader.read_exact(&mut reply)).await.expect("in time").expect("a reply");
    let ahead = sent.load(Ordering::SeqCst);
    assert_eq!(&reply, b"HTTP/1.1 504");
    assert!(ahead <= MOST_AHEAD, "{ahead} bytes were taken from the client, and nobody has them");
    upload.abort();
}

#[tokio::test]
async fn an_upload_without_a_length_goes_on_in_chunks() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.send(CHUNKED).await;
    let mut origin = stage.accept().await;
    let head = origin.head().await;
    assert_eq!((head.field("transfer-encoding"), head.field("content-length")), (Some("chunked"), None));
    for _ in 0..3 {
        client.send(chunk(5)).await;
        assert_eq!(origin.exactly(10).await, b"5\r\nccccc\r\n", "it arrives before the next one is sent");
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(origin.exactly(5).await, b"0\r\n\r\n");
    origin.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.reply().await.status(), 204);

    // Both connections are good for more, for methods that have no body as a rule as well.
    client.send(CHUNKED.replace("POST", "GET")).await;
    assert!(origin.head().await.head.starts_with("GET /up "));
    client.send([chunk(1), b"0\r\n\r\n".to_vec()].concat()).await;
    assert_eq!(origin.exactly(11).await, b"1\r\nc\r\n0\r\n\r\n");
    origin.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.reply().await.status(), 204);
}

#[tokio::test]
async fn a_reply_that_comes_before_the_body_has_ended_is_passed_at_once() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.send(post(1_000_000)).await;
    let mut origin = stage.accept().await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nearly").await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.exactly(5).await, b"early");
    client.send(vec![b'b'; 600_000]).await;
    assert_eq!(origin.exactly(600_000).await.len(), 600_000, "while the reply goes on");
    origin.send("bird").await;
    assert_eq!(client.exactly(4).await, b"bird");
    client.send(vec![b'b'; 400_000]).await;
    assert_eq!(origin.exactly(400_000).await.len(), 400_000, "after the reply");
    client.send("GET /next HTTP/1.1\r\nHost: h\r\n\r\n").await;
    origin.send("HTTP/1.1 204 No Content\r\n\r\n").await;
}

#[tokio::test]
async fn an_origin_that_refuses_and_hangs_up_is_heard() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.send(post(3_000_000)).await;
    let mut origin = stage.accept().await;
    origin.head().await;
    origin.send("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno").await;
    drop(origin);
    client.send(vec![b'b'; 3_000_000]).await;
    assert_eq!(client.reply().await.text(), "no");
    let mut client = stage.client().await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(stage.accept().await.head().await.head.starts_with("GET / "), "a new connection for the next one");
}

#[tokio::test]
async fn a_client_that_reads_only_when_it_has_sent_all_is_served() {
    let stage = Stage::with(&["--in-max-body-size", &LARGE.to_string(), "--out-timeout", "60s"]).await;
    let mut client = stage.client().await;
    client.send(post(LARGE)).await;
    let mut origin = stage.accept().await;
    assert_eq!(origin.head().await.field("content-length"), Some(&*LARGE.to_string()));
    let (mut from_client, mut to_client) = origin.into_split();
    let reply = tokio::spawn(async move {
        to_client.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes()).await?;
        to_client.write_all(&vec![b'd'; LARGE]).await
    });
    let request = tokio::spawn(async move {
        let mut body = vec![0; LARGE];
        from_client.read_exact(&mut body).await.map(|_| body)
    });
    client.send(vec![b'u'; LARGE]).await;
    assert!(request.await.expect("no panic").expect("all of it").iter().all(|byte| *byte == b'u'));
    assert_eq!(client.reply().await.body.len(), LARGE);
    reply.await.expect("no panic").expect("sent");
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_413_or_the_end() {
    let stage = Stage::with(&["--in-max-body-size", "100000"]).await;
    let mut client = stage.client().await;
    client.send(CHUNKED).await;
    let mut origin = stage.accept().await;
    origin.head().await;
    client.send([chunk(60_000), chunk(40_001)].concat()).await;
    let reply = client.reply().await;
    assert_eq!((reply.status(), reply.text()), (413, "http: proxying error: the request's body is too large\n"));
    assert!(!origin.rest().await.ends_with(b"0\r\n\r\n"), "to the origin it must not look complete");

    let mut client = stage.client().await;
    client.send(CHUNKED).await;
    let mut origin = stage.accept().await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
    assert_eq!(client.head().await.status(), 200);
    client.send([chunk(60_000), chunk(40_001)].concat()).await;
    assert_eq!(client.rest().await, b"2\r\nhi\r\n", "to the client it must not look complete");
    assert!(!origin.rest().await.ends_with(b"0\r\n\r\n"));
}

#[tokio::test]
async fn a_stream_over_the_limit_of_the_far_node_is_logged_and_counted_there() {
    let origin = Origin::start().await;
    let args = ["--in", "teleport://127.0.0.1:0", "--out", &origin.url(), "--in-max-body-size", "100000"];
    let (mut far, mut log) = Program::logged(&[&args[..], &["--admin", "127.0.0.1:0"]].concat()).await;
    let near = Program::http(&format!("teleport://{}", far.address())).await;
    let mut client = Client::connect(near.address()).await;
    client.send([CHUNKED.as_bytes(), &chunk(60_000), &chunk(40_001)].concat()).await;
    assert_eq!(client.reply().await.status(), 413);
    logged(&mut log, "broken off: the request's body is too large").await;
    let metrics = get(&far.admin().await, "/metrics").await;
    assert_eq!(value(metrics.text(), "httptp_refusals_total", &["reason=\"large_body\""]), 1.0);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_upstream_connection_along() {
    let stage = Stage::start().await;
    for framing in [post(1_000_000), CHUNKED.to_owned()] {
        let mut client = stage.client().await;
        client.send(framing).await;
        let mut origin = stage.accept().await;
        origin.head().await;
        client.send(chunk(100)).await;
        origin.exactly(100).await;
        drop(client);
        assert!(!origin.rest().await.ends_with(b"0\r\n\r\n"), "in the middle of its request");
    }
    for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let mut client = stage.client().await;
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let mut origin = stage.accept().await;
        origin.head().await;
        origin.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n")).await;
        client.head().await;
        drop(client);
        assert!(origin.rest().await.is_empty(), "in the middle of its reply");
    }
}

#[tokio::test]
async fn an_upload_goes_to_another_upstream_while_none_of_it_was_taken() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let stage = Stage::with(&[&format!("--out=http://{closed}")]).await;
    for _ in 0..4 {
        let mut client = stage.client().await;
        client.send(post(100_000)).await;
        let mut origin = stage.accept().await;
        origin.head().await;
        client.send(vec![b'b'; 100_000]).await;
        origin.exactly(100_000).await;
        origin.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
        assert_eq!(client.reply().await.status(), 204);
    }
    let mut client = stage.client().await;
    client.send(post(100_000)).await;
    let mut origin = stage.accept().await;
    origin.head().await;
    client.send(vec![b'b'; 50_000]).await;
    origin.exactly(50_000).await;
    drop(origin);
    assert_eq!(client.reply().await.status(), 502, "half of it was taken");
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_is_asked_when_an_upstream_is_there() {
    let stage = Stage::start().await;
    let expecting = post(100_000).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    let mut client = stage.client().await;
    client.send(&expecting).await;
    let mut origin = stage.accept().await;
    assert_eq!(origin.head().await.field("expect"), None);
    assert_eq!(client.head().await.status(), 100);
    client.send(vec![b'b'; 100_000]).await;
    origin.exactly(100_000).await;
    origin.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 204);

    drop((origin, stage.listener));
    let mut client = Client::connect(stage.program.address()).await;
    client.send(&expecting).await;
    assert_eq!(client.reply().await.status(), 502, "without being asked for what nobody takes");
}

#[tokio::test]
async fn the_time_for_a_reply_begins_when_its_request_is_there() {
    let stage = Stage::with(&["--out-timeout", "300ms"]).await;
    let mut client = stage.client().await;
    client.send(CHUNKED).await;
    let mut origin = stage.accept().await;
    origin.head().await;
    for _ in 0..4 {
        // Meanwhile another request has had all of its time. The client's is not the upstream's.
        let mut other = stage.client().await;
        other.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let _unanswered = stage.accept().await;
        assert_eq!(other.reply().await.status(), 504);
        client.send(chunk(10)).await;
        origin.exactly(15).await;
    }
    client.send("0\r\n\r\n").await;
    origin.exactly(5).await;
    let reply = client.reply().await;
    assert_eq!(reply.status(), 504, "and then it ends");
}

#[tokio::test]
async fn a_connection_is_not_put_to_rest_inside_a_body() {
    // Longer than it takes to be put to rest.
    let stage = Stage::with(&["--in-head-timeout", "2500ms"]).await;
    let mut client = stage.client().await;
    client.send(post(1_000_000)).await;
    let mut origin = stage.accept().await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").await;
    assert_eq!(client.reply().await.text(), "early");
    assert_eq!(stage.client().await.rest().await, b"", "one that says nothing has had its time");
    let inner = b"GET /inner HTTP/1.1\r\nHost: h\r\n\r\n";
    client.send([inner, &vec![b'b'; 1_000_000 - inner.len()][..]].concat()).await;
    assert!(origin.exactly(1_000_000).await.starts_with(inner), "it is a body still, not the next request");
}

#[tokio::test]
async fn interim_replies_end_here() {
    let stage = Stage::start().await;
    let interim =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let mut client = stage.client().await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut origin = stage.accept().await;
    origin.head().await;
    origin.send(format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")).await;
    let reply = client.reply().await;
    assert_eq!((reply.status(), reply.text(), reply.field("link")), (200, "ok", None));
}

#[tokio::test]
async fn interim_replies_without_end_are_no_reply() {
    let stage = Stage::start().await;
    let interims = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(1000);
    for request in [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let mut client = stage.client().await;
        client.send(request).await;
        let mut origin = stage.accept().await;
        origin.head().await;
        origin.send(&interims).await;
        assert!(client.is_open().await, "so many may be");
        origin.send("HTTP/1.1 103 Early Hints\r\n\r\n").await;
        assert_eq!(client.reply().await.status(), 502, "{request}");
    }
    // As many as may be, and then a reply.
    let mut client = stage.client().await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut origin = stage.accept().await;
    origin.head().await;
    origin.send(format!("{interims}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")).await;
    assert_eq!(client.reply().await.text(), "ok");
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.send("GET /events HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n").await;
    let mut origin = stage.accept().await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!(client.head().await.field("content-type"), Some("text/event-stream"));
    for n in 0..5 {
        let event = format!("9\r\ndata: {n}\n\n\r\n");
        origin.send(&event).await;
        assert_eq!(client.exactly(event.len()).await, event.as_bytes());
    }
}
