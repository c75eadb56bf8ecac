//! WebSockets as the access log and the metrics tell of them.

use std::path::Path;
use std::time::Instant;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::admin::{get, value};
use crate::logs::lines;
use crate::program::{PATIENCE, Program};
use crate::upgrade::{echo_server, extended};

const SIZE: usize = 100_000;

/// Hears a message again.
async fn echo<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) {
    socket.send(Message::binary(vec![b'm'; SIZE])).await.expect("sent");
    let reply = timeout(PATIENCE, socket.next()).await.expect("in time").expect("a reply").expect("a message");
    assert_eq!(reply.len(), SIZE);
}

async fn connections(admin: &str) -> f64 {
    value(get(admin, "/metrics").await.text(), "httptp_upstream_connections", &[])
}

/// Ends it, as both sides agree.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>) {
    socket.close(None).await.expect("sent");
    while timeout(PATIENCE, socket.next()).await.expect("in time").is_some() {}
}

/// The line number `index`, whose connection was open since then.
async fn check(log: &Path, index: usize, (status, upstream, since): (u16, &str, Instant)) {
    let line: Value = serde_json::from_str(&lines(log, index + 1).await[index]).expect("JSON");
    assert_eq!((&line["status"], &line["upstream"]), (&status.into(), &upstream.into()), "{line}");
    let (bytes, seconds) = (line["bytes"].as_u64().expect("a count"), line["seconds"].as_f64().expect("a time"));
    assert!(bytes >= SIZE as u64 && bytes < SIZE as u64 + 100, "what the client heard: {line}");
    assert!(seconds > 0.0 && seconds <= since.elapsed().as_secs_f64() + 0.001, "{line}");
}

#[tokio::test]
async fn a_web_socket_is_one_line_at_its_end_and_a_connection_meanwhile() {
    let (url, folder) = (echo_server().await, tempfile::tempdir().expect("a folder"));
    let log = folder.path().join("access.log");
    let file = log.to_str().expect("UTF-8");
    let options = ["--admin", "127.0.0.1:0", "--access-log", file, "--access-log-format", "json"];
    let mut program = Program::between("http://127.0.0.1:0", &url, &options).await;
    let admin = program.admin().await;

    let since = Instant::now();
    let stream = TcpStream::connect(program.address()).await.expect("a connection");
    let (mut socket, _) = tokio_tungstenite::client_async("ws://h/chat", stream).await.expect("a handshake");
    echo(&mut socket).await;
    assert_eq!(connections(&admin).await, 1.0);
    let mut reply = extended(&program, "websocket").await.expect("a reply");
    let upgraded = TokioIo::new(hyper::upgrade::on(&mut reply).await.expect("an agreement"));
    let mut other = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
    echo(&mut other).await;
    assert_eq!(connections(&admin).await, 2.0);
    assert_eq!(std::fs::read(&log).expect("readable"), b"", "both are open");

    close(socket).await;
    check(&log, 0, (101, &url, since)).await;
    close(other).await;
    check(&log, 1, (200, &url, since)).await;
    assert_eq!(lines(&log, 2).await.len(), 2);
    let gone = async { while connections(&admin).await > 0.0 {} };
    timeout(PATIENCE, gone).await.expect("they are no longer counted");
}
