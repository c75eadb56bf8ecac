//! Upstreams of HTTP/2 that say of requests that they have not taken them: those are sent again, and nobody is blamed.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use testkit::programs::{Curl, Listen, Nginx, Running};
use testkit::wire::HttpReply;
use testkit::wire::http::chunked;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::caller::{Caller, body, request};
use crate::http2_origin::{Refusal, leaving, losing, refusing_often};
use crate::node::{Files, Node, PATIENCE, noise};
use crate::origin::{Answer, Origin};

const UNTAKEN: &str = "httptp_upstream_untaken_total";

/// A node that may repeat nothing that may have been taken, with an admin page.
fn node(address: &str) -> Node {
    spending(address, "0")
}

/// The same with this budget.
fn spending(address: &str, budget: &str) -> Node {
    Node::start(
        "http://127.0.0.1:0",
        &format!("h2c://{address}"),
        &["--retry-budget", budget, "--admin", "127.0.0.1:0", "--concurrency", "1000"],
    )
}

/// What the node counts under names that begin so, all in all.
async fn counted(node: &Node, begin: &str) -> f64 {
    let url = node.tells("an admin page", |line| Some(line.split_once("metrics at ")?.1.to_owned()));
    let reply = Curl::new(&format!("{url}metrics")).run().await;
    let text = String::from_utf8(reply.body).expect("UTF-8");
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with(begin)).collect();
    assert!(!lines.is_empty(), "no {begin} in {text}");
    lines.iter().map(|line| line.rsplit(' ').next().expect("a value").parse::<f64>().expect("a number")).sum()
}

async fn nothing_has_failed(node: &Node) {
    for name in ["httptp_upstream_failures_total", "httptp_failed_requests_total", "httptp_upstream_ejections_total"] {
        assert_eq!(counted(node, name).await, 0.0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_sent_until_it_is_taken() {
    let near = node(&refusing_often(Refusal::GoAway, 8).await);
    let mut caller = Caller::connect(near.address()).await;
    let reply = caller.ask(&request("POST", "/").body(b"once")).await;
    assert_eq!(reply.status, 204, "{}", body(&reply));
    nothing_has_failed(&near).await;
    assert_eq!(counted(&near, UNTAKEN).await, 8.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_refused_comes_again_once_for_nothing_and_then_out_of_the_budget() {
    for (budget, refusals, sent, status) in
        [("0", 1, 1.0, 204), ("0", 2, 2.0, 502), ("20", 8, 8.0, 204), ("20", usize::MAX, 12.0, 502)]
    {
        let address = refusing_often(Refusal::Stream, refusals).await;
        let near = spending(&address, budget);
        let mut caller = Caller::connect(near.address()).await;
        let reply = caller.ask(&request("POST", "/").body(b"once")).await;
        assert_eq!(reply.status, status, "{budget} {refusals}: {}", body(&reply));
        assert_eq!(counted(&near, UNTAKEN).await, sent, "{budget} {refusals}");
        let again = if status == 204 { sent } else { sent - 1.0 };
        assert_eq!(counted(&near, "httptp_upstream_retries_total").await, again, "{budget} {refusals}");
        if status == 204 {
            nothing_has_failed(&near).await;
        } else {
            assert_eq!(body(&reply), "http: proxying error: it refused to take the request\n");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_refuses_everything_does_not_get_much_more_of_it() {
    const CALLS: usize = 100;
    let near = spending(&refusing_often(Refusal::Stream, usize::MAX).await, "20");
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let address = near.address().to_owned();
        calls.spawn(async move { Caller::connect(&address).await.get("/").await.status });
    }
    assert_eq!(calls.join_all().await, [502; CALLS]);
    // Each once more, and the budget: its reserve, a fifth of the requests, and what comes by in seconds.
    let sent = counted(&near, UNTAKEN).await;
    assert!((200.0..250.0).contains(&sent), "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_who_ends_every_connection_at_once() {
    let near = node(&refusing_often(Refusal::GoAway, usize::MAX).await);
    let reply = Caller::connect(near.address()).await.get("/").await;
    let told = "http: proxying error: it ended the connection before it took the request\n";
    assert_eq!((reply.status, &*body(&reply)), (502, told));
    assert_eq!(counted(&near, "httptp_upstream_dials_total").await, 12.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_is_refused_is_no_request_that_is_not_taken() {
    let address = refusing_often(Refusal::GoAway, usize::MAX).await;
    let checks = ["--health-check", "/well", "--health-interval", "100ms", "--health-fails", "2"];
    let more = [&["--admin", "127.0.0.1:0"], &checks[..]].concat();
    let near = Node::start("http://127.0.0.1:0", &format!("h2c://{address}"), &more);
    let is_ill = async { while counted(&near, "httptp_upstream_up{").await > 0.0 {} };
    timeout(PATIENCE, is_ill).await.expect("in time");
    assert_eq!(counted(&near, UNTAKEN).await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_upstream_has_what_one_refuses() {
    let (refusing, well) =
        (refusing_often(Refusal::Stream, usize::MAX).await, refusing_often(Refusal::Stream, 0).await);
    let near = spending(&format!("{refusing},h2c://{well}"), "0");
    let mut caller = Caller::connect(near.address()).await;
    for _ in 0..20 {
        assert_eq!(caller.get("/").await.status, 204);
    }
    nothing_has_failed(&near).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_have_taken_it_does_not_get_it_again_while_another_one_does_not() {
    let (taking, leaving) =
        (refusing_often(Refusal::Taken(&[0]), usize::MAX).await, refusing_often(Refusal::GoAway, 5).await);
    let near = spending(&format!("{taking},h2c://{leaving}#backup"), "20");
    let reply = Caller::connect(near.address()).await.get("/").await;
    assert_eq!(reply.status, 204, "{}", body(&reply));
    assert_eq!(counted(&near, "httptp_upstream_failures_total").await, 1.0, "the first one has had it once");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_at_once_than_a_new_connection_turns_out_to_take_cost_nothing() {
    let nginx = Nginx::start(Listen::Http2, "http2_max_concurrent_streams 8; location / { return 200 ok; }");
    let near = node(&nginx.authority());
    h2load(&near, &[]);
    nothing_has_failed(&near).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_one_whose_body_has_not_begun() {
    let near = node(&refusing_often(Refusal::GoAway, 5).await);
    let mut caller = Caller::connect(near.address()).await;
    caller.send(&request("POST", "/").header("Transfer-Encoding", "chunked").bytes()).await;
    let reply = caller.reply().await;
    assert_eq!(reply.status, 204, "{}", body(&reply));
    nothing_has_failed(&near).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_one_whose_body_was_read_even_if_that_took_longer_than_a_reply_may() {
    for slow in [false, true] {
        let limit = if slow { "200ms" } else { "15s" };
        let address = refusing_often(Refusal::GoAwayLate, 3).await;
        let more = ["--retry-budget", "0", "--admin", "127.0.0.1:0", "--out-timeout", limit];
        let near = Node::start("http://127.0.0.1:0", &format!("h2c://{address}"), &more);
        let mut caller = Caller::connect(near.address()).await;
        caller.send(&request("POST", "/").header("Transfer-Encoding", "chunked").bytes()).await;
        for piece in [&b"4\r\nonce\r\n"[..], b"4\r\nonce\r\n", b"0\r\nX-End: y\r\n\r\n"] {
            if slow {
                sleep(Duration::from_millis(150)).await;
            }
            caller.send(piece).await;
        }
        let reply = caller.reply().await;
        assert_eq!(reply.status, 204, "{}", body(&reply));
        nothing_has_failed(&near).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_taken_is_not() {
    for codes in [&[0][..], &[2], &[0, 2]] {
        for in_chunks in [false, true] {
            let near = node(&refusing_often(Refusal::Taken(codes), 1).await);
            let mut caller = Caller::connect(near.address()).await;
            let head = request("POST", "/");
            let request = if in_chunks {
                // With trailers it streams.
                [&head.header("Transfer-Encoding", "chunked").bytes()[..], b"4\r\nonce\r\n0\r\nX: y\r\n\r\n"].concat()
            } else {
                head.body(b"once").bytes()
            };
            caller.send(&request).await;
            let reply = caller.reply().await;
            assert_eq!(reply.status, 502, "{codes:?} {in_chunks}: {}", body(&reply));
        }
    }
}

/// A WebSocket that says something, and hears it again.
async fn talks(near: &Node) {
    let stream = TcpStream::connect(near.address()).await.expect("a connection");
    let (mut socket, _) = tokio_tungstenite::client_async("ws://test/talk", stream).await.expect("an agreement");
    let message = tokio_tungstenite::tungstenite::Message::text("hello");
    socket.send(message.clone()).await.expect("sent");
    assert_eq!(timeout(PATIENCE, socket.next()).await.expect("in time").expect("one").expect("well"), message);
}

/// The answer to who asks for a WebSocket.
async fn refused(near: &Node) -> (u16, String) {
    let ask = request("GET", "/talk").header("Connection", "upgrade").header("Upgrade", "websocket");
    let ask = ask.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let reply = Caller::connect(near.address()).await.ask(&ask).await;
    (reply.status, body(&reply))
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_a_web_socket() {
    talks(&node(&leaving(5).await)).await;
    // Another one has it as well.
    let near = node(&format!("{},h2c://{}#backup", leaving(usize::MAX).await, leaving(0).await));
    talks(&near).await;
    nothing_has_failed(&near).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_whose_connection_is_lost_is_a_failure_as_any_request_is() {
    let near = node(&losing().await);
    for failed in 1..=2 {
        let told = "http: proxying error: the connection to it was lost before its reply\n";
        assert_eq!(refused(&near).await, (502, told.to_owned()));
        assert_eq!(counted(&near, "httptp_upstream_failures_total").await, f64::from(failed));
    }
    let near = spending(&format!("{},h2c://{}#backup", losing().await, leaving(0).await), "20");
    talks(&near).await;
    assert_eq!(counted(&near, "httptp_upstream_failures_total").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_said_that_it_takes_web_sockets_is_asked_for_none() {
    let near = node(&refusing_often(Refusal::Reset, usize::MAX).await);
    for _ in 0..3 {
        let told = "http: proxying error: no other protocol over HTTP/2\n";
        assert_eq!(refused(&near).await, (501, told.to_owned()));
    }
    assert_eq!(counted(&near, "httptp_upstream_failures_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_takes_it_is_a_failure_when_the_time_is_over() {
    let address = refusing_often(Refusal::GoAway, usize::MAX).await;
    let more = ["--retry-budget", "0", "--admin", "127.0.0.1:0", "--out-timeout", "300ms"];
    let near = Node::start("http://127.0.0.1:0", &format!("h2c://{address}"), &more);
    let reply = Caller::connect(near.address()).await.get("/").await;
    // The time may end between two tries or in the middle of one.
    let told = (reply.status, body(&reply));
    assert!([502, 504].contains(&told.0), "{told:?}");
    assert_eq!(counted(&near, "httptp_failed_requests_total").await, 1.0);
    assert_eq!(counted(&near, "httptp_upstream_failures_total").await, 1.0);
}

/// Sends 1,500 requests at a time 150 through the node.
fn h2load(near: &Node, more: &[&str]) {
    let mut command = Command::new("h2load");
    command.args(["--h1", "-n", "1500", "-c", "150"]).args(more).arg(format!("{}/x", near.url()));
    let h2load = Running::start(command);
    let done = tokio::task::block_in_place(|| {
        h2load.line("its result", |line| line.strip_prefix("requests: ").map(str::to_owned))
    });
    assert!(done.contains("1500 succeeded, 0 failed"), "{more:?}: {done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_where_nginx_ends_its_connections() {
    let files = Files::new();
    let content = files.write("body", &[b'b'; 1000]);
    for requests in [7, 100] {
        let nginx =
            Nginx::start(Listen::Http2, &format!("keepalive_requests {requests}; location / {{ return 200 ok; }}"));
        let near = node(&nginx.authority());
        h2load(&near, &[]);
        h2load(&near, &["-d", content.to_str().expect("UTF-8")]);
        nothing_has_failed(&near).await;
    }
}

/// Uploads of one client each, with their sizes: some are read whole before they go on, others stream, by length and in chunks.
fn upload(client: u64, number: u64) -> (String, Vec<u8>, bool) {
    let seed = client << 32 | number;
    let len = fastrand::Rng::with_seed(seed).usize(..200_000);
    (format!("/{client}/{number}"), noise(seed, len), number.is_multiple_of(2))
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_go_on_whole_and_once_where_nginx_ends_its_connections() {
    const CLIENTS: u64 = 24;
    const EACH: u64 = 12;
    let origin = Origin::scripted(|_| Answer::Bytes(HttpReply::new(200, "OK").body(b"").bytes())).await;
    let server = format!(
        "keepalive_requests 7; client_max_body_size 1m; location / {{ proxy_pass {}; proxy_http_version 1.1; }}",
        origin.url
    );
    let nginx = Nginx::start(Listen::Http2, &server);
    let near = node(&nginx.authority());
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let address = near.address().to_owned();
        clients.spawn(async move {
            let mut caller = Caller::connect(&address).await;
            let mut failed = Vec::new();
            for number in 0..EACH {
                let (target, content, in_chunks) = upload(client, number);
                let reply = if in_chunks {
                    let head = request("POST", &target).header("Transfer-Encoding", "chunked").bytes();
                    caller.send(&[head, chunked(&content, 7_000)].concat()).await;
                    caller.reply().await
                } else {
                    caller.ask(&request("POST", &target).body(&content)).await
                };
                if reply.status != 200 {
                    failed.push(format!("{target}: {} {}", reply.status, body(&reply)));
                }
            }
            failed
        });
    }
    let failed = clients.join_all().await.concat();
    assert!(failed.is_empty(), "{} of {}: {:#?}", failed.len(), CLIENTS * EACH, &failed[..failed.len().min(5)]);
    let mut seen = HashMap::new();
    for request in origin.requests() {
        assert!(seen.insert(request.target.clone(), request.body).is_none(), "{} came twice", request.target);
    }
    for (target, content, _) in (0..CLIENTS).flat_map(|client| (0..EACH).map(move |number| upload(client, number))) {
        assert!(seen.remove(&target).is_some_and(|body| body == content), "{target} did not come as it was");
    }
    assert!(seen.is_empty());
    nothing_has_failed(&near).await;
}
