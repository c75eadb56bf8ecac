//! One test for each fault that a review has found, named by the rule it broke.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use fastrpc::codec::tlv::{Reply, Request, Tlv};
use fastrpc::{
    AtLimit, BatchTimer, Call, Client, ClientBuilder, Compression, Dispatch, Driver, Error, ErrorKind, Listener,
    Server, ServerBuilder,
};
use testkit::pipe::{End, Way, duplex};
use testkit::raw::RawPeer;
use testkit::tls::Ca;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::support::*;

type Ended = JoinHandle<Result<(), Error>>;

/// Moves the paused clock without letting any other task run: time that a task takes to compute.
fn compute_for(time: Duration) {
    assert!(poll_once(&mut Box::pin(tokio::time::advance(time))).is_pending());
}

/// A client and a server on one pipe: the client, its driver, the server's end, and the way to the server.
async fn pair(
    client: ClientBuilder<Tlv>,
    server: ServerBuilder<Tlv>,
    handler: impl fastrpc::Handler<Tlv>,
) -> (Client<Tlv>, Driver<Tlv>, Ended, Way) {
    let (near, far) = duplex();
    let way = near.outgoing();
    let server = server.build().unwrap();
    let serving = tokio::spawn(async move { server.serve_connection(far, None, Arc::new(handler)).await });
    let (client, driver) = client.handshake(near).await.unwrap();
    (client, driver, serving, way)
}

/// Settings that speak TLS with each other.
fn over_tls() -> (ClientBuilder<Tlv>, ServerBuilder<Tlv>) {
    let ca = Ca::new();
    let name = ServerName::try_from("localhost").unwrap();
    (client().tls(ca.client_config(), name), server().tls(ca.issue(&["localhost"]).server_config()))
}

/// Makes calls of tasks of their own, all at once, and waits for the replies.
async fn all(client: &Client<Tlv>, requests: impl IntoIterator<Item = Request>) {
    let call = |request| {
        let client = client.clone();
        tokio::spawn(async move { client.call(request).await })
    };
    let calls: Vec<_> = requests.into_iter().map(call).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

// ---- times ----

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
    for at in [Instant::now() - secs(1), Instant::now()] {
        let error = client.call(ask("late")).deadline(at).await.unwrap_err();
        assert!(error.is_timeout() && error.may_retry(), "{error:?}");
    }
    settle().await;
    assert_eq!((server.stats().calls, client.stats().timeouts, client.pending()), (1, 2, 0));
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
    let (client, driver, _serving, way) = pair(patient(), server(), echo).await;
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

// ---- TLS ----

#[tokio::test(start_paused = true)]
async fn a_tls_peer_that_reads_slowly_and_steadily_is_not_cut_off() {
    let (client, server) = over_tls();
    let patient = client.timeout(secs(3600)).read_timeout(secs(3600));
    let (client, driver, _serving, way) = pair(patient, server, echo).await;
    tokio::spawn(driver);
    client.call(ask("warm")).await.unwrap();
    way.choke();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(secs(1)).await;
            way.allow(2048);
        }
    });
    let reply = client.call(Request::new("", vec![7; 100_000])).await;
    assert_eq!(reply.map(|reply| reply.value.len()).map_err(|error| error.to_string()), Ok(100_000));
}

#[tokio::test(start_paused = true)]
async fn a_tls_peer_that_does_not_read_is_cut_off() {
    let (client, server) = over_tls();
    let (client, driver, _serving, way) = pair(client.write_timeout(secs(5)), server, echo).await;
    tokio::spawn(driver);
    client.call(ask("warm")).await.unwrap();
    way.choke();
    let start = Instant::now();
    let error = client.call(Request::new("", vec![7; 100_000])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!((secs(5)..=ms(5002)).contains(&start.elapsed()), "after {:?}", start.elapsed());
}

/// Ends one way of a connection with a bare end while a call runs; how both sides tell it.
async fn bare_end(tls: bool, to_server: bool) -> [String; 3] {
    let (client, server) = if tls { over_tls() } else { (client(), server()) };
    let go_on = Arc::new(Notify::new());
    let gate = go_on.clone();
    let handler = move |call: Call<Request>| {
        let gate = gate.clone();
        async move {
            if call.request().name == "slow" {
                gate.notified().await;
            }
            echo(call).await
        }
    };
    let (near, far) = duplex();
    let way = if to_server { near.outgoing() } else { near.incoming() };
    let server = server.build().unwrap();
    let serving = tokio::spawn(async move { server.serve_connection(far, None, Arc::new(handler)).await });
    let (client, driver) = client.handshake(near).await.unwrap();
    let driver = tokio::spawn(driver);
    client.call(ask("warm")).await.unwrap();
    let mut call = client.call(ask("slow"));
    assert!(poll_once(&mut call).is_pending());
    settle().await;
    way.end();
    settle().await;
    go_on.notify_one();
    let reply = call.await.map(|reply| reply.value);
    settle().await;
    drop(client);
    let (driver, serving) = (driver.await.unwrap(), serving.await.unwrap());
    // The words of a cause may differ; that there is one, and what kind, may not.
    let told = |ended: Result<(), Error>| format!("{:?}", ended.map_err(|error| (error.kind(), error.to_string())));
    let reply = reply.map_err(|error| (error.kind(), error.to_string()));
    [format!("{reply:?}"), told(driver), if to_server { told(serving) } else { String::new() }]
}

#[tokio::test(start_paused = true)]
async fn an_end_without_close_notify_is_an_orderly_end() {
    let [reply, driver, serving] = bare_end(true, true).await;
    assert_eq!(reply, "Ok(b\"slow\")", "what had begun is finished");
    assert_eq!(serving, "Ok(())");
    assert_eq!(driver, bare_end(false, true).await[1]);
    assert_eq!(bare_end(true, false).await, bare_end(false, false).await, "at the client");
}

// ---- batches ----

#[test]
fn a_pipe_without_batch_delay_needs_no_runtime_with_io() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (net, ends) = net();
        serve(Server::builder(codec()), ends, echo);
        let client = net.client(Client::builder(codec()));
        assert_eq!(client.call(ask("served")).await.unwrap().value, "served");
    });
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_unread_replies_does_not_wait_for_the_batch_delay() {
    let (net, ends) = net();
    let big = |_: Call<Request>| async { Reply::new(vec![0; 500]) };
    serve(server().batch_delay(secs(1)).max_unread(1024), ends, big);
    let client = net.client(client());
    let start = Instant::now();
    all(&client, (0..30).map(|_| ask(""))).await;
    assert!(start.elapsed() < secs(2), "took {:?}", start.elapsed()); // The last batch, which is not full, waits once.
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_unsent_requests_does_not_wait_for_the_batch_delay() {
    let (net, ends) = net();
    serve(server(), ends, echo);
    let client = net.client(client().batch_delay(secs(1)).max_unsent(1024).at_limit(AtLimit::Wait));
    let start = Instant::now();
    all(&client, (0..30).map(|_| Request::new("", vec![0; 500]))).await;
    assert!(start.elapsed() < secs(2), "took {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn handlers_that_end_within_one_batch_do_not_wake_the_driver_each() {
    const CALLS: u64 = 500;
    let polls = Arc::new(AtomicUsize::new(0));
    let handler = |call: Call<Request>| async move {
        let wait = String::from_utf8_lossy(&call.request().value).parse().unwrap();
        tokio::time::sleep(ms(wait)).await;
        Reply::new("")
    };
    let (near, far) = duplex();
    let server = server().batch_delay(secs(1)).build().unwrap();
    let count = polls.clone();
    let mut serving = Box::pin(async move { server.serve_connection(far, None, Arc::new(handler)).await });
    tokio::spawn(poll_fn(move |cx| {
        count.fetch_add(1, Relaxed);
        serving.as_mut().poll(cx)
    }));
    let (client, driver) = client().handshake(near).await.unwrap();
    tokio::spawn(driver);
    all(&client, (1..=CALLS).map(|n| Request::new("", n.to_string()))).await;
    let polls = polls.load(Relaxed);
    assert!(polls <= 50, "{polls} polls of the driver for {CALLS} calls in one batch");
}

// ---- limits, retries, causes ----

#[tokio::test(start_paused = true)]
async fn a_call_that_never_left_is_made_again_though_others_queue() {
    let (net, mut ends) = net();
    let client = net.client(client().max_pending(1).at_limit(AtLimit::Wait));
    let mut warm = client.call(ask("warm"));
    let end = meanwhile(&mut warm, ends.next()).await;
    let way = end.incoming();
    let mut peer = meanwhile(&mut warm, RawPeer::server(end, &hello(Compression::None))).await;
    let id = meanwhile(&mut warm, peer.request()).await.id;
    peer.reply(id, "").await;
    warm.await.unwrap();
    way.choke();
    let call = |name| {
        let client = client.clone();
        tokio::spawn(async move { client.call(ask(name)).await.map(|reply| reply.value) })
    };
    let first = call("first");
    settle().await;
    let queued = call("queued");
    settle().await;
    drop(peer); // Not a byte of the first call has left.
    serve(server(), ends, echo);
    assert_eq!(first.await.unwrap().unwrap(), "first");
    assert_eq!(queued.await.unwrap().unwrap(), "queued");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_be_made_again_keeps_the_cause() {
    let (client, driver, _serving, way) = pair(client(), server(), echo).await;
    tokio::spawn(driver);
    way.choke();
    let mut call = client.call(ask("unsent"));
    meanwhile(&mut call, way.writer_blocked()).await;
    way.fail(io::ErrorKind::ConnectionReset);
    let error = call.await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, true));
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    assert_eq!(cause, Some(io::ErrorKind::ConnectionReset), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn later_calls_on_an_ended_connection_keep_the_cause() {
    let (client, driver, _serving, _) = pair(client(), server(), echo).await;
    drop(driver);
    let error = client.call(ask("later")).await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, true));
    assert!(format!("{error:?}").contains("driver was dropped"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dialer_that_panics_is_a_failed_dial() {
    for early in [true, false] {
        let dials = Arc::new(Mutex::new(Vec::new()));
        let seen = dials.clone();
        let dial = move || {
            seen.lock().unwrap().push(Instant::now());
            assert!(!early, "as asked: the dialer");
            async { panic!("as asked: the dialling future") }
        };
        let panicking = client().backoff(secs(1), secs(1)).connect_with::<_, _, End>("nowhere", dial).unwrap();
        for _ in 0..2 {
            let error = panicking.call(ask("")).await.unwrap_err();
            assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connect, true), "{error:?}");
            assert!(panicking.is_failing());
        }
        let dials = dials.lock().unwrap();
        assert_eq!(panicking.stats().connect_errors, dials.len() as u64);
        assert!(dials.windows(2).all(|pair| pair[1] - pair[0] >= ms(500)), "no pause: {dials:?}");
    }
}

// ---- the server ----

#[tokio::test(start_paused = true)]
async fn a_shutdown_declines_and_closes_though_a_peer_floods() {
    let stop = Arc::new(Notify::new());
    let (signal, held) = (stop.clone(), Arc::new(Notify::new()));
    let gate = held.clone();
    let handler = move |call: Call<Request>| {
        let gate = gate.clone();
        async move {
            if call.request().name == "held" {
                gate.notified().await;
            }
            Reply::new("")
        }
    };
    let (net, ends) = net();
    let server = server().build().unwrap();
    let serving = server.serve(ends, handler).with_graceful_shutdown(async move { signal.notified().await });
    let serving = tokio::spawn(serving.grace(secs(1000)).into_future());
    let mut peer = RawPeer::client(net.dial(), &hello(Compression::None)).await;
    peer.ask(7, "held").await;
    let mut end = peer.into_inner();
    tokio::spawn(async move {
        let calls: Vec<u8> = (0..600).flat_map(|_| request_bytes(0, "", b"")).collect();
        while end.write_all(&calls).await.is_ok() {
            compute_for(ms(100));
        }
    });
    while server.stats().calls < 5000 {
        tokio::task::yield_now().await;
    }
    stop.notify_one();
    let start = Instant::now();
    while server.stats().overloads == 0 {
        assert!(start.elapsed() < secs(10), "still serving: {:?}", server.stats());
        tokio::task::yield_now().await;
    }
    held.notify_one();
    while !serving.is_finished() {
        assert!(start.elapsed() < secs(30), "still open: {:?}", server.stats());
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_signal_of_one_listener_leaves_the_others_serving() {
    let server = server().build().unwrap();
    let (signalled, first) = net();
    let (other, second) = net();
    let stopping = server.serve(first, echo).with_graceful_shutdown(tokio::time::sleep(secs(1)));
    let stopping = tokio::spawn(stopping.into_future());
    let serving = tokio::spawn(server.serve(second, echo).into_future());
    let (before, other) = (signalled.client(client()), other.client(client()));
    before.call(ask("")).await.unwrap();
    other.call(ask("")).await.unwrap();
    stopping.await.unwrap();
    assert_eq!(other.call(ask("served")).await.unwrap().value, "served");
    assert!(!serving.is_finished());
    assert_eq!(other.stats().connections, 1, "and its connections go on");
}

/// A listener at which every other peer has gone before it was accepted.
struct Aborting(Ends, bool);

impl Listener for Aborting {
    type Io = End;

    async fn accept(&mut self) -> io::Result<(End, Option<SocketAddr>)> {
        let accepted = self.0.accept().await?;
        self.1 = !self.1;
        if self.1 { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(accepted) }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_aborted_before_its_accept_does_not_delay_the_next() {
    let (net, ends) = net();
    let server = server().build().unwrap();
    tokio::spawn(server.serve(Aborting(ends, false), echo).into_future());
    let start = Instant::now();
    for _ in 0..10 {
        let _aborted = net.dial();
        let mut peer = RawPeer::client(net.dial(), &hello(Compression::None)).await;
        peer.ask(1, "served").await;
        assert_eq!(peer.answer().await.1, "served");
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_panics_ends_the_connection_with_an_error_that_is_told() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn, Dispatch::Pipeline] {
        let treacherous = Tlv::new().on_failure(|_| panic!("as asked: the failure"));
        let builder = Server::builder(treacherous).compression(Compression::None).batch_timer(BatchTimer::Tokio);
        let server = builder.dispatch(dispatch).build().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let observer = told.clone();
        let (net, ends) = net();
        let serving = server.serve(ends, |_: Call<Request>| async { panic!("as asked: the handler") });
        let observed = serving.on_connection_end(move |_, ended| observer.lock().unwrap().push(ended.is_err()));
        tokio::spawn(observed.into_future());
        let client = net.client(client());
        assert_eq!(client.call(ask("")).await.unwrap_err().kind(), ErrorKind::Connection);
        settle().await;
        assert_eq!(*told.lock().unwrap(), [true], "{dispatch:?}");
        assert_eq!(server.stats().connection_errors, 1, "{dispatch:?}");
    }
}

// ---- counters ----

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_encoded_counts_as_an_error() {
    let (net, ends) = net();
    serve(server(), ends, echo);
    let client = net.client(client());
    let error = client.call(Request::new("", vec![0; 2 << 20])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    let stats = client.stats();
    assert_eq!((stats.calls, stats.errors, stats.replies), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_cannot_be_encoded_counts_as_an_error_and_no_reply() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn, Dispatch::Pipeline] {
        let (net, ends) = net();
        let (server, _) = serve(server().dispatch(dispatch), ends, |call: Call<Request>| async move {
            if call.request().name == "slow" {
                tokio::task::yield_now().await;
            }
            Reply::new(vec![0; 2 << 20])
        });
        let client = net.client(client());
        for name in ["at once", "slow"] {
            let reply = client.call(ask(name)).await.unwrap();
            assert!(reply.value.starts_with(b"unencodable"), "the caller is told");
        }
        let stats = server.stats();
        assert_eq!((stats.calls, stats.errors, stats.replies), (2, 2, 0), "{dispatch:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_orderly_close_of_an_idle_server_is_no_connection_error() {
    let (net, ends) = net();
    let (server, _) = serve(server().idle_timeout(secs(10)), ends, echo);
    let client = net.client(client());
    client.call(ask("")).await.unwrap();
    tokio::time::sleep(secs(20)).await;
    assert_eq!((client.stats().connection_errors, server.stats().connection_errors), (0, 0));
    client.call(ask("")).await.unwrap();
    assert_eq!(client.stats().connections, 2, "the server had closed");
}
