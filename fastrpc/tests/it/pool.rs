//! Where connections come from: lazily, as many as were asked for, again after they ended, with pauses.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fastrpc::codec::tlv::{Reply, Request};
use fastrpc::{Call, ErrorKind};
use testkit::pipe::{End, duplex};
use tokio::time::{Instant, sleep};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn nothing_is_dialled_before_a_call_is_polled() {
    let (net, ends) = net();
    let client = net.client(client());
    let call = client.call(ask("x"));
    settle().await;
    assert!(ends.is_empty());
    let (_server, _serving) = serve(server(), ends, echo);
    assert_eq!(call.await.unwrap().value, "x");
    assert_eq!((client.stats().connections, client.stats().reconnects), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pool_of_n_opens_n_and_spreads_calls() {
    let (net, mut ends) = net();
    let client = net.client(client().connections(4));
    let mut calls: Vec<_> = (0..12).map(|n| client.call(ask(&n.to_string()))).collect();
    for call in &mut calls {
        assert!(poll_once(call).is_pending());
    }
    let mut peers = Vec::new();
    for _ in 0..4 {
        peers.push(ends.peer().await);
    }
    assert!(ends.is_empty());
    for peer in &mut peers {
        for _ in 0..3 {
            peer.request().await;
        }
    }
    // One connection answers all of its calls: it is the least loaded and gets the next three.
    drop(calls);
    let mut calls: Vec<_> = (0..7).map(|n| client.call(ask(&n.to_string()))).collect();
    for call in &mut calls {
        assert!(poll_once(call).is_pending());
    }
    settle().await;
    let mut loads = Vec::new();
    for peer in &mut peers {
        let mut load = 0;
        while let Ok(frame) = tokio::time::timeout(ms(1), peer.request()).await {
            load += 1;
            peer.reply(frame.id, "done").await;
        }
        loads.push(load);
    }
    loads.sort_unstable();
    assert_eq!(loads, [1, 2, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn the_least_loaded_connection_is_taken() {
    let (net, mut ends) = net();
    let client = net.client(client().connections(2));
    let mut slow: Vec<_> = (0..2).map(|_| client.call(ask("slow"))).collect();
    for call in &mut slow {
        assert!(poll_once(call).is_pending());
    }
    let (mut a, mut b) = (ends.peer().await, ends.peer().await);
    a.request().await;
    let id = b.request().await.id;
    b.reply(id, "quick").await;
    settle().await;
    for _ in 0..5 {
        let mut call = client.call(ask("next"));
        let frame = meanwhile(&mut call, b.request()).await;
        b.reply(frame.id, "quick").await;
        assert_eq!(call.await.unwrap().value, "quick");
    }
}

/// Dials that fail when told to; the times of the dials are noted.
#[derive(Clone, Default)]
struct Moody {
    down: Arc<AtomicBool>,
    dials: Arc<Mutex<Vec<Instant>>>,
    handled: Arc<AtomicUsize>,
}

impl Moody {
    fn dial(&self) -> io::Result<End> {
        self.dials.lock().unwrap().push(Instant::now());
        if self.down.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (here, there) = duplex();
        let server = server().build().unwrap();
        let handled = self.handled.clone();
        let handler = move |call: Call<Request>| {
            handled.fetch_add(1, Ordering::SeqCst);
            async move { Reply::new(call.into_request().name) }
        };
        tokio::spawn(async move { server.serve_connection(there, None, Arc::new(handler)).await });
        Ok(here)
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_dial_the_next_one_waits_longer_and_longer() {
    let moody = Moody::default();
    moody.down.store(true, Ordering::SeqCst);
    let dialler = moody.clone();
    let client =
        client().backoff(ms(100), ms(400)).connect_with("moody", move || std::future::ready(dialler.dial())).unwrap();
    for _ in 0..6 {
        assert_eq!(client.call(ask("x")).await.unwrap_err().kind(), ErrorKind::Connect);
        assert!(client.is_failing());
    }
    let dials = moody.dials.lock().unwrap().clone();
    let pauses: Vec<_> = dials.windows(2).map(|two| two[1] - two[0]).collect();
    for (pause, most) in pauses.iter().zip([100, 200, 400, 400, 400]) {
        assert!(*pause >= ms(most / 2) && *pause <= ms(most) + ms(5), "{pauses:?}");
    }
    moody.down.store(false, Ordering::SeqCst);
    assert_eq!(client.call(ask("up again")).await.unwrap().value, "up again");
    assert!(!client.is_failing());
    assert_eq!((client.stats().connect_errors, client.stats().connections, client.stats().reconnects), (6, 1, 0));
}

/// Calls that come while a dial is awaited share it.
#[tokio::test(start_paused = true)]
async fn calls_share_a_dial() {
    let moody = Moody::default();
    let dialler = moody.clone();
    let client = client().connect_with("moody", move || {
        let dialler = dialler.clone();
        async move {
            sleep(ms(500)).await;
            dialler.dial()
        }
    });
    let client = client.unwrap();
    let names: Vec<String> = (0..50).map(|n: i32| n.to_string()).collect();
    let calls = names.iter().map(|name| async { (client.call(ask(name)).await.unwrap().value, name.clone()) });
    let mut set: Vec<_> = calls.map(Box::pin).collect();
    for call in &mut set {
        assert!(poll_once(call).is_pending());
    }
    for call in set {
        let (value, name) = call.await;
        assert_eq!(value, name);
    }
    assert_eq!(moody.dials.lock().unwrap().len(), 1);
}

/// A place that could not be reached is tried again while the others serve, and costs no call.
#[tokio::test(start_paused = true)]
async fn a_failed_place_of_the_pool_comes_back() {
    let moody = Moody::default();
    let dialler = moody.clone();
    let client = client()
        .connections(2)
        .backoff(ms(100), ms(100))
        .connect_with("moody", move || std::future::ready(dialler.dial()))
        .unwrap();
    client.call(ask("first")).await.unwrap();
    moody.down.store(true, Ordering::SeqCst);
    assert_eq!(client.call(ask("second")).await.unwrap_err().kind(), ErrorKind::Connect);
    assert!(!client.is_failing(), "the other place serves");
    for _ in 0..20 {
        client.call(ask("served by the other")).await.unwrap();
        sleep(ms(20)).await;
    }
    moody.down.store(false, Ordering::SeqCst);
    sleep(ms(200)).await;
    for _ in 0..4 {
        client.call(ask("served")).await.unwrap();
        settle().await;
    }
    assert_eq!(client.stats().connections, 2);
}

#[tokio::test(start_paused = true)]
async fn settings_that_cannot_work_are_refused_by_name() {
    let (net, _ends) = net();
    let _ = &net;
    let dial = || async { Err::<End, _>(io::Error::other("never dialled")) };
    let cases = [
        (client().connections(0), "connections"),
        (client().max_pending(0), "max_pending"),
        (client().max_pending(1 << 20), "max_pending"),
        (client().max_unsent(0), "max_unsent"),
        (client().max_abandoned(0), "max_abandoned"),
        (client().timeout(ms(0)), "timeout"),
        (client().dial_timeout(ms(0)), "dial_timeout"),
        (client().handshake_timeout(ms(0)), "handshake_timeout"),
        (client().read_timeout(ms(0)), "read_timeout"),
        (client().write_timeout(ms(0)), "write_timeout"),
        (client().idle_timeout(ms(0)), "idle_timeout"),
        (client().read_buffer(1), "read_buffer"),
        (client().write_buffer(1), "write_buffer"),
        (client().max_undecoded(1), "max_undecoded"),
        (client().batch_delay(secs(11)), "batch_delay"),
        (client().backoff(ms(0), ms(1)), "backoff"),
    ];
    for (builder, name) in cases {
        let Err(error) = builder.connect_with("x", dial) else { panic!("{name} was accepted") };
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(name), "{error}");
    }
    for address in ["", "host", "host:", ":80", "host:99999"] {
        assert_eq!(client().connect(address).err().unwrap().kind(), ErrorKind::Config, "{address}");
    }
    for (builder, name) in [
        (server().concurrency(0), "concurrency"),
        (server().max_unread(0), "max_unread"),
        (server().calls_per_turn(0), "calls_per_turn"),
    ] {
        assert!(builder.build().err().unwrap().to_string().contains(name));
    }
}
