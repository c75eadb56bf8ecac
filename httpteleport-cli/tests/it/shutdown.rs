//! The end: signals, draining.

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::client::Client;
use crate::origin::Origin;
use crate::program::{PATIENCE, Program};

/// Waits until nobody accepts at the address any more.
async fn refused(address: &str) {
    tokio::time::timeout(PATIENCE, async { while TcpStream::connect(address).await.is_ok() {} })
        .await
        .expect("in time");
}

#[tokio::test]
async fn sigterm_finishes_what_runs_and_exits_0() {
    let origin = Origin::start().await;
    let mut program = Program::http(&origin.url()).await;
    let address = program.address().to_owned();
    let mut slow = Client::connect(&address).await;
    let mut idle = Client::connect(&address).await;
    assert_eq!(idle.get("/size/1").await.status(), 200);
    slow.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
    origin.holds().await;

    program.signal(Signal::TERM);
    assert!(idle.rest().await.is_empty(), "an idle connection ends at once");
    refused(&address).await;
    origin.let_go();
    let reply = slow.reply().await;
    assert_eq!((reply.status(), reply.field("connection")), (200, Some("close")));
    assert!(slow.rest().await.is_empty());
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn sigint_without_work_exits_0() {
    let mut program = Program::http("http://127.0.0.1:1").await;
    program.signal(Signal::INT);
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let origin = Origin::start().await;
    let mut program = Program::http(&origin.url()).await;
    let mut client = Client::connect(program.address()).await;
    client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
    origin.holds().await;
    program.signal(Signal::TERM);
    refused(program.address()).await;
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code(), Some(1));
}
