//! The streams of a framed connection at their limits: readers that lag, ids that run out, queues of keys, and memory that is
//! a program's own.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use fastrpc::internals::framed::{Filled, Received, Role, Streams};
use fastrpc::internals::session::{Caller, Driver, NoCalls, Options, SendBody};
use fastrpc::wire::framed::frame::{self, CloseCode, ResetCode, TooLong};
use fastrpc::wire::framed::settings::Settings;
use testkit::pipe::duplex;
use tokio::time::Instant;

use crate::framed_streams::{Pair, frames, open, piece, receive, record, settings, words, writes};
use crate::session::text;

const MS: Duration = Duration::from_millis(1);

// ---- readers that lag ----

/// Bytes that a reader gets a round trip, over many, beside so many whose readers take a little now and then.
fn rates(lagging: usize) -> Vec<usize> {
    let mut pair = Pair::new(settings(1 << 20, 1 << 16));
    pair.server.measured(150 * MS);
    let slow: Vec<_> = (0..lagging).map(|_| pair.call(b"", true)).collect();
    let (up, key) = pair.call(b"", true);
    let mut rates = Vec::new();
    for round in 0..200 {
        for (up, _) in slow.iter().chain([&(up, key)]) {
            while let Poll::Ready(Ok(_)) = pair.client.poll_room(*up, Waker::noop()) {
                pair.client.push(*up, Bytes::from_static(&[0; 1 << 22]));
            }
        }
        pair.up();
        let mut read = 0;
        while let Poll::Ready(Some(piece)) = piece(&mut pair.server, key) {
            read += piece.len();
        }
        for (_, key) in &slow {
            if round % 20 == 0 {
                let _ = piece(&mut pair.server, *key);
            }
        }
        pair.now += 150 * MS;
        pair.down();
        rates.push(read);
    }
    rates
}

#[test]
fn readers_that_lag_take_nothing_from_one_that_does_not() {
    // In the first round trips all share the credit that the connection begins with.
    let (alone, beside) = (rates(0), rates(40));
    assert!(beside[0] > 0 && alone[20..].iter().all(|read| *read == 1 << 21), "an eighth of 16 MiB a round trip");
    // Here all happens in steps of a round trip, in which a window that is granted in parts may come in two of three.
    let sum = |rates: &[usize]| rates[20..].iter().sum::<usize>();
    assert!(sum(&beside) * 3 >= sum(&alone) * 2 - (1 << 22), "{} of {}", sum(&beside), sum(&alone));
}

// ---- ids ----

const LAST: u32 = (1 << 31) - 1;

#[test]
fn a_client_drains_before_its_ids_run_out() {
    let mut pair = Pair::new(settings(100_000, 20_000));
    pair.client.count_from(LAST - (1 << 16) - 3);
    pair.server.count_from(LAST - (1 << 16) - 3);
    open(&mut pair.client, b"call", b"", false);
    open(&mut pair.client, b"call", b"", false);
    assert!(pair.client.takes_calls());
    open(&mut pair.client, b"last", b"", false);
    assert!(!pair.client.takes_calls(), "those that wait are counted");
    let received = pair.up();
    assert!(matches!(received[..], [.., Received::Call { .. }, Received::Drain]), "{received:?}");
}

#[test]
fn a_server_drains_before_ids_run_out_and_ends_when_they_have() {
    let mut pair = Pair::new(settings(100_000, 20_000));
    pair.server.count_from(LAST - (1 << 16) - 2);
    let call = frames(|out| assert!(frame::put_call(out, 0, true, 9, writes(b"c"), b"", true).unwrap()));
    receive(&mut pair.server, &call).unwrap();
    assert!(record(&mut pair.server, pair.now).is_none());
    receive(&mut pair.server, &call).unwrap();
    assert_eq!(words(&record(&mut pair.server, pair.now).unwrap()), ["Drain"]);
    receive(&mut pair.server, &call).unwrap();
    assert!(record(&mut pair.server, pair.now).is_none(), "once");
    pair.server.count_from(LAST - 1);
    receive(&mut pair.server, &call).expect("the last one");
    let violation = receive(&mut pair.server, &call).unwrap_err();
    assert_eq!((violation.code, &*violation.text), (CloseCode::Protocol, "there are no more ids"));
}

// ---- queues ----

#[test]
fn bodies_of_cancelled_calls_do_not_pile_up_behind_one_that_waits() {
    let mut pair = Pair::new(settings(1000, 20_000));
    let (front, _) = pair.call(b"", true);
    pair.client.push(front, Bytes::from(vec![0; 3000]));
    pair.up();
    for _ in 0..900 {
        let key = open(&mut pair.client, b"", &[0; 20_000], false);
        pair.up(); // Its head goes, its body waits for the connection's credit.
        pair.client.reset(key, ResetCode::Cancelled, "");
        pair.client.release(key);
        pair.up();
        for key in pair.server.keys().into_iter().skip(1) {
            let _ = pair.server.release(key);
        }
    }
    assert_eq!(pair.client.len(), 1);
    assert!(pair.client.waiting_keys() < 100, "{} keys for one stream", pair.client.waiting_keys());
}

#[test]
fn credits_of_streams_that_are_gone_do_not_pile_up() {
    let mut pair = Pair::new(settings(1 << 20, 10));
    for _ in 0..10_000 {
        let up = open(&mut pair.client, b"", &[0; 10], true);
        pair.client.push(up, Bytes::from_static(b"1234567890"));
        let called = pair.up().into_iter().find(|received| matches!(received, Received::Call { .. }));
        let Some(Received::Call { key, .. }) = called else { panic!("no call came") };
        assert!(piece(&mut pair.server, key).is_ready());
        pair.server.reset(key, ResetCode::Cancelled, "");
        pair.server.release(key);
        pair.client.reset(up, ResetCode::Cancelled, "");
        pair.client.release(up);
    }
    assert!(pair.server.waiting_keys() < 100, "{} keys for no stream", pair.server.waiting_keys());
}

// ---- a program's own memory ----

/// Bytes that look at the connection when they are dropped.
struct Looks(Vec<u8>, Caller);

impl AsRef<[u8]> for Looks {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        let _ = self.1.streams();
    }
}

/// Does something on a connection, with what makes bytes of a program's own memory.
fn with_own_memory(act: impl AsyncFnOnce(Caller, Box<dyn Fn(usize) -> Bytes>) + Send + 'static) {
    let (done, told) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (near, far) = duplex();
            let options = Options::default();
            let settings = options.settings.clone();
            let (caller, client) =
                Driver::new(Role::Client, Box::new(near), options.clone(), settings.clone(), NoCalls);
            let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, crate::session::echo);
            tokio::spawn(client);
            tokio::spawn(server);
            let looks = caller.clone();
            let own = move |length| Bytes::from_owner(Looks(vec![7; length], looks.clone()));
            act(caller, Box::new(own)).await;
        });
        done.send(()).unwrap();
    });
    told.recv_timeout(Duration::from_secs(20)).expect("it locked itself out");
}

#[test]
fn a_body_is_not_dropped_under_the_lock() {
    with_own_memory(async |caller, own| {
        for length in [0, 10, 16_384, 16_385, 100_000] {
            let (reply, _) = caller.call(text("whole"), SendBody::Whole(own(length)), None).unwrap();
            reply.await.unwrap();
            let (cancelled, _) = caller.call(text("whole"), SendBody::Whole(own(length)), None).unwrap();
            drop(cancelled);
        }
        let fails = |_: &mut Vec<u8>| Err("as it was asked to".into());
        assert!(caller.call(fails, SendBody::Whole(own(10)), None).is_err());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = caller.call(|_| panic!("encoder"), SendBody::Whole(own(10)), None);
        }));
        assert!(panicked.is_err());
    });
}

#[test]
fn pieces_and_trailers_are_not_dropped_under_the_lock() {
    with_own_memory(async |caller, own| {
        let streamed = || {
            let (reply, writer) = caller.call(text("pieces"), SendBody::Pieces, None).unwrap();
            (reply, writer.unwrap())
        };
        let (reply, mut writer) = streamed();
        for length in [0, 10, 100_000] {
            writer.write(own(length)).await.unwrap();
        }
        writer.finish(Some(own(10))).unwrap();
        let mut reply = reply.await.unwrap();
        while let Some(piece) = reply.body.piece().await {
            piece.unwrap();
        }
        let (_reply, mut broken) = streamed();
        broken.write(own(100_000)).await.unwrap();
        drop(broken);
        let (_reply, long) = streamed();
        assert!(long.finish(Some(own(100_000))).is_err());
        let (reply, late) = streamed();
        drop(reply);
        late.finish(Some(own(10))).unwrap();
        let (reply, mut unsent) = streamed();
        unsent.write(own(10)).await.unwrap();
        unsent.finish(Some(own(10))).unwrap();
        drop(reply);
    });
}

#[test]
fn a_piece_for_nobody_is_handed_out_to_be_dropped() {
    let own = Settings::default();
    let mut client = Streams::new(Role::Client, own.clone(), own, 1 << 24, Instant::now());
    let key = client.open::<TooLong>((), 0, false, |_| Ok(()), &Bytes::new(), true).unwrap();
    client.reset(key, ResetCode::Cancelled, "");
    let witness = Arc::new(());
    struct Owner(#[expect(dead_code)] Arc<()>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            b"piece"
        }
    }
    client.push(key, Bytes::from_owner(Owner(witness.clone())));
    assert_eq!(client.fill(&mut Vec::new(), Instant::now()), Filled::Nothing);
    assert_eq!(Arc::strong_count(&witness), 2);
    drop(client.take_wakers());
    assert_eq!(Arc::strong_count(&witness), 1);
}
