//! What streams through a pair of nodes: with curl, with WebSocket and HTTP/2 of real libraries, with nodes that freeze and leave.

use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use rustix::process::Signal;
use testkit::programs::Curl;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, client_async};

use crate::caller::{Caller, body, request};
use crate::killed::stopped;
use crate::load::Load;
use crate::node::{Files, Node, PATIENCE, Pair, text};
use crate::origin::Origin;
use crate::streaming_origin::{StreamingOrigin, piece};

/// curl without a buffer, whose output is read line by line.
fn curl(url: &str) -> tokio::process::Child {
    let mut command = tokio::process::Command::new("curl");
    command.args(["--disable", "--silent", "--show-error", "--no-buffer", "--noproxy", "*", url]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("curl")
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_curl_one_by_one() {
    let origin = StreamingOrigin::start().await;
    let pair = Pair::start(&origin.url);
    let mut curl = curl(&pair.url("/events"));
    let mut lines = BufReader::new(curl.stdout.take().expect("a pipe")).lines();
    for n in 0..20 {
        // The next one is made when this one has been seen.
        origin.event(&format!("event {n}"));
        let line = timeout(PATIENCE, lines.next_line()).await.expect("at once").expect("text").expect("more");
        assert_eq!(line, format!("data: event {n}"));
        assert_eq!(lines.next_line().await.expect("text").as_deref(), Some(""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_talks_through_the_pair() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let pair = Pair::start(&format!("http://{}", listener.local_addr().expect("an address")));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut socket = accept_async(stream).await.expect("a WebSocket");
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() || message.is_binary() {
                socket.send(message).await.expect("sent");
            }
        }
    });
    let stream = TcpStream::connect(pair.near.address()).await.expect("a connection");
    let (mut socket, reply) = client_async("ws://far.example/chat", stream).await.expect("it agrees");
    assert_eq!(reply.status(), StatusCode::SWITCHING_PROTOCOLS);
    for n in 0..50 {
        let text = format!("{n} ").repeat(1 + 2000 * (n % 7));
        socket.send(Message::text(text.clone())).await.expect("sent");
        let echo = timeout(PATIENCE, socket.next()).await.expect("in time").expect("more").expect("a message");
        assert_eq!(echo, Message::text(text));
    }
    socket.close(None).await.expect("closed");
    let last = timeout(PATIENCE, socket.next()).await.expect("in time");
    assert!(matches!(last, Some(Ok(Message::Close(_)))), "{last:?}");
    // The pair still serves others, and another one.
    let mut caller = Caller::connect(pair.near.address()).await;
    assert_eq!(caller.get("/gone").await.status, 502, "that origin has taken one connection alone");
}

/// The most memory a process has had so far, in MiB.
fn most_memory(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat_while_much_goes_through() {
    const BYTES: u64 = 96 << 20;
    let origin = StreamingOrigin::start().await;
    let unlimited = ["--in-max-body-size", "1073741824"];
    let pair = Pair::with(&origin.url, &unlimited, &unlimited);
    let files = Files::new();
    let large: Vec<u8> = (0..BYTES / 16384).flat_map(|n| piece(BYTES - n * 16384)).collect();
    let path = text(&files.write("large", &large));
    let sum = large.iter().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));

    let download = Curl::new(&pair.url(&format!("/large/{BYTES}"))).run();
    let upload = Curl::new(&pair.url("/length")).args(["--upload-file", &path]).run();
    let (download, upload) = tokio::join!(download, upload);
    assert!(download.status == 200 && download.body == large, "{} bytes: {}", download.body.len(), download.heads);
    assert_eq!(String::from_utf8_lossy(&upload.body), format!("{BYTES} {sum}"), "{}", upload.heads);
    for node in [&pair.near, &pair.far] {
        let most = most_memory(node.id());
        assert!(most < 64, "{most} MiB");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_calls_go_on_beside_downloads_that_are_read_and_that_are_not() {
    let origin = StreamingOrigin::start().await;
    let pair = Pair::start(&origin.url);
    let mut read = TcpStream::connect(pair.near.address()).await.expect("a connection");
    let mut unread = TcpStream::connect(pair.near.address()).await.expect("a connection");
    for stream in [&mut read, &mut unread] {
        stream.write_all(&request("GET", "/endless").bytes()).await.expect("sent");
    }
    origin.endless(2).await;
    let reading = tokio::spawn(async move {
        let (mut buffer, mut length) = (vec![0; 1 << 20], 0);
        while let Ok(1..) = read.read(&mut buffer).await.inspect(|read| length += read) {}
        length
    });
    let mut caller = Caller::connect(pair.near.address()).await;
    for n in 0..200 {
        let reply = timeout(PATIENCE, caller.get(&format!("/small/{n}"))).await.expect("it overtakes");
        assert_eq!(body(&reply), format!("/small/{n}"));
    }
    reading.abort();
    drop(unread);
    origin.endless(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_sees_that_curl_was_killed() {
    let origin = StreamingOrigin::start().await;
    let pair = Pair::start(&origin.url);
    let mut curl = curl(&pair.url("/endless"));
    let mut some = vec![0; 100_000];
    curl.stdout.as_mut().expect("a pipe").read_exact(&mut some).await.expect("bytes");
    origin.endless(1).await;
    curl.start_kill().expect("it ran");
    timeout(PATIENCE, origin.endless(0)).await.expect("the origin's body is dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_node_is_noticed_and_others_take_its_calls() {
    let origin = Origin::start().await;
    let fars = [0, 1].map(|_| Node::start("teleport://127.0.0.1:0", &origin.url, &[]));
    let out = format!("{},{}", fars[0].url(), fars[1].url());
    let near = Node::start("http://127.0.0.1:0", &out, &["--ping", "1s", "--out-timeout", "19s"]);
    let load = Load::start(near.address(), 16);
    load.good(400).await;
    fars[0].signal(Signal::STOP);
    stopped(fars[0].id()).await;
    let frozen = Instant::now();
    // Those that were with it fail long before their time, with that cause; the rest goes on.
    load.good(2000).await;
    let mut caller = Caller::connect(near.address()).await;
    for n in 0..50 {
        let reply = caller.get(&format!("/{n}")).await;
        assert!(reply.status == 200 || body(&reply).contains("nothing was heard"), "{reply:?}");
    }
    let counts = load.stop().await;
    assert!(frozen.elapsed() < Duration::from_secs(15), "{:?}", frozen.elapsed());
    assert!(counts.bad_gateway > 0 && counts.timed_out + counts.cut_off + counts.declined == 0, "{counts:?}");
    fars[0].signal(Signal::CONT);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_when_a_node_drains_under_load() {
    let origin = Origin::start().await;
    let mut fars = [0, 1].map(|_| Node::start("teleport://127.0.0.1:0", &origin.url, &[]));
    let near = Node::start("http://127.0.0.1:0", &format!("{},{}", fars[0].url(), fars[1].url()), &[]);
    let load = Load::start(near.address(), 32);
    for at in [0, 1, 0] {
        load.good(500).await;
        fars[at].signal(Signal::TERM);
        assert_eq!(fars[at].ended().code(), Some(0));
        load.good(500).await;
        fars[at].start_again();
    }
    load.good(500).await;
    let counts = load.stop().await;
    assert_eq!(counts.failed(), 0, "{counts:?}");
}
