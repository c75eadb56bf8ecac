//! When batches go out, on both sides.

use std::sync::Arc;
use std::time::Duration;

use fastrpc::codec::tlv::{Reply, Request};
use fastrpc::{BatchTimer, Call, Wire};
use tokio::time::{Instant, sleep};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn the_delay_counts_from_the_first_message() {
    let (net, mut ends) = net();
    let client = net.client(client().batch_delay(ms(20)));
    let mut peer = {
        let mut warm = client.call(ask("warm"));
        let mut peer = meanwhile(&mut warm, ends.peer()).await;
        let id = meanwhile(&mut warm, peer.request()).await.id;
        peer.reply(id, "done").await;
        warm.await.unwrap();
        peer
    };
    settle().await;
    let start = Instant::now();
    for n in 0..4 {
        client.send(&ask(&n.to_string())).unwrap();
        sleep(ms(4)).await;
    }
    peer.request().await;
    let took = start.elapsed();
    assert!(took >= ms(20) && took <= ms(22), "{took:?}");
    for _ in 1..4 {
        peer.request().await;
    }
    assert_eq!(start.elapsed(), took, "all in one batch");
    assert_eq!(client.stats().batches, 2);
    assert_eq!(client.stats().calls, 5);
}

/// When what began a batch is taken back, the next message begins anew.
#[tokio::test(start_paused = true)]
async fn a_dropped_first_message_does_not_hurry_the_next() {
    let (net, ends) = net();
    let (_server, _serving) = serve(server(), ends, echo);
    let client = net.client(client().batch_delay(ms(20)));
    client.call(ask("warm")).await.unwrap();
    let mut first = client.call(ask("first"));
    assert!(poll_once(&mut first).is_pending());
    sleep(ms(15)).await;
    drop(first);
    sleep(ms(10)).await; // The driver has looked, and found nothing.
    let start = Instant::now();
    client.call(ask("next")).await.unwrap();
    assert!(start.elapsed() >= ms(20), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_goes_out_at_once() {
    let (net, ends) = net();
    let (_server, _serving) = serve(server(), ends, echo);
    let client = net.client(client().batch_delay(secs(5)).write_buffer(4096));
    let start = Instant::now();
    let calls: Vec<_> = (0..5).map(|_| client.call(Request::new("x", vec![0; 1000]))).collect();
    let mut calls = calls;
    for call in &mut calls {
        assert!(poll_once(call).is_pending());
    }
    for call in calls {
        call.await.unwrap();
    }
    assert!(start.elapsed() < ms(10), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_batches_replies_of_tasks_too() {
    for dispatch in [fastrpc::Dispatch::Inline, fastrpc::Dispatch::Spawn] {
        let settings = server().batch_delay(ms(20)).dispatch(dispatch);
        let (mut peer, _, _, _serving) = served(settings, async |call: Call<Request>| {
            let name = call.into_request().name;
            sleep(ms(std::str::from_utf8(&name).unwrap().parse().unwrap())).await;
            Reply::new(name)
        })
        .await;
        let start = Instant::now();
        for (id, delay) in [(1, "3"), (2, "7"), (3, "12"), (4, "40")] {
            peer.ask(id, delay).await;
        }
        assert_eq!(peer.answer().await.0, 1);
        let took = start.elapsed();
        assert!(took >= ms(23) && took <= ms(26), "{dispatch:?} {took:?}");
        assert_eq!((peer.answer().await.0, peer.answer().await.0), (2, 3));
        assert_eq!(start.elapsed(), took);
        assert_eq!(peer.answer().await.0, 4);
    }
}

/// Without a delay, what is ready together still travels together.
#[tokio::test(start_paused = true)]
async fn calls_made_together_travel_together() {
    let (net, ends) = net();
    let (server, _serving) = serve(server(), ends, echo);
    let client = net.client(client());
    client.call(ask("warm")).await.unwrap();
    let calls: Vec<_> = (0..100)
        .map(|n: i32| {
            let client = client.clone();
            tokio::spawn(async move { client.call(ask(&n.to_string())).await.unwrap() })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert!(client.stats().batches <= 4, "{} batches", client.stats().batches);
    assert!(server.stats().batches <= 4, "{} batches", server.stats().batches);
}

/// Sizes and waits of batches, and how many connections are open.
#[tokio::test(start_paused = true)]
async fn stats_tell_what_was_in_batches_and_how_long_they_waited() {
    for wire in [Wire::Classic, Wire::Framed] {
        let (net, ends) = net();
        let (server, _serving) = serve(server().wire(wire), ends, echo);
        let client = net.client(client().wire(wire).batch_delay(ms(20)));
        client.call(ask("warm")).await.unwrap();
        settle().await;
        let calls: Vec<_> = (0..4)
            .map(|n: i32| {
                let client = client.clone();
                tokio::spawn(async move { client.call(ask(&n.to_string())).await.unwrap() })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        let (ours, theirs) = (client.stats(), server.stats());
        let filled: Vec<_> = ours.batch_messages.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(Some(1), 1), (Some(4), 1)], "{wire:?}");
        assert_eq!((ours.batch_messages.sum(), theirs.batch_messages.sum()), (5, 5), "{wire:?}");
        assert_eq!(ours.batch_bytes.count(), ours.batches, "{wire:?}");
        assert!((40_000..44_000).contains(&ours.batch_wait_micros.sum()), "{wire:?}: {:?}", ours.batch_wait_micros);
        assert_eq!((ours.connections, ours.connections_ended), (1, 0), "{wire:?}");
        client.close();
        settle().await;
        let (ours, theirs) = (client.stats(), server.stats());
        assert_eq!((ours.connections_ended, theirs.connections_ended), (1, 1), "{wire:?}");
    }
}

/// The fine timer, on the real clock: sooner than tokio's 1 ms steps, never before its time.
#[tokio::test]
async fn the_fine_timer_keeps_its_delay() {
    let (net, ends) = net();
    let (_server, _serving) = serve(server(), ends, echo);
    let delay = Duration::from_micros(300);
    let client = Arc::new(net.client(client().batch_delay(delay).batch_timer(BatchTimer::Fine)));
    client.call(ask("warm")).await.unwrap();
    let mut best = Duration::MAX;
    for _ in 0..50 {
        let start = std::time::Instant::now();
        client.call(ask("x")).await.unwrap();
        let took = start.elapsed();
        assert!(took >= delay, "{took:?}");
        best = best.min(took);
    }
    assert!(best < Duration::from_millis(50), "the best of 50 took {best:?}");
}
