//! When calls and connections are given up.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use fastrpc::codec::tlv::{Request, Tlv};
use fastrpc::{Client, Compression, ErrorKind};
use testkit::pipe::{End, duplex};
use testkit::raw::RawPeer;
use tokio::time::Instant;

use super::{compute_for, pair};
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn the_longest_duration_means_never() {
    const NEVER: Duration = Duration::MAX;
    let (net, ends) = net();
    let limits = server().read_timeout(NEVER).write_timeout(NEVER).idle_timeout(NEVER).handshake_timeout(NEVER);
    serve(limits, ends, echo);
    let limits = client().read_timeout(NEVER).write_timeout(NEVER).idle_timeout(NEVER).handshake_timeout(NEVER);
    let client = net.client(limits.dial_timeout(NEVER).backoff(NEVER, NEVER).timeout(NEVER));
    assert_eq!(client.call(ask("served")).await.unwrap().value, "served");
    tokio::time::sleep(secs(1000)).await;
    assert_eq!(client.call(ask("again")).await.unwrap().value, "again");
    assert_eq!(client.stats().connections, 1, "never idle for too long");
}

#[tokio::test(start_paused = true)]
async fn the_longest_back_off_does_not_overflow() {
    let refused = || async { Err::<End, _>(io::ErrorKind::ConnectionRefused.into()) };
    let client = client().backoff(Duration::MAX, Duration::MAX).connect_with("nowhere", refused).unwrap();
    assert_eq!(client.call(ask("refused")).await.unwrap_err().kind(), ErrorKind::Connect);
    assert!(client.is_failing());
    let error = client.call(ask("waits")).timeout(secs(1)).await.unwrap_err();
    assert!(error.is_timeout() && error.may_retry(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_counts_from_the_calls_own_first_poll() {
    // Before the driver has run since the other call, and after it has let other tasks run once.
    for driver_runs in [0, 1] {
        let (net, ends) = net();
        serve(server(), ends, echo);
        let client = net.client(client());
        client.call(ask("warm")).await.unwrap();
        settle().await;
        let mut others = [client.call(ask("other")), client.call(ask("one more"))];
        assert!(others.iter_mut().all(|call| poll_once(call).is_pending()));
        for _ in 0..driver_runs {
            tokio::task::yield_now().await;
        }
        compute_for(ms(300));
        let reply = client.call(ask("own")).timeout(ms(200)).await;
        assert_eq!(reply.unwrap().value, "own", "the driver ran {driver_runs} times");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_deadline_has_passed_is_not_sent() {
    let (net, ends) = net();
    let (server, _) = serve(server(), ends, echo);
    let client = net.client(client());
    client.call(ask("warm")).await.unwrap();
    tokio::time::advance(secs(2)).await;
    // More than once: nor when another has been given up a moment before.
    for late in [secs(1), secs(1), Duration::ZERO] {
        let error = client.call(ask("late")).deadline(Instant::now() - late).await.unwrap_err();
        assert!(error.is_timeout() && error.may_retry(), "{late:?} {error:?}");
    }
    settle().await;
    assert_eq!((server.stats().calls, client.stats().timeouts, client.pending()), (1, 3, 0));
}

/// However the driver's own alarm stands: far away, or passed for a call that was dropped since.
#[tokio::test(start_paused = true)]
async fn a_sooner_deadline_is_kept_while_nothing_can_be_written() {
    async fn check(client: &Client<Tlv>) {
        for limit in [secs(20), secs(3), secs(1), ms(5)] {
            for dropped in [false, true] {
                if dropped {
                    let mut call = client.call(ask("dropped")).timeout(ms(10));
                    assert!(poll_once(&mut call).is_pending());
                    settle().await;
                    drop(call);
                    tokio::time::sleep(secs(1)).await;
                }
                let start = Instant::now();
                let error = client.call(ask("sooner")).timeout(limit).await.unwrap_err();
                assert!(error.is_timeout() && error.may_retry(), "{error:?}");
                assert!(start.elapsed() <= limit + ms(2), "{limit:?} took {:?}", start.elapsed());
            }
        }
    }
    const PATIENCE: Duration = secs(10_000);
    let patient = || client().timeout(PATIENCE).read_timeout(PATIENCE).write_timeout(PATIENCE).dial_timeout(PATIENCE);
    let (client, driver, _serving, [way, _]) = pair(patient(), server(), echo).await;
    tokio::spawn(driver);
    way.choke();
    let mut blocked = client.call(Request::new("", vec![0; 1000]));
    meanwhile(&mut blocked, way.writer_blocked()).await;
    check(&client).await;
    drop(blocked);
    check(&client).await;
    check(&patient().connect_with("nowhere", std::future::pending::<io::Result<End>>).unwrap()).await;
}

/// Every wake-up of an expired call takes as long as it is until the next call expires.
#[tokio::test(start_paused = true)]
async fn calls_that_expire_one_after_another_leave_time_for_other_tasks() {
    const CALLS: u32 = 2000;
    const BETWEEN: Duration = Duration::from_micros(50);
    struct Busy(AtomicUsize);
    impl Wake for Busy {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
            compute_for(BETWEEN);
        }
    }
    let (near, far) = duplex();
    near.outgoing().allow(10); // The hello, and nothing else.
    let mut peer = RawPeer::new(far);
    let opening = tokio::spawn(client().handshake(near));
    peer.hear_hello(b"fastrpc").await;
    peer.send(&hello(Compression::None).bytes()).await;
    let (client, driver) = opening.await.unwrap().unwrap();
    let busy = Arc::new(Busy(AtomicUsize::new(0)));
    let (most, woken) = (Arc::new(AtomicUsize::new(0)), busy.clone());
    let longest = most.clone();
    let mut driver = Box::pin(driver);
    tokio::spawn(poll_fn(move |cx| {
        let before = woken.0.load(Relaxed);
        let polled = driver.as_mut().poll(cx);
        longest.fetch_max(woken.0.load(Relaxed) - before, Relaxed);
        polled
    }));
    let start = Instant::now() + secs(1);
    let mut calls: Vec<_> = (0..CALLS).map(|n| client.call(ask("")).deadline(start + BETWEEN * n)).collect();
    let waker = Waker::from(busy.clone());
    for call in &mut calls {
        assert!(std::pin::Pin::new(call).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    while busy.0.load(Relaxed) < CALLS as usize {
        tokio::time::sleep(ms(1)).await;
    }
    let most = most.load(Relaxed);
    assert!(most <= 500, "{most} of {CALLS} calls expired in one poll of the driver");
}
