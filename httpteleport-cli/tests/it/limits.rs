//! What is refused, and that the program goes on.

use std::time::Duration;

use crate::client::Client;
use crate::origin::Origin;
use crate::program::{Program, logged};

#[tokio::test]
async fn a_head_over_the_limit_is_431() {
    let origin = Origin::start().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &origin.url(), "--log-all-errors"];
    let (program, mut log) = Program::logged(&args).await;
    let request = |size: usize| {
        let frame = "GET /echo HTTP/1.1\r\nHost: h\r\nX: \r\n\r\n".len();
        format!("GET /echo HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "a".repeat(size - frame))
    };
    assert_eq!(Client::connect(program.address()).await.ask(request(4096)).await.status(), 200);
    assert_eq!(Client::connect(program.address()).await.ask(request(4097)).await.status(), 431);
    let told = "refused with 431: its head is too large: it is over the 4096 bytes of --in-max-header-size";
    logged(&mut log, told).await;
    let many: String = (0..200).map(|n| format!("X{n}: 1\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n");
    assert!(many.len() < 4096);
    assert_eq!(Client::connect(program.address()).await.ask(many).await.status(), 431);
    logged(&mut log, "its head is too large: it has more fields than the 100 of --in-max-headers").await;
    let args = [&args[..], &["--in-max-headers", "2"]].concat();
    let (program, mut log) = Program::logged(&args).await;
    let three = "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\n\r\n";
    assert_eq!(Client::connect(program.address()).await.ask(three).await.status(), 431);
    logged(&mut log, "its head is too large: it has more fields than the 2 of --in-max-headers").await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let origin = Origin::start().await;
    let program =
        Program::start(&["--in", "http://127.0.0.1:0", "--out", &origin.url(), "--in-max-body-size", "1000"]).await;
    let connect = || Client::connect(program.address());
    let sized = |n: usize| format!("POST /size/1 HTTP/1.1\r\nHost: h\r\nContent-Length: {n}\r\n\r\n{}", "b".repeat(n));
    assert_eq!(connect().await.ask(sized(1000)).await.status(), 200);
    let reply = connect().await.ask(sized(1001)).await;
    assert_eq!((reply.status(), reply.field("connection")), (413, Some("close")));
    assert_eq!(reply.text(), "http: proxying error: the request's body is too large\n");
    assert_eq!(connect().await.ask(sized(3_000_000)).await.status(), 413, "the reply is seen in spite of the upload");

    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n",
        "c".repeat(1001)
    );
    assert_eq!(connect().await.ask(chunked).await.status(), 413);
    let expecting = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(connect().await.ask(expecting).await.status(), 413, "without asking for the body first");
    assert_eq!(connect().await.get("/size/1").await.status(), 200);
}

#[tokio::test]
async fn bad_requests_are_refused_before_any_upstream() {
    let origin = Origin::start().await;
    let program = Program::http(&origin.url()).await;
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nx", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        ("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 501),
        ("nonsense\r\n\r\n", 400),
    ];
    for (bytes, status) in cases {
        assert_eq!(Client::connect(program.address()).await.ask(bytes).await.status(), status, "{bytes:?}");
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn length_and_chunks_together_cannot_smuggle() {
    let origin = Origin::start().await;
    let program = Program::http(&origin.url()).await;
    let mut client = Client::connect(program.address()).await;
    let reply = client
        .ask("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        .await;
    // The chunks count, and only what they carry goes on, with a length of its own.
    assert_eq!(reply.text(), "POST /echo HTTP/1.1\nhost: h\ncontent-length: 2\n\nhi");
}

#[tokio::test]
async fn connections_beyond_the_concurrency_wait_their_turn() {
    let origin = Origin::start().await;
    let program = Program::start(&["--in", "http://127.0.0.1:0", "--out", &origin.url(), "--concurrency", "2"]).await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(program.address()).await;
        client.send("GET /hold HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        origin.holds().await;
        clients.push(client);
    }
    let mut third = Client::connect(program.address()).await;
    third.send("GET /size/1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let early = tokio::time::timeout(Duration::from_millis(100), third.reply()).await;
    assert!(early.is_err(), "it is not served yet: {early:?}");
    origin.let_go();
    assert_eq!(third.reply().await.text(), "x");
    origin.let_go();
    for client in &mut clients {
        assert_eq!(client.reply().await.status(), 200);
    }
}
