//! The end: signals, draining.

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::admin::{get, value};
use crate::client::Client;
use crate::clients::log_has;
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
async fn what_takes_longer_than_it_may_is_cut_off() {
    let origin = Origin::start().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &origin.url(), "--drain-timeout", "1s"];
    let (mut program, mut log) = Program::logged(&args).await;
    let mut client = Client::connect(program.address()).await;
    assert_eq!(client.get("/size/1").await.status(), 200);
    client.send("POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await;
    origin.holds().await;
    program.signal(Signal::TERM);
    log_has(&mut log, "1 connections cut off after 500ms (--drain-timeout 1s)").await;
    // Whoever hears nothing on a connection that was kept asks again.
    let reply = client.reply().await;
    assert_eq!((reply.status(), reply.field("connection")), (502, Some("close")));
    assert!(reply.text().contains("this process ends"), "{}", reply.text());
    assert_eq!(program.ended().await.code(), Some(0));
}

/// A process that serves on for longer than the test has, and its admin address.
async fn serving_on(origin: &Origin) -> (Program, String) {
    let options = ["--drain-delay", "1h", "--admin", "127.0.0.1:0"];
    let mut program = Program::between("http://127.0.0.1:0", &origin.url(), &options).await;
    let admin = program.admin().await;
    assert_eq!(get(&admin, "/readyz").await.status(), 200);
    program.signal(Signal::TERM);
    while get(&admin, "/readyz").await.status() == 200 {}
    assert_eq!(get(&admin, "/readyz").await.status(), 503);
    (program, admin)
}

#[tokio::test]
async fn it_serves_on_for_a_while_and_a_second_signal_begins_draining() {
    let origin = Origin::start().await;
    let (mut program, admin) = serving_on(&origin).await;
    let mut client = Client::connect(program.address()).await;
    for _ in 0..2 {
        let reply = client.get("/size/1").await;
        assert_eq!((reply.status(), reply.field("connection")), (200, None), "all is as before");
    }
    let metrics = get(&admin, "/metrics").await;
    assert_eq!(value(metrics.text(), "httptp_draining", &[]), 1.0, "as /readyz says");
    program.signal(Signal::TERM);
    assert!(client.rest().await.is_empty());
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_third_signal_ends_at_once() {
    let origin = Origin::start().await;
    let (mut program, _) = serving_on(&origin).await;
    let mut client = Client::connect(program.address()).await;
    client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
    origin.holds().await;
    program.signal(Signal::TERM);
    refused(program.address()).await;
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code(), Some(1));
}

#[tokio::test]
async fn the_time_over_it_drains() {
    let args = ["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--drain-delay", "50ms"];
    let (mut program, mut log) = Program::logged(&args).await;
    program.signal(Signal::TERM);
    log_has(&mut log, "draining begins in 50ms (--drain-delay)").await;
    log_has(&mut log, "draining; another signal ends at once").await;
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
