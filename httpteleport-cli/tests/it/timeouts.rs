//! How long clients may take for each step.

use crate::client::Client;
use crate::clients::log_has;
use crate::origin::Origin;
use crate::program::Program;
use crate::stage::Stage;
use crate::tls::Identity;

async fn program(origin: &Origin, options: &[&str]) -> Program {
    Program::between("http://127.0.0.1:0", &origin.url(), options).await
}

#[tokio::test]
async fn a_handshake() {
    let (origin, identity) = (Origin::start().await, Identity::new("slow_handshake"));
    let (cert, key) = identity.files();
    let tls = ["--in-tls-cert", cert, "--in-tls-key", key, "--in-handshake-timeout", "50ms"];
    let program = Program::between("https://127.0.0.1:0", &origin.url(), &tls).await;
    let mut client = Client::connect(program.address()).await;
    client.send("\x16\x03").await;
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn a_head() {
    let origin = Origin::start().await;
    let program = program(&origin, &["--in-head-timeout", "300ms"]).await;
    let mut silent = Client::connect(program.address()).await;
    assert_eq!(silent.rest().await, b"", "one that is never begun");
    let mut slow = Client::connect(program.address()).await;
    slow.send("GET /size/1 HT").await;
    assert_eq!(slow.reply().await.status(), 408, "the first");
    assert_eq!(slow.rest().await, b"");
    let mut second = Client::connect(program.address()).await;
    assert_eq!(second.get("/size/1").await.text(), "x");
    second.send("GET /size/1 HT").await;
    assert_eq!(second.reply().await.status(), 408, "one that follows, although it had long to begin");
    assert_eq!(second.rest().await, b"");
}

#[tokio::test]
async fn a_pause_between_requests() {
    let origin = Origin::start().await;
    let idle = program(&origin, &["--in-idle-timeout", "500ms"]).await;
    let mut client = Client::connect(idle.address()).await;
    for _ in 0..3 {
        assert_eq!(client.get("/size/1").await.text(), "x");
    }
    assert_eq!(client.rest().await, b"", "it was closed when nothing more came");
}

#[tokio::test]
async fn a_pause_inside_a_body() {
    let origin = Origin::start().await;
    let program = program(&origin, &["--in-body-timeout", "50ms"]).await;
    let mut client = Client::connect(program.address()).await;
    client.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345").await;
    let reply = client.reply().await;
    assert_eq!((reply.status(), reply.field("connection")), (408, Some("close")));
}

#[tokio::test]
async fn a_client_that_does_not_read() {
    let origin = Origin::start().await;
    let out = origin.url();
    let options = ["--in-write-timeout", "800ms", "--log-all-errors"];
    let args = [&["--in", "http://127.0.0.1:0", "--out", &out][..], &options].concat();
    let (program, mut log) = Program::logged(&args).await;
    let size = 64 << 20;
    let request = format!("GET /size/{size} HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut deaf = Client::connect(program.address()).await;
    deaf.send(&request).await;
    log_has(&mut log, "the client has stopped reading").await;
    assert!(deaf.rest().await.len() < size, "it was cut off");
    // Who reads gets all of it.
    let mut client = Client::connect(program.address()).await;
    client.send(&request).await;
    assert_eq!(client.reply().await.body.len(), size);
}

#[tokio::test]
async fn an_upstream_that_accepts_and_says_nothing() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let out = format!("https://{}", silent.local_addr().expect("an address"));
    let options = ["--out-timeout", "60s", "--out-connect-timeout", "50ms"];
    let program = Program::between("http://127.0.0.1:0", &out, &options).await;
    let reply = Client::connect(program.address()).await.get("/").await;
    assert_eq!(reply.status(), 502);
    assert!(reply.text().contains("connecting timed out"), "{}", reply.text());
}

#[tokio::test]
async fn an_upstream_that_pauses_inside_a_reply() {
    let stage = Stage::with(&["--out-body-timeout", "50ms"]).await;
    let mut client = stage.client().await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut origin = stage.accept().await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345").await;
    let head = client.head().await;
    assert_eq!(head.status(), 200);
    assert_eq!(client.rest().await, b"12345", "then it breaks off");
}

#[tokio::test]
async fn connections_to_upstreams_are_used_again_for_a_time() {
    let origin = Origin::start().await;
    for (idle, connections) in [("60s", 1), ("0", 4)] {
        let program = program(&origin, &["--out-idle-timeout", idle]).await;
        let before = origin.connections();
        let mut client = Client::connect(program.address()).await;
        for _ in 0..4 {
            assert_eq!(client.get("/size/1").await.text(), "x");
        }
        assert_eq!(origin.connections() - before, connections, "{idle}");
    }
}

#[tokio::test]
async fn no_time_at_all_is_a_mistake() {
    for option in [
        "--in-handshake-timeout",
        "--in-head-timeout",
        "--in-body-timeout",
        "--in-write-timeout",
        "--in-idle-timeout",
        "--out-connect-timeout",
        "--out-body-timeout",
    ] {
        let (code, _, stderr) = crate::program::run(&["--out", "http://127.0.0.1:1", option, "0"]).await;
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.starts_with(&format!("httptp: {option} 0: nobody does anything in no time")), "{stderr}");
    }
}
