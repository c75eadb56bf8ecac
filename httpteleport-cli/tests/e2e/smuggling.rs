//! Requests made to look different to different readers. The origin must never see a second one in them.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::node::{Node, PATIENCE, Pair};
use crate::origin::Origin;

/// The request inside of others.
const INNER: &str = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
/// The one behind each attempt, which may or may not be reached.
const AFTER: &str = "GET /after HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

fn attempts() -> Vec<String> {
    let inner = INNER.len();
    let chunk = format!("{inner:x}\r\n{INNER}\r\n0\r\n\r\n");
    let post = |fields: &str, body: &str| format!("POST /outer HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}");
    vec![
        // Length and chunks at once, both orders: by the length the inner one is a request.
        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{INNER}")),
        post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &chunk),
        post(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", chunk.len()), &chunk),
        // Codings that one reader knows and another does not.
        post(&format!("Content-Length: {inner}\r\nTransfer-Encoding: xchunked\r\n"), INNER),
        post(&format!("Content-Length: {inner}\r\nTransfer-Encoding: identity\r\n"), INNER),
        post(&format!("Content-Length: {inner}\r\nTransfer-Encoding: chunked, identity\r\n"), INNER),
        post(&format!("Content-Length: {inner}\r\nTransfer-Encoding: identity, chunked\r\n"), INNER),
        post(&format!("Content-Length: {inner}\r\nTransfer-Encoding:\u{b}chunked\r\n"), INNER),
        post(&format!("Content-Length: {inner}\r\nTransfer-Encoding : chunked\r\n"), INNER),
        post(&format!("Content-Length: {inner}\r\n Transfer-Encoding: chunked\r\n"), INNER),
        post(&format!("Content-Length: {inner}\r\nX: y\r\n\tTransfer-Encoding: chunked\r\n"), INNER),
        post(&format!("Content-Length: {inner}\r\nX: y\rTransfer-Encoding: chunked\r\n"), INNER),
        post(&format!("Content-Length: {inner}\r\nX: y\nTransfer-Encoding: chunked\r\n"), &chunk),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", &chunk),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", &chunk),
        post("Transfer-Encoding: \"chunked\"\r\n", &chunk),
        post("Transfer-Encoding: chunked;x=y\r\n", &chunk),
        // Lengths that are not one number.
        post(&format!("Content-Length: 0\r\nContent-Length: {inner}\r\n"), INNER),
        post(&format!("Content-Length: {inner}\r\nContent-Length: 0\r\n"), INNER),
        post(&format!("Content-Length: {inner}\r\nContent-Length: {inner}\r\n"), INNER),
        post(&format!("Content-Length: 0, {inner}\r\n"), INNER),
        post(&format!("Content-Length: +{inner}\r\n"), INNER),
        post("Content-Length: -1\r\n", INNER),
        post(&format!("Content-Length: 0x{inner:x}\r\n"), INNER),
        post(&format!("Content-Length: {inner} 0\r\n"), INNER),
        post("Content-Length: 18446744073709551617\r\n", INNER),
        post(&format!("Content-Length : {inner}\r\n"), INNER),
        post(&format!("Content-Length\t: {inner}\r\n"), INNER),
        post(&format!("Content-Length:\r\n {inner}\r\n"), INNER),
        post(&format!("X: y\r\n Content-Length: {inner}\r\n"), INNER),
        post(&format!("Content_Length: {inner}\r\nContent-Length: {inner}\r\n"), INNER),
        post(&format!("Connection: close, Content-Length\r\nContent-Length: {inner}\r\n"), INNER),
        post("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", &chunk),
        // Chunks.
        post("Transfer-Encoding: chunked\r\n", &format!("{inner:x};a=\"\r\n\"\r\n{INNER}\r\n0\r\n\r\n")),
        post(
            "Transfer-Encoding: chunked\r\n",
            &format!("{inner:x} ;x=y\r\n{INNER}\r\n0;last\r\nContent-Length: 5\r\n\r\n"),
        ),
        post("Transfer-Encoding: chunked\r\n", "0\nX: y\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\n", &format!("{inner:x}\n{INNER}\n0\n\n")),
        post("Transfer-Encoding: chunked\r\n", &format!("2\r\nhiXX\r\n0\r\n\r\n{INNER}")),
        post("Transfer-Encoding: chunked\r\n", &format!("-1\r\n{INNER}\r\n0\r\n\r\n")),
        post("Transfer-Encoding: chunked\r\n", &format!("0x{inner:x}\r\n{INNER}\r\n0\r\n\r\n")),
        post("Transfer-Encoding: chunked\r\n", &format!("1000000000000000{inner:x}\r\n{INNER}\r\n0\r\n\r\n")),
        post("Transfer-Encoding: chunked\r\n", &format!("{inner:x};x\rGET /smuggled\r\n{INNER}\r\n0\r\n\r\n")),
        // Line ends and line beginnings.
        format!("POST /outer HTTP/1.1\nHost: h\nContent-Length: {inner}\n\n{INNER}"),
        format!("POST /outer HTTP/1.1\r\nHost: h\r\nX: a\rb\r\nContent-Length: {inner}\r\n\r\n{INNER}"),
        format!("POST /outer HTTP/1.1\r\nHost: h\r\nX: a\0b\r\nContent-Length: {inner}\r\n\r\n{INNER}"),
        format!("GET /outer HTTP/1.1\r\nHost: h\r\nContent-Length: {inner}\r\n\r\n{INNER}"),
        format!("HEAD /outer HTTP/1.1\r\nHost: h\r\nContent-Length: {inner}\r\n\r\n{INNER}"),
        format!("DELETE /outer HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"),
        format!("POST /outer HTTP/1.0\r\nHost: h\r\nContent-Length: {inner}\r\nConnection: keep-alive\r\n\r\n{INNER}"),
        format!(
            "POST /outer HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n{chunk}"
        ),
        // Bodies that a node might leave lying.
        post(&format!("Expect: 100-continue\r\nContent-Length: {inner}\r\n"), INNER),
        post(&format!("Expect: something-else\r\nContent-Length: {inner}\r\n"), INNER),
        post(&format!("Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: {inner}\r\n"), INNER),
        post(&format!("Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {inner}\r\n"), INNER),
        post(&format!("Teleport-Method: HEAD\r\nTeleport-Head-Length: 3\r\nContent-Length: {inner}\r\n"), INNER),
        format!("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n{INNER}"),
        // Start lines with room for another one.
        "GET /outer HTTP/1.1\r\nX: y HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET /outer?GET /smuggled HTTP/1.1 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET /outer%0d%0aGET%20/smuggled HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET /outer HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n".to_owned(),
        "GET http://h/outer HTTP/1.1\r\nHost: i\r\n\r\n".to_owned(),
    ]
}

/// Sends it and waits until the connection is over; a reader that still waits for more of the attempt is left alone.
async fn attempt(address: &str, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    // It may be refused, and the connection reset, before all of it is out.
    let _ = stream.write_all(format!("{bytes}{AFTER}").as_bytes()).await;
    let mut received = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut received)).await.unwrap_or_else(|_| panic!("{bytes:?} hangs"));
    String::from_utf8_lossy(&received).into_owned()
}

async fn nothing_is_smuggled(near: &Node, origin: &Origin) {
    let mut reached = 0;
    for bytes in attempts() {
        let before = origin.requests().len();
        let replies = attempt(near.address(), &bytes).await;
        let seen = origin.requests().split_off(before);
        let targets: Vec<_> = seen.iter().map(|request| request.target.as_str()).collect();
        let as_one = |target: &&str| !target.starts_with("/smuggled");
        assert!(targets.iter().all(as_one), "{bytes:?}: {targets:?}\n{replies}");
        assert!(targets.iter().filter(|target| target.starts_with("/outer")).count() <= 1, "{bytes:?}: {targets:?}");
        let answered = replies.matches("HTTP/1.1 200 OK\r\n").count() + replies.matches("HTTP/1.0 200 OK\r\n").count();
        assert_eq!(answered, targets.len(), "as many replies as requests: {bytes:?}: {targets:?}\n{replies}");
        reached += usize::from(targets.contains(&"/after"));
    }
    assert!(reached >= 10, "some are harmless and are answered like any other: {reached}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_teleport() {
    let origin = Origin::start().await;
    let pair = Pair::start(&origin.url);
    nothing_is_smuggled(&pair.near, &origin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http() {
    let origin = Origin::start().await;
    let near = Node::start("http://127.0.0.1:0", &origin.url, &[]);
    nothing_is_smuggled(&near, &origin).await;
}
