//! How long clients may take for each step.

use crate::client::Client;
use crate::clients::log_has;
use crate::origin::Origin;
use crate::program::Program;
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
    let program = program(&origin, &["--in-head-timeout", "50ms"]).await;
    let mut silent = Client::connect(program.address()).await;
    assert_eq!(silent.rest().await, b"", "one that is never begun");
    let mut slow = Client::connect(program.address()).await;
    slow.send("GET /size/1 HT").await;
    assert_eq!(slow.rest().await, b"", "the first");
    let mut second = Client::connect(program.address()).await;
    assert_eq!(second.get("/size/1").await.text(), "x");
    second.send("GET /size/1 HT").await;
    assert_eq!(second.rest().await, b"", "one that follows, although it had long to begin");
}

#[tokio::test]
async fn a_pause_between_requests() {
    let origin = Origin::start().await;
    let idle = program(&origin, &["--in-idle-timeout", "50ms"]).await;
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
    let options = ["--in-write-timeout", "100ms", "--log-all-errors"];
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
async fn no_time_at_all_is_a_mistake() {
    for option in
        ["--in-handshake-timeout", "--in-head-timeout", "--in-body-timeout", "--in-write-timeout", "--in-idle-timeout"]
    {
        let (code, _, stderr) = crate::program::run(&["--out", "http://127.0.0.1:1", option, "0"]).await;
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.starts_with(&format!("httptp: {option} 0: nobody does anything in no time")), "{stderr}");
    }
}
