//! Callers with habits of their own: they pipeline, go away early, send in single bytes, or never read.

use testkit::programs::Curl;
use tokio::time::timeout;

use crate::caller::{Caller, body, request};
use crate::node::{Node, PATIENCE, Pair};
use crate::origin::Origin;

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start().await;
    let pair = Pair::start(&origin.url);
    let mut caller = Caller::connect(pair.near.address()).await;
    let all: Vec<u8> = (0..100).flat_map(|n| request("GET", &format!("/{n}")).bytes()).collect();
    caller.send(&all).await;
    for n in 0..100 {
        assert_eq!(body(&caller.reply().await), format!("GET /{n}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_single_bytes() {
    let origin = Origin::start().await;
    let pair = Pair::start(&origin.url);
    let mut caller = Caller::connect(pair.near.address()).await;
    for byte in request("POST", "/slow").body(b"byte by byte").bytes() {
        caller.send(&[byte]).await;
    }
    assert_eq!(body(&caller.reply().await), "byte by byte");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_go_away_cost_the_others_nothing() {
    let origin = Origin::start().await;
    let pair = Pair::with(&origin.url, &["--out-timeout", "15s"], &["--out-timeout", "15s"]);
    let gone = 300;
    for n in 0..gone {
        let mut caller = Caller::connect(pair.near.address()).await;
        caller.send(&request("POST", &format!("/hold/{n}")).body(b"abandoned").bytes()).await;
        origin.holds().await;
    }
    let mut caller = Caller::connect(pair.near.address()).await;
    for n in 0..50 {
        assert_eq!(body(&caller.get(&format!("/{n}")).await), format!("GET /{n}"));
    }
    // Now all the replies come that nobody waits for.
    origin.let_go(gone);
    for n in 0..200 {
        assert_eq!(body(&caller.get(&format!("/late/{n}")).await), format!("GET /late/{n}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_reads_nothing_stops_only_itself() {
    let origin = Origin::start().await;
    let pair = Pair::start(&origin.url);
    let mut deaf = Caller::connect(pair.near.address()).await;
    let large = vec![b'd'; 1_000_000];
    // Many replies of 1 MB wait for somebody who reads none of them.
    let sending = tokio::spawn(async move {
        for _ in 0..30 {
            if deaf.try_send(&request("POST", "/deaf").body(&large).bytes()).await.is_err() {
                break;
            }
        }
        deaf
    });
    let mut caller = Caller::connect(pair.near.address()).await;
    for n in 0..200 {
        assert_eq!(body(&caller.get(&format!("/{n}")).await), format!("GET /{n}"));
    }
    sending.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_of_different_kinds_share_the_load() {
    let origins = [Origin::start().await, Origin::start().await];
    let far = Node::start("teleport://127.0.0.1:0", &origins[0].url, &[]);
    let near = Node::start("http://127.0.0.1:0", &format!("{},{}", far.url(), origins[1].url), &[]);
    for n in 0..20 {
        let reply = Curl::new(&format!("{}/{n}", near.url())).run().await;
        assert_eq!((reply.status, &reply.body[..]), (200, format!("GET /{n}").as_bytes()));
    }
    let seen = origins.each_ref().map(|origin| origin.requests().len());
    assert_eq!(seen.iter().sum::<usize>(), 20);
    assert!(seen.iter().all(|seen| *seen > 0), "the quicker one may get more: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_at_once_than_the_far_node_takes_is_503() {
    let origin = Origin::start().await;
    let pair = Pair::with(&origin.url, &[], &["--concurrency", "1"]);
    let mut held = Caller::connect(pair.near.address()).await;
    held.send(&request("GET", "/hold").bytes()).await;
    origin.holds().await;
    let mut caller = Caller::connect(pair.near.address()).await;
    let reply = timeout(PATIENCE, caller.get("/second")).await.expect("at once");
    assert!(reply.status == 503 && body(&reply).contains("too many requests run already"), "{reply:?}");
    origin.let_go(1);
    assert_eq!(held.reply().await.status, 200);
    assert_eq!(caller.get("/third").await.status, 200);
}
