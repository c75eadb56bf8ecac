//! Law 1: never wait for a write while readable work exists, nor the other way round.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fastrpc::codec::tlv::{Reply, Request};
use fastrpc::{Call, Dispatch};

use crate::support::*;

const DISPATCHES: [Dispatch; 3] = [Dispatch::Inline, Dispatch::Spawn, Dispatch::Pipeline];

/// Messages far larger than what fits on the way, in both directions at once.
#[tokio::test(start_paused = true)]
async fn large_messages_both_ways_through_tiny_pipes() {
    for dispatch in DISPATCHES {
        for max_unread in [1024, 1 << 20] {
            let (here, there) = testkit::pipe::duplex();
            here.outgoing().set_capacity(100);
            here.incoming().set_capacity(100);
            let server = server().dispatch(dispatch).max_unread(max_unread).build().unwrap();
            tokio::spawn(async move { server.serve_connection(there, None, Arc::new(echo)).await });
            let (client, driver) = client().handshake(here).await.unwrap();
            tokio::spawn(driver);
            let calls = (0..30).map(|n: usize| {
                let client = client.clone();
                async move {
                    let value = vec![u8::try_from(n).unwrap(); 20_000 + n];
                    let reply = client.call(Request::new("", value.clone())).timeout(secs(1)).await;
                    assert_eq!(reply.unwrap().value, value);
                }
            });
            let calls: Vec<_> = calls.map(tokio::spawn).collect();
            for call in calls {
                call.await.unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_writes_are_choked_still_reads() {
    let (net, mut ends) = net();
    let client = net.client(client());
    let mut call = client.call(ask("answered"));
    let mut peer = meanwhile(&mut call, ends.peer()).await;
    let id = meanwhile(&mut call, peer.request()).await.id;
    let end = peer.into_inner();
    end.incoming().choke();
    let mut stuck = client.call(Request::new("stuck", vec![0; 100_000]));
    meanwhile(&mut stuck, end.incoming().writer_blocked()).await;
    let mut peer = testkit::raw::RawPeer::new(end);
    peer.reply(id, "heard").await;
    assert_eq!(tokio::time::timeout(ms(10), call).await.unwrap().unwrap().value, "heard");
}

/// A client that sends and does not read: the server stops taking requests, holds little, and loses nothing.
#[tokio::test(start_paused = true)]
async fn unread_replies_stop_the_server_from_taking_requests() {
    const CALLS: u32 = 500;
    const REPLY: usize = 1000;
    for dispatch in DISPATCHES {
        for slow in [false, true] {
            let handled = Arc::new(AtomicUsize::new(0));
            let count = handled.clone();
            let handler = move |_: Call<Request>| {
                let count = count.clone();
                async move {
                    count.fetch_add(1, Ordering::SeqCst);
                    if slow {
                        tokio::task::yield_now().await;
                    }
                    Reply::new(vec![b'r'; REPLY])
                }
            };
            let settings = server().dispatch(dispatch).max_unread(10 * REPLY).calls_per_turn(4).write_timeout(secs(60));
            let (mut peer, _to_server, to_client, serving) = served(settings, handler).await;
            to_client.choke();
            let mut requests = Vec::new();
            for id in 1..=CALLS {
                requests.extend(request_bytes(id, "x", b""));
            }
            peer.say(&requests).await;
            settle().await;
            let stopped_at = handled.load(Ordering::SeqCst);
            // What was begun before the replies were counted may pass the limit: some turns of four calls each.
            assert!((9..=100).contains(&stopped_at), "{dispatch:?} slow {slow}: {stopped_at} handlers ran");
            to_client.allow(REPLY * 3);
            settle().await;
            assert!(handled.load(Ordering::SeqCst) <= stopped_at + 60);

            to_client.allow_all();
            let mut ids = Vec::new();
            for _ in 0..CALLS {
                let (id, reply) = peer.answer().await;
                assert_eq!(reply.len(), REPLY);
                ids.push(id);
            }
            if dispatch == Dispatch::Pipeline {
                assert!(ids.is_sorted());
            }
            ids.sort_unstable();
            assert!(ids.iter().copied().eq(1..=CALLS), "{dispatch:?}: each call has one reply");
            peer.finish().await;
            peer.expect_end().await;
            serving.await.unwrap().unwrap();
        }
    }
}

/// The same with a batch delay: a batch that has reached the limit does not wait any longer.
#[tokio::test(start_paused = true)]
async fn a_batch_that_fills_the_unread_limit_goes_out_at_once() {
    let settings = server().max_unread(1024).batch_delay(ms(20));
    let (mut peer, _, _, _serving) = served(settings, async |_: Call<Request>| Reply::new(vec![b'r'; 300])).await;
    let start = tokio::time::Instant::now();
    let mut requests = Vec::new();
    for id in 1..=12 {
        requests.extend(request_bytes(id, "x", b""));
    }
    peer.say(&requests).await;
    for id in 1..=12 {
        assert_eq!(peer.answer().await.0, id);
    }
    assert!(start.elapsed() <= ms(21), "only the last batch may wait: {:?}", start.elapsed());
}

/// A slow reader is noticed by nobody but itself.
#[tokio::test(start_paused = true)]
async fn other_connections_go_on_while_one_is_choked() {
    let (net, ends) = net();
    let (server, _serving) = serve(server().max_unread(1024), ends, echo);
    let slow = net.client(client());
    let other = net.client(client());
    slow.call(ask("warm")).await.unwrap();
    let mut stuck: Vec<_> = (0..50).map(|_| slow.call(Request::new("x", vec![0; 10_000]))).collect();
    for call in &mut stuck {
        assert!(poll_once(call).is_pending());
    }
    for _ in 0..100 {
        assert_eq!(other.call(ask("quick")).timeout(ms(10)).await.unwrap().value, "quick");
    }
    drop(server);
}
