//! The server's own rules: how many handlers run, what is answered, who waits for whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fastrpc::codec::tlv::{Reply, Request};
use fastrpc::{Call, Dispatch, ErrorKind};
use tokio::sync::Semaphore;

use crate::support::*;

/// A handler that waits for a permit of `gate`, and counts how many run.
fn gated(gate: &Arc<Semaphore>, most: &Arc<AtomicUsize>) -> impl fastrpc::Handler<fastrpc::codec::tlv::Tlv> {
    let (gate, most, running) = (gate.clone(), most.clone(), Arc::new(AtomicUsize::new(0)));
    move |call: Call<Request>| {
        let (gate, most, running) = (gate.clone(), most.clone(), running.clone());
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            running.fetch_sub(1, Ordering::SeqCst);
            Reply::new(call.into_request().name)
        }
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_handlers_run_as_may_and_the_rest_is_told() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn] {
        let (gate, most) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (net, ends) = net();
        let (server, _serving) = serve(server().concurrency(3).dispatch(dispatch), ends, gated(&gate, &most));
        let clients = [net.client(client()), net.client(client())];
        for _ in 0..3 {
            let mut calls: Vec<_> = (0..3).map(|n| clients[n % 2].call(ask(&n.to_string()))).collect();
            for call in &mut calls {
                assert!(poll_once(call).is_pending());
            }
            settle().await;
            assert_eq!(server.stats().pending, 3);
            for client in &clients {
                assert_eq!(client.call(ask("one too many")).await.unwrap().value, "overloaded at 3");
                client.send(&ask("nobody hears of this")).unwrap();
            }
            settle().await;
            gate.add_permits(3);
            for (n, call) in calls.into_iter().enumerate() {
                assert_eq!(call.await.unwrap().value, n.to_string());
            }
            assert_eq!(server.stats().pending, 0);
        }
        assert_eq!(most.load(Ordering::SeqCst), 3);
        assert_eq!(server.stats().overloads, 12);
    }
}

#[tokio::test(start_paused = true)]
async fn id_zero_is_never_answered_over_the_limit_either() {
    let gate = Arc::new(Semaphore::new(0));
    let (mut peer, _, _, _serving) = served(server().concurrency(1), gated(&gate, &Arc::default())).await;
    for (id, name) in [(0, "runs"), (0, "too many"), (7, "too many")] {
        peer.ask(id, name).await;
    }
    assert_eq!(peer.answer().await, (7, "overloaded at 1".to_owned()));
    gate.add_permits(1);
    settle().await;
    gate.add_permits(1);
    peer.ask(8, "runs").await;
    assert_eq!(peer.answer().await, (8, "runs".to_owned()));
}

/// Ids are the client's business: any is echoed, also twice.
#[tokio::test(start_paused = true)]
async fn ids_are_opaque() {
    let (mut peer, _, _, _serving) = served(server(), echo).await;
    for id in [u32::MAX, 1, 1, 0x8000_0000] {
        peer.ask(id, "x").await;
        assert_eq!(peer.answer().await, (id, "x".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn replies_come_as_handlers_end() {
    let (mut peer, _, _, _serving) = served(server(), async |call: Call<Request>| {
        let name = call.into_request().name;
        tokio::time::sleep(ms(std::str::from_utf8(&name).unwrap().parse().unwrap())).await;
        Reply::new(name)
    })
    .await;
    for (id, delay) in [(1, "300"), (2, "100"), (3, "200")] {
        peer.ask(id, delay).await;
    }
    for (id, delay) in [(2, "100"), (3, "200"), (1, "300")] {
        assert_eq!(peer.answer().await, (id, delay.to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_runs_one_call_at_a_time_in_order() {
    let (gate, most) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let settings = server().dispatch(Dispatch::Pipeline).concurrency(1);
    let (mut peer, _, _, serving) = served(settings, gated(&gate, &most)).await;
    for id in 1..=20 {
        peer.ask(id, &id.to_string()).await;
    }
    peer.finish().await;
    for id in 1..=20 {
        settle().await;
        if id % 3 == 0 {
            tokio::time::advance(secs(100)).await; // Slow handlers are no reason to close.
        }
        gate.add_permits(1);
        assert_eq!(peer.answer().await, (id, id.to_string()));
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
    peer.expect_end().await;
    serving.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn at_the_end_of_the_requests_pending_replies_are_still_sent() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn, Dispatch::Pipeline] {
        let gate = Arc::new(Semaphore::new(0));
        let settings = server().dispatch(dispatch).batch_delay(ms(5));
        let (mut peer, _, to_client, serving) = served(settings, gated(&gate, &Arc::default())).await;
        for id in 1..=3 {
            peer.ask(id, "pending").await;
        }
        peer.say(&request_bytes(4, "cut off", b"")[..7]).await;
        peer.finish().await;
        settle().await;
        to_client.set_capacity(5);
        gate.add_permits(3);
        let mut ids: Vec<_> = vec![peer.answer().await.0, peer.answer().await.0, peer.answer().await.0];
        ids.sort_unstable();
        assert_eq!(ids, [1, 2, 3]);
        peer.expect_end().await;
        serving.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_connection_breaks_handlers_are_dropped_and_their_permits_return() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn, Dispatch::Pipeline] {
        let gate = Arc::new(Semaphore::new(0));
        let settings = server().dispatch(dispatch).build().unwrap();
        let (here, there) = testkit::pipe::duplex();
        let (serving, stats) = (settings.clone(), settings);
        let handler = Arc::new(gated(&gate, &Arc::default()));
        let serving = tokio::spawn(async move { serving.serve_connection(there, None, handler).await });
        let mut peer = testkit::raw::RawPeer::client(here, &hello(fastrpc::Compression::None)).await;
        for id in 1..=3 {
            peer.ask(id, "pending").await;
        }
        settle().await;
        assert!(stats.stats().pending > 0);
        let end = peer.into_inner();
        end.outgoing().fail(std::io::ErrorKind::ConnectionReset);
        end.incoming().fail(std::io::ErrorKind::ConnectionReset);
        if dispatch == Dispatch::Pipeline {
            gate.add_permits(1); // It hears of the break when it writes.
        }
        assert_eq!(serving.await.unwrap().unwrap_err().kind(), ErrorKind::Connection);
        settle().await;
        assert_eq!(stats.stats().pending, 0);
    }
}

/// Goes to the end of the runtime's queue. Tokio's `yield_now` goes further back, behind the next look at timers.
async fn requeue() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// One connection with endless work does not keep the runtime from others.
#[tokio::test(start_paused = true)]
async fn a_busy_connection_lets_others_have_their_turn() {
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    let settings = server().calls_per_turn(10);
    let (mut peer, _, _, _serving) = served(settings, move |_: Call<Request>| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Reply::new("") }
    })
    .await;
    let mut requests = Vec::new();
    for id in 1..=1000 {
        requests.extend(request_bytes(id, "x", b""));
    }
    peer.say(&requests).await;
    let observer = async move {
        let mut before = handled.load(Ordering::SeqCst);
        assert!(before < 100);
        while before < 1000 {
            requeue().await;
            let now = handled.load(Ordering::SeqCst);
            assert!(now - before <= 10, "{} calls in one turn, at {before}", now - before);
            before = now;
        }
    };
    // A task like the server's: each has its turn.
    tokio::time::timeout(secs(1), tokio::spawn(observer)).await.expect("it goes on by itself").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_sees_who_called_and_what_is_wanted() {
    let (net, ends) = net();
    let (_server, _serving) = serve(server(), ends, async |call: Call<Request>| {
        assert!(call.peer_addr().is_none());
        Reply::new(format!("{} {}", call.wants_reply(), call.request().name.len()))
    });
    assert_eq!(net.client(client()).call(ask("abc")).await.unwrap().value, "true 3");
}
