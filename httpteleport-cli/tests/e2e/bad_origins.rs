//! Origins that say too much, too little, or the wrong thing. None of it may reach another caller.

use std::time::Instant;

use testkit::programs::{Listen, Nginx};
use testkit::wire::{HttpReply, HttpRequest};

use crate::WIRE;
use crate::caller::{Caller, body, request};
use crate::node::{Node, Pair, noise};
use crate::origin::{Answer, Origin, echo};

/// Answers most requests with an echo, and the others with something that has a tail, which looks like a reply.
async fn talkative() -> Origin {
    Origin::scripted(|request: &HttpRequest| {
        let tail = HttpReply::new(200, "OK").body(b"poison").bytes();
        let head = match &*request.target {
            "/twice" => HttpReply::new(200, "OK").body(b"first"),
            "/head" => HttpReply::new(200, "OK").header("Content-Length", &tail.len().to_string()),
            "/204" => HttpReply::new(204, "No Content"),
            "/304" => HttpReply::new(304, "Not Modified").header("Content-Length", &tail.len().to_string()),
            "/both" => {
                let both =
                    HttpReply::new(200, "OK").header("Content-Length", "5").header("Transfer-Encoding", "chunked");
                return Answer::Bytes([both.bytes(), b"5\r\nfirst\r\n0\r\n\r\n".to_vec(), tail].concat());
            }
            _ => return echo(request),
        };
        Answer::Bytes([head.bytes(), tail].concat())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_chunks_says_nothing() {
    let origin = Origin::scripted(|_| {
        let both = HttpReply::new(200, "OK").header("Content-Length", "2").header("Transfer-Encoding", "chunked");
        Answer::Last([both.bytes(), b"3\r\nabc\r\n0\r\n\r\n".to_vec()].concat())
    })
    .await;
    let pair = Pair::start(&origin.url);
    let node = Node::start("http://127.0.0.1:0", &origin.url, &[]);
    for near in [&node, &pair.near] {
        let reply = Caller::connect(near.address()).await.get("/").await;
        assert_eq!((reply.status, &*body(&reply)), (200, "abc"), "{reply:?}");
    }
}

async fn nobody_is_poisoned(near: &Node) {
    let mut caller = Caller::connect(near.address()).await;
    for round in 0..20 {
        for (method, target) in
            [("GET", "/twice"), ("HEAD", "/head"), ("GET", "/204"), ("GET", "/304"), ("GET", "/both")]
        {
            let reply = caller.ask(&request(method, target)).await;
            assert!(matches!(reply.status, 200 | 204 | 304), "{target}: {reply:?}");
            assert!(!body(&reply).contains("poison"), "{target}: {reply:?}");
            // At once, on what may be the same connection to the origin; POST, so that nobody tries it twice.
            let token = format!("{round}{target}");
            let reply = caller.ask(&request("POST", "/next").body(token.as_bytes())).await;
            assert!(reply.status == 502 || body(&reply) == token, "after {target}: {reply:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_behind_a_reply_are_nobody_s_reply() {
    let origin = talkative().await;
    nobody_is_poisoned(&Pair::start(&origin.url).near).await;
    nobody_is_poisoned(&Node::start("http://127.0.0.1:0", &origin.url, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_that_are_cut_short_are_502_over_teleport() {
    let origin = Origin::scripted(|request| {
        let bytes: &[u8] = match &*request.target {
            "/length" => b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            "/chunks" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "/bad-chunks" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
            "/head" => b"HTTP/1.1 200 OK\r\nContent-Le",
            "/nothing" => b"",
            "/nonsense" => b"SSH-2.0-OpenSSH\r\n\r\n",
            "/101" => b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "/two-lengths" => b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "/bad-length" => b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nab",
            _ => return echo(request),
        };
        Answer::Last(bytes.to_vec())
    })
    .await;
    let pair = Pair::start(&origin.url);
    let mut caller = Caller::connect(pair.near.address()).await;
    for target in
        ["/length", "/chunks", "/bad-chunks", "/head", "/nothing", "/nonsense", "/101", "/two-lengths", "/bad-length"]
    {
        let reply = caller.try_ask(&request("POST", target).body(b"x")).await;
        // On the framed wire a head may have gone on before its body turned out to be cut: then the connection ends early.
        let Some(reply) = reply else {
            assert!(WIRE != "classic" && ["/length", "/chunks", "/bad-chunks"].contains(&target), "{target}");
            caller = Caller::connect(pair.near.address()).await;
            continue;
        };
        assert_eq!(reply.status, 502, "{target}: {reply:?}");
        assert!(body(&reply).contains("teleport: proxying error: ") || WIRE != "classic", "{reply:?}");
        assert_eq!(body(&reply).lines().count(), 1, "{reply:?}");
        assert_eq!(body(&caller.get("/well").await), "GET /well");
    }
    let cut = origin.requests().iter().filter(|request| request.target != "/well").count();
    assert_eq!(cut, 9, "nothing was sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_that_closes_often_and_refuses_early() {
    let nginx = Nginx::start(
        Listen::Tcp,
        "keepalive_requests 3; client_max_body_size 1k; location / { return 200 \"$request_uri\"; } location /files { }",
    );
    let pair = Pair::start(&format!("http://{}", nginx.authority()));
    let mut caller = Caller::connect(pair.near.address()).await;
    for n in 0..100 {
        let reply = caller.ask(&request("POST", &format!("/{n}")).body(b"small")).await;
        assert_eq!((reply.status, body(&reply)), (200, format!("/{n}")));
    }
    for _ in 0..3 {
        let reply = caller.ask(&request("POST", "/files").body(&noise(9, 1_000_000))).await;
        assert_eq!(reply.status, 413, "{reply:?}");
        assert!(body(&reply).contains("nginx"), "nginx's own words: {reply:?}");
    }
    assert_eq!(body(&caller.get("/after").await), "/after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_is_given_up_when_the_time_is_over() {
    let origin = Origin::scripted(|request| match &*request.target {
        "/stops" => Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec()),
        _ => echo(request),
    })
    .await;
    if WIRE != "classic" {
        return; // There the time is for the head, and what follows may take as long as it goes on.
    }
    for (near, far, by) in [("15s", "300ms", "teleport: "), ("300ms", "15s", "http: ")] {
        let pair = Pair::with(&origin.url, &["--out-timeout", near], &["--out-timeout", far]);
        let (mut caller, start) = (Caller::connect(pair.near.address()).await, Instant::now());
        let reply = caller.get("/stops").await;
        assert!(reply.status == 504 && body(&reply).starts_with(by), "{reply:?}");
        assert!((300..5000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
        assert_eq!(body(&caller.get("/well").await), "GET /well");
    }
    // What a far node has given up occupies it no more.
    let pair = Pair::with(&origin.url, &["--out-timeout", "15s"], &["--out-timeout", "200ms", "--concurrency", "1"]);
    let mut caller = Caller::connect(pair.near.address()).await;
    assert_eq!(caller.get("/stops").await.status, 504);
    assert_eq!(body(&caller.get("/well").await), "GET /well");
}
