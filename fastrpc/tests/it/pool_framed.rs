//! Where connections of the framed wire come from: lazily, as many as were asked for, again after they ended, with pauses.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fastrpc::codec::tlv::{Reply, Request, Tlv};
use fastrpc::{Call, Client, ClientBuilder, ErrorKind, Wire};
use testkit::pipe::{End, duplex};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::panics::quiet;
use crate::support::*;

fn framed() -> ClientBuilder<Tlv> {
    client().wire(Wire::Framed)
}

/// Dials that fail when told to; the times of the dials are noted, and how many calls run on each connection.
#[derive(Clone, Default)]
struct Moody {
    down: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
    dials: Arc<Mutex<Vec<Instant>>>,
    running: Arc<Mutex<Vec<Arc<AtomicUsize>>>>,
    ends: Arc<Mutex<Vec<testkit::pipe::Way>>>,
    /// What calls named "slow" wait for.
    gate: Arc<Gate>,
}

struct Gate(Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Moody {
    fn dial(&self) -> io::Result<End> {
        self.dials.lock().unwrap().push(Instant::now());
        assert!(!self.panics.load(Ordering::SeqCst), "as asked");
        if self.down.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (here, there) = duplex();
        self.ends.lock().unwrap().push(here.incoming());
        let server = server().wire(Wire::Framed).build().unwrap();
        let running = Arc::<AtomicUsize>::default();
        self.running.lock().unwrap().push(running.clone());
        let gate = self.gate.clone();
        let handler = move |call: Call<Request>| {
            let (gate, alive) = (gate.clone(), Alive::new(&running));
            async move {
                let _alive = alive;
                let name = call.into_request().name;
                if name == "slow" {
                    let _ = gate.0.acquire().await;
                }
                Reply::new(name)
            }
        };
        tokio::spawn(async move { server.serve_connection(there, None, Arc::new(handler)).await });
        Ok(here)
    }

    fn client(&self, builder: ClientBuilder<Tlv>) -> Client<Tlv> {
        let dialler = self.clone();
        let dial = move || {
            let dialler = dialler.clone();
            async move { dialler.dial() }
        };
        builder.connect_with("moody", dial).unwrap()
    }

    fn dialled(&self) -> usize {
        self.dials.lock().unwrap().len()
    }

    fn loads(&self) -> Vec<usize> {
        self.running.lock().unwrap().iter().map(|running| running.load(Ordering::SeqCst)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_dialled_before_a_call_is_polled() {
    let moody = Moody::default();
    let client = moody.client(framed());
    let call = client.call(ask("x"));
    settle().await;
    assert_eq!(moody.dialled(), 0);
    assert_eq!(call.await.unwrap().value, "x");
    assert_eq!((client.stats().connections, client.stats().reconnects), (1, 0));
}

/// Calls one after the other open the whole pool as well.
#[tokio::test(start_paused = true)]
async fn a_pool_of_n_opens_n() {
    for n in [1, 2, 3, 5] {
        let moody = Moody::default();
        let client = moody.client(framed().connections(n));
        for _ in 0..3 * n {
            client.call(ask("x")).await.unwrap();
        }
        assert_eq!((moody.dialled(), client.stats().connections), (n, n as u64), "a pool of {n}");
        assert_eq!(client.stats().reconnects, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_go_where_the_fewest_wait() {
    let moody = Moody::default();
    let client = moody.client(framed().connections(4));
    let slow = |n| -> Vec<_> {
        let one = |client: Client<Tlv>| async move { client.call(ask("slow")).await };
        (0..n).map(|_| tokio::spawn(one(client.clone()))).collect()
    };
    let first = slow(12);
    until("all run", || moody.loads().iter().sum::<usize>() == 12).await;
    assert_eq!(moody.loads(), [3, 3, 3, 3]);
    // One connection lost: its calls fail, and the next fill its place.
    moody.ends.lock().unwrap()[1].end();
    settle().await;
    let more = slow(3);
    until("all run", || moody.loads().iter().sum::<usize>() == 12).await;
    assert_eq!(moody.loads(), [3, 0, 3, 3, 3]);
    assert_eq!((client.pending(), client.stats().reconnects, client.stats().errors), (12, 1, 3));
    moody.gate.0.add_permits(100);
    let mut lost = 0;
    for call in first.into_iter().chain(more) {
        lost += usize::from(call.await.unwrap().is_err());
    }
    assert_eq!((lost, client.pending()), (3, 0));
    // Calls that were dropped count no more.
    for _ in 0..8 {
        client.call(ask("x")).await.unwrap();
    }
    assert_eq!(moody.dialled(), 5);
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_dial_the_next_one_waits_longer_and_longer() {
    for (wire, panics) in [(Wire::Framed, false), (Wire::Auto, false), (Wire::Framed, true)] {
        quiet();
        let moody = Moody::default();
        moody.down.store(true, Ordering::SeqCst);
        moody.panics.store(panics, Ordering::SeqCst);
        let client = moody.client(framed().wire(wire).backoff(ms(100), ms(400)));
        assert!(!client.is_failing());
        for n in 1..=6 {
            let error = client.call(ask("x")).await.unwrap_err();
            assert_eq!((error.kind(), error.may_retry(), error.peer()), (ErrorKind::Connect, true, Some("moody")));
            assert!(client.is_failing());
            assert_eq!((client.stats().connect_errors, client.stats().errors), (n, n));
        }
        let dials = moody.dials.lock().unwrap().clone();
        let pauses: Vec<_> = dials.windows(2).map(|two| two[1] - two[0]).collect();
        for (pause, most) in pauses.iter().zip([100, 200, 400, 400, 400]) {
            assert!(*pause >= ms(most / 2) && *pause <= ms(most) + ms(5), "{pauses:?}");
        }
        moody.down.store(false, Ordering::SeqCst);
        moody.panics.store(false, Ordering::SeqCst);
        assert_eq!(client.call(ask("up again")).await.unwrap().value, "up again");
        assert!(!client.is_failing());
        assert_eq!((client.stats().connections, client.stats().reconnects), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_fails_when_all_of_its_places_do() {
    for wire in [Wire::Framed, Wire::Auto] {
        let moody = Moody::default();
        moody.down.store(true, Ordering::SeqCst);
        let client = moody.client(framed().wire(wire).connections(3).backoff(secs(1), secs(1)));
        for failing in [false, false, true] {
            client.call(ask("x")).await.unwrap_err();
            assert_eq!(client.is_failing(), failing);
        }
        moody.down.store(false, Ordering::SeqCst);
        client.call(ask("x")).await.unwrap();
        assert!(!client.is_failing());
    }
}

/// A place that could not be reached is avoided, tried again while the others serve, and costs no call.
#[tokio::test(start_paused = true)]
async fn a_failed_place_of_the_pool_comes_back() {
    let moody = Moody::default();
    let client = moody.client(framed().connections(2).backoff(ms(100), ms(100)));
    client.call(ask("first")).await.unwrap();
    moody.down.store(true, Ordering::SeqCst);
    assert_eq!(client.call(ask("second")).await.unwrap_err().kind(), ErrorKind::Connect);
    assert!(!client.is_failing(), "the other place serves");
    for _ in 0..20 {
        client.call(ask("served by the other")).await.unwrap();
        sleep(ms(20)).await;
    }
    assert!(moody.dialled() >= 4, "it is dialled time and again");
    moody.down.store(false, Ordering::SeqCst);
    sleep(ms(200)).await;
    for _ in 0..4 {
        client.call(ask("served")).await.unwrap();
        settle().await;
    }
    assert_eq!(client.stats().connections, 2);
}

/// Calls that come while a dial is awaited share it, and a dial goes on when who asked for it has gone.
#[tokio::test(start_paused = true)]
async fn calls_share_a_dial() {
    let moody = Moody::default();
    let dialler = moody.clone();
    let client = framed().connect_with("moody", move || {
        let dialler = dialler.clone();
        async move {
            sleep(ms(500)).await;
            dialler.dial()
        }
    });
    let client = client.unwrap();
    let mut gone = client.call(ask("gone"));
    assert!(poll_once(&mut gone).is_pending());
    let one = |client: Client<Tlv>, n: i32| async move {
        assert_eq!(client.call(ask(&n.to_string())).await.unwrap().value, n.to_string());
    };
    let calls: Vec<_> = (0..50).map(|n| tokio::spawn(one(client.clone(), n))).collect();
    sleep(ms(100)).await;
    drop(gone);
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!((moody.dialled(), client.pending()), (1, 0));
}

/// A connection that the server drains is replaced, and no call notices.
#[tokio::test(start_paused = true)]
async fn connections_that_end_are_replaced_one_for_one() {
    let moody = Moody::default();
    let client = moody.client(framed().connections(2).idle_timeout(secs(10)));
    for round in 1..=3u64 {
        for _ in 0..4 {
            client.call(ask("x")).await.unwrap();
        }
        let stats = client.stats();
        assert_eq!((stats.connections, stats.reconnects, stats.errors), (2 * round, 2 * (round - 1), 0));
        sleep(secs(30)).await;
    }
}
