//! Graceful shutdown: what began is finished, within the grace.

use std::sync::Arc;

use fastrpc::codec::tlv::{Reply, Request};
use fastrpc::{Call, Compression, Dispatch};
use testkit::raw::RawPeer;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::support::*;

const DISPATCHES: [Dispatch; 3] = [Dispatch::Inline, Dispatch::Spawn, Dispatch::Pipeline];

async fn slow(call: Call<Request>) -> Reply {
    sleep(ms(500)).await;
    Reply::new(call.into_request().name)
}

#[tokio::test(start_paused = true)]
async fn slow_handlers_are_waited_for() {
    for dispatch in DISPATCHES {
        let (net, ends) = net();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = server().dispatch(dispatch).build().unwrap();
        let serving = server.serve(ends, slow).with_graceful_shutdown(async { stopped.await.unwrap() });
        let serving = tokio::spawn(serving.into_future());
        let client = net.client(client());
        let mut calls: Vec<_> = (0..4).map(|n| client.call(ask(&n.to_string()))).collect();
        for call in &mut calls {
            assert!(poll_once(call).is_pending());
        }
        settle().await;
        stop.send(()).unwrap();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap().value, n.to_string(), "{dispatch:?}");
        }
        timeout(ms(10), serving).await.expect("it ends with the last reply").unwrap();
        // Nobody listens any more.
        assert!(client.call(ask("late")).timeout(secs(1)).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_end_at_once() {
    let (net, ends) = net();
    let (server, serving) = serve(server(), ends, echo);
    let client = net.client(client());
    client.call(ask("warm")).await.unwrap();
    server.shutdown();
    timeout(ms(10), serving).await.expect("nothing is in progress").unwrap();
}

/// Replies wait for a peer that reads slowly.
#[tokio::test(start_paused = true)]
async fn replies_reach_a_slow_reader() {
    for dispatch in DISPATCHES {
        let settings = server().dispatch(dispatch).max_unread(1024).write_timeout(secs(20));
        let server = settings.build().unwrap();
        let (here, there) = testkit::pipe::duplex();
        let to_client = here.incoming();
        let serving = server.clone();
        let handler = Arc::new(async |_: Call<Request>| Reply::new(vec![b'r'; 1000]));
        let serving = tokio::spawn(async move { serving.serve_connection(there, None, handler).await });
        let mut peer = RawPeer::client(here, &hello(Compression::None)).await;
        to_client.choke();
        for id in 1..=20 {
            peer.ask(id, "x").await;
        }
        settle().await;
        server.shutdown();
        sleep(secs(10)).await;
        assert!(!serving.is_finished());
        to_client.allow_all();
        for _ in 1..=20 {
            assert_eq!(peer.answer().await.1.len(), 1000);
        }
        peer.expect_end().await;
        drop(peer);
        serving.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_is_given_up_after_the_grace() {
    for dispatch in DISPATCHES {
        let (net, ends) = net();
        let server = server().dispatch(dispatch).write_timeout(secs(1000)).build().unwrap();
        let serving = tokio::spawn(server.serve(ends, slow).grace(secs(3)).into_future());
        let end = net.dial();
        let to_client = end.incoming();
        let mut peer = RawPeer::client(end, &hello(Compression::None)).await;
        to_client.choke();
        peer.ask(1, "x").await;
        settle().await;
        let start = Instant::now();
        server.shutdown();
        serving.await.unwrap();
        let took = start.elapsed();
        assert!(took >= secs(3) && took <= secs(3) + ms(10), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_ends_is_dropped_after_the_grace() {
    for dispatch in DISPATCHES {
        let (net, ends) = net();
        let server = server().dispatch(dispatch).build().unwrap();
        let never = async |_: Call<Request>| std::future::pending::<Reply>().await;
        let serving = tokio::spawn(server.serve(ends, never).grace(secs(3)).into_future());
        let client = net.client(client());
        let mut call = client.call(ask("never"));
        assert!(poll_once(&mut call).is_pending());
        settle().await;
        let start = Instant::now();
        server.shutdown();
        serving.await.unwrap();
        assert!(start.elapsed() >= secs(3) && start.elapsed() <= secs(3) + ms(10));
        assert!(!call.await.unwrap_err().may_retry());
        settle().await;
        assert_eq!(server.stats().pending, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_opening_exchange_does_not_hold_the_shutdown() {
    let (net, ends) = net();
    let (server, serving) = serve(server(), ends, echo);
    let _silent = net.dial();
    settle().await;
    server.shutdown();
    timeout(ms(10), serving).await.expect("nothing has begun").unwrap();
}

/// Of a request that has begun to arrive the rest is awaited; what begins later is not read.
#[tokio::test(start_paused = true)]
async fn a_request_that_has_begun_to_arrive_is_served() {
    let (net, ends) = net();
    let (server, serving) = serve(server(), ends, echo);
    let mut peer = RawPeer::client(net.dial(), &hello(Compression::None)).await;
    let request = request_bytes(1, "in two parts", b"");
    peer.say(&request[..5]).await;
    settle().await;
    server.shutdown();
    settle().await;
    peer.say(&request[5..]).await;
    assert_eq!(peer.answer().await, (1, "in two parts".to_owned()));
    peer.expect_end().await;
    drop(peer);
    serving.await.unwrap();
}

/// A call that comes while older ones are being finished hears at once that it came too late.
#[tokio::test(start_paused = true)]
async fn a_call_that_comes_while_draining_is_declined_at_once() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn] {
        let (net, ends) = net();
        let (server, serving) = serve(server().dispatch(dispatch), ends, slow);
        let mut peer = RawPeer::client(net.dial(), &hello(Compression::None)).await;
        peer.say(&request_bytes(1, "early", b"")).await;
        settle().await;
        server.shutdown();
        settle().await;
        let begun = Instant::now();
        peer.say(&request_bytes(2, "late", b"")).await;
        assert_eq!(peer.answer().await, (2, "draining".to_owned()));
        assert!(begun.elapsed() < ms(10));
        assert_eq!(peer.answer().await, (1, "early".to_owned()));
        peer.expect_end().await;
        drop(peer);
        serving.await.unwrap();
    }
}
