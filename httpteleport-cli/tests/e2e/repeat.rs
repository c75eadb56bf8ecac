//! Requests that are made again when their upstream was lost.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::caller::{Caller, body, request};
use crate::node::{Node, PATIENCE};
use crate::origin::{Answer, Origin, echo};

/// A near node before two far ones, each with an origin of its own.
struct Two {
    near: Node,
    fars: [Node; 2],
    origins: [Origin; 2],
}

impl Two {
    async fn start(wire: &str, more: &[&str]) -> Two {
        let origins = [Origin::start().await, Origin::start().await];
        let wire = ["--wire", wire];
        let fars = [0, 1].map(|at: usize| Node::start("teleport://127.0.0.1:0", &origins[at].url, &wire));
        let outs = format!("{},{}", fars[0].url(), fars[1].url());
        let near = Node::start("http://127.0.0.1:0", &outs, &[&wire, more].concat());
        Two { near, fars, origins }
    }

    /// Which of the origins has the request that was just sent.
    async fn holder(&self) -> usize {
        tokio::select! {
            () = self.origins[0].holds() => 0,
            () = self.origins[1].holds() => 1,
        }
    }

    /// The reply to a request whose far node is lost when its origin has it.
    async fn lose(&mut self, method: &str, content: &[u8]) -> (u16, String) {
        let mut caller = Caller::connect(self.near.address()).await;
        caller.send(&request(method, "/hold").body(content).bytes()).await;
        let holder = self.holder().await;
        self.fars[holder].kill();
        self.origins[1 - holder].let_go(1);
        let reply = timeout(PATIENCE, caller.reply()).await.expect("in time");
        (reply.status, body(&reply))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_that_a_lost_node_had_goes_to_another() {
    for wire in ["framed", "classic"] {
        let mut two = Two::start(wire, &[]).await;
        assert_eq!(two.lose("GET", b"").await, (200, "GET /hold".to_owned()), "{wire}");
        let seen = two.origins.each_ref().map(|origin| origin.requests().len());
        assert_eq!(seen, [1, 1], "each once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_goes_with_its_body() {
    for wire in ["framed", "classic"] {
        let mut two = Two::start(wire, &[]).await;
        let content = vec![b'p'; 10_000];
        let want = String::from_utf8(content.clone()).expect("UTF-8");
        assert_eq!(two.lose("PUT", &content).await, (200, want), "{wire}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_does_not_and_without_a_budget_nothing_does() {
    for wire in ["framed", "classic"] {
        let mut two = Two::start(wire, &[]).await;
        assert_eq!(two.lose("POST", b"once").await.0, 502, "{wire}");
    }
    let mut two = Two::start("framed", &["--retry-budget", "0"]).await;
    assert_eq!(two.lose("GET", b"").await.0, 502);
}

/// Origins that end the connection instead of answering.
async fn cutting(count: usize) -> Vec<Origin> {
    let mut origins = Vec::new();
    for _ in 0..count {
        origins.push(Origin::scripted(|_| Answer::Last(Vec::new())).await);
    }
    origins
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_down_whoever_has_it_takes_down_two() {
    let origins = cutting(4).await;
    let outs = origins.iter().map(|origin| origin.url.as_str()).collect::<Vec<_>>().join(",");
    let near = Node::start("http://127.0.0.1:0", &outs, &[]);
    let mut caller = Caller::connect(near.address()).await;
    for (method, want) in [("GET", 2), ("POST", 1)] {
        let before: usize = origins.iter().map(|origin| origin.requests().len()).sum();
        assert_eq!(caller.ask(&request(method, "/")).await.status, 502);
        let after: usize = origins.iter().map(|origin| origin.requests().len()).sum();
        assert_eq!(after - before, want, "{method}");
    }
    assert!(origins.iter().all(|origin| origin.requests().len() <= 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_stay_within_the_budget() {
    let good = Origin::scripted(echo).await;
    let bad = cutting(1).await;
    // Nobody is ejected, and the bad one has all the weight: each request meets it, as far as it is not avoided.
    let outs = format!("{}#weight=1000,{}", bad[0].url, good.url);
    let near = Node::start("http://127.0.0.1:0", &outs, &["--eject-after", "0"]);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let address = near.address().to_owned();
        tasks.spawn(async move { Caller::connect(&address).await.get("/").await.status });
    }
    let statuses = timeout(Duration::from_secs(20), tasks.join_all()).await.expect("in time");
    let (met, served) = (bad[0].requests().len(), good.requests().len());
    let failed = statuses.iter().filter(|status| **status == 502).count();
    assert_eq!(statuses.len(), served + failed);
    let repeated = met - failed;
    assert!((1..=32).contains(&repeated), "{repeated} of 100: ten and a fifth, and what trickles in");
}

/// An upstream that resets each connection when the head of a request has begun to come: what it leaves unread makes its system do so.
async fn resetting() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read_exact(&mut [0; 10]).await;
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_reset_counts_as_lost() {
    let good = Origin::start().await;
    let near = Node::start("http://127.0.0.1:0", &format!("{}#weight=9,{}", resetting().await, good.url), &[]);
    let content = [b'r'; 10_000];
    let mut caller = Caller::connect(near.address()).await;
    for _ in 0..5 {
        assert_eq!(caller.ask(&request("PUT", "/").body(&content)).await.status, 200);
        assert_eq!(caller.get("/").await.status, 200);
    }
    assert_eq!(good.requests().len(), 10);
}
