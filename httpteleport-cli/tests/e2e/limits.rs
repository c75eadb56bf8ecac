//! What is over a limit is refused on whichever node meets it, and nobody else notices.

use testkit::wire::{HttpReply, HttpRequest};

use crate::WIRE;
use crate::caller::{Caller, body, request};
use crate::node::{Node, Pair};
use crate::origin::{Answer, Origin, echo};

/// A request whose head has exactly `size` bytes.
fn head_of(size: usize) -> HttpRequest {
    let bare = request("GET", "/head").header("X-Long", "");
    let long = "l".repeat(size - bare.bytes().len());
    request("GET", "/head").header("X-Long", &long)
}

/// A call that is under way while others are refused: its reply proves that its connections have lived on.
struct Witness(Caller);

impl Witness {
    async fn new(near: &Node, origin: &Origin) -> Witness {
        let mut caller = Caller::connect(near.address()).await;
        caller.send(&request("GET", "/hold").bytes()).await;
        origin.holds().await;
        Witness(caller)
    }

    async fn lives_on(mut self, origin: &Origin) {
        origin.let_go(1);
        let reply = self.0.reply().await;
        assert_eq!((reply.status, body(&reply)), (200, "GET /hold".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_over_the_http_input_s_limit_are_413() {
    let origin = Origin::start().await;
    let pair = Pair::with(&origin.url, &["--in-max-body-size", "1000"], &[]);
    let witness = Witness::new(&pair.near, &origin).await;
    let mut caller = Caller::connect(pair.near.address()).await;
    assert_eq!(caller.ask(&request("POST", "/").body(&[b'x'; 1000])).await.status, 200);
    let reply = caller.ask(&request("POST", "/").body(&[b'x'; 1001])).await;
    assert_eq!((reply.status, reply.value("Connection")), (413, Some("close")), "{reply:?}");
    let mut caller = Caller::connect(pair.near.address()).await;
    caller.send(&request("POST", "/").header("Transfer-Encoding", "chunked").bytes()).await;
    caller.send(&testkit::wire::http::chunked(&[b'x'; 1001], 100)).await;
    assert_eq!(caller.reply().await.status, 413);
    witness.lives_on(&origin).await;
    assert_eq!(origin.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_over_the_teleport_input_s_limit_are_413() {
    let origin = Origin::start().await;
    let pair = Pair::with(&origin.url, &[], &["--in-max-body-size", "1000"]);
    let witness = Witness::new(&pair.near, &origin).await;
    let mut caller = Caller::connect(pair.near.address()).await;
    for size in [1000, 1001, 999, 3_000_000, 0] {
        let reply = caller.ask(&request("POST", "/").body(&vec![b'x'; size])).await;
        assert_eq!(reply.status, if size > 1000 { 413 } else { 200 }, "{size}: {reply:?}");
    }
    let form = request("POST", "/").header("Content-Type", "multipart/form-data").body(&[b'x'; 1001]);
    assert_eq!(caller.ask(&form).await.status, 413, "in chunks on the wire");
    witness.lives_on(&origin).await;
    assert_eq!(origin.requests().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_over_the_http_input_s_limit_are_431() {
    let origin = Origin::start().await;
    let pair = Pair::with(&origin.url, &["--in-max-header-size", "2000"], &[]);
    let witness = Witness::new(&pair.near, &origin).await;
    let mut caller = Caller::connect(pair.near.address()).await;
    assert_eq!(caller.ask(&head_of(2000)).await.status, 200);
    assert_eq!(caller.ask(&head_of(2001)).await.status, 431);
    assert!(caller.try_reply(false).await.is_none(), "nothing more is read from it");
    let mut caller = Caller::connect(pair.near.address()).await;
    assert_eq!(caller.ask(&head_of(100_000)).await.status, 431);
    witness.lives_on(&origin).await;
    assert_eq!(origin.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_over_the_teleport_input_s_limit_are_431() {
    let origin = Origin::start().await;
    let pair = Pair::with(&origin.url, &["--in-max-header-size", "100000"], &["--in-max-header-size", "2000"]);
    let witness = Witness::new(&pair.near, &origin).await;
    let mut caller = Caller::connect(pair.near.address()).await;
    for (size, status) in [(1900, 200), (2100, 431), (1900, 200), (90_000, 431), (1900, 200)] {
        let reply = caller.ask(&head_of(size)).await;
        assert_eq!(reply.status, status, "{size}: {reply:?}");
    }
    let mut post = head_of(50_000).body(&[b'x'; 100_000]);
    post.method = "POST".to_owned();
    assert_eq!(caller.ask(&post).await.status, 431, "its body goes with it");
    witness.lives_on(&origin).await;
    assert_eq!(origin.requests().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_head_only_fits_before_the_nodes_add_to_it_fails_alone() {
    let origin = Origin::start().await;
    let pair = Pair::start(&origin.url);
    let witness = Witness::new(&pair.near, &origin).await;
    let mut caller = Caller::connect(pair.near.address()).await;
    for size in 4060..=4096 {
        let mut head = head_of(size - 1);
        head.method = "HEAD".to_owned();
        let reply = caller.ask(&head).await;
        assert!(matches!(reply.status, 200 | 431), "{size}: {reply:?}");
        assert_eq!(caller.ask(&head_of(size)).await.status, 200, "{size}");
    }
    witness.lives_on(&origin).await;
}

/// An origin whose replies have heads of the size in the target.
async fn long_heads() -> Origin {
    Origin::scripted(|request| {
        let Ok(size) = request.target.trim_start_matches('/').parse::<usize>() else { return echo(request) };
        let bare = HttpReply::new(200, "OK").header("X-Long", "").body(b"body").bytes().len() - 4;
        Answer::Bytes(HttpReply::new(200, "OK").header("X-Long", &"l".repeat(size - bare)).body(b"body").bytes())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn reply_heads_over_the_limit_are_502_on_either_node() {
    let origin = long_heads().await;
    for (near, far, largest) in [("100000", "2000", 2000), ("2000", "100000", 2000), ("2000", "2000", 2000)] {
        let pair = Pair::with(&origin.url, &["--out-max-header-size", near], &["--out-max-header-size", far]);
        let witness = Witness::new(&pair.near, &origin).await;
        let mut caller = Caller::connect(pair.near.address()).await;
        // The framed wire does not carry the reason, nor count it.
        let more = if WIRE == "classic" { largest + 1 } else { largest + 10 };
        for size in [largest, more, 500, 50_000, largest] {
            let reply = caller.get(&format!("/{size}")).await;
            assert_eq!(reply.status, if size > largest { 502 } else { 200 }, "{near} {far} {size}: {reply:?}");
            assert!(!reply.body.is_empty() && reply.body.len() < 300, "{reply:?}");
        }
        witness.lives_on(&origin).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_header_lines_than_one_head_may_have() {
    let origin = Origin::start().await;
    let pair = Pair::with(&origin.url, &["--in-max-header-size", "100000"], &["--in-max-header-size", "100000"]);
    let witness = Witness::new(&pair.near, &origin).await;
    for lines in [90, 300, 5000] {
        let many = (0..lines).fold(request("GET", "/"), |many, line| many.header(&format!("X-{line}"), "1"));
        let reply = Caller::connect(pair.near.address()).await.ask(&many).await;
        assert_eq!(reply.status, if lines < 100 { 200 } else { 431 }, "{lines}: {reply:?}");
    }
    witness.lives_on(&origin).await;
}
