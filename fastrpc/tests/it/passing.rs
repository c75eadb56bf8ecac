//! Calls that a server answers where it read them, and what makes streams of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use bytes::Bytes;
use fastrpc::ErrorKind;
use fastrpc::internals::framed::{Key, Received, Streams};
use fastrpc::internals::session::{Incoming, Options, SendBody};
use fastrpc::wire::framed::frame::{self, ResetCode};
use fastrpc::wire::framed::settings::Settings;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::framed_streams::{Pair, open, receive, record, writes};
use crate::session::{S, Scene, all, text, until_none, with_options};

fn pair() -> Pair {
    let mut pair = Pair::new(Settings { stream_credit: 20_000, head: 60_000, ..Settings::default() });
    pair.server.let_calls_pass();
    pair
}

/// Takes the client's next record to the server; what came of it, and the calls that were cancelled in it.
fn take(pair: &mut Pair) -> (Vec<Received>, Vec<u32>) {
    let record = record(&mut pair.client, pair.now).expect("there is something to send");
    arrive(&mut pair.server, &record)
}

fn arrive(server: &mut Streams<()>, record: &Bytes) -> (Vec<Received>, Vec<u32>) {
    server.begin_record();
    let received = receive(server, record).expect("the rules are kept");
    let mut cut = Vec::new();
    server.end_record(&mut cut);
    (received, cut)
}

fn read(streams: &mut Streams<()>, key: Key) -> usize {
    let mut read = 0;
    while let Poll::Ready(Some(piece)) = streams.poll_piece(key, Waker::noop()) {
        read += piece.expect("it is whole").len();
    }
    read
}

#[test]
fn a_whole_call_leaves_nothing_at_its_server_and_its_reply_finds_it() {
    let mut pair = pair();
    let calls: Vec<Key> = (0u8..3).map(|n| open(&mut pair.client, &[n], b"body", false)).collect();
    let (received, _) = take(&mut pair);
    assert!(pair.server.is_empty());
    for received in received.into_iter().rev() {
        let Received::Passing { id, head, body, .. } = received else { panic!("{received:?}") };
        assert_eq!(&body[..], b"body");
        let answered = pair.server.reply_alone(id, || (), writes(&head), &Bytes::from_static(b"reply"));
        assert_eq!(answered.expect("it is short"), None);
    }
    let reply = |received| match received {
        Received::Reply { key, head, body: Some(body) } => (key, head[0], body),
        other => panic!("{other:?}"),
    };
    let heads: Vec<_> = pair.down().into_iter().map(reply).collect();
    let want = [2u8, 1, 0].map(|n| (calls[usize::from(n)], n, Bytes::from_static(b"reply")));
    assert_eq!(heads, want, "in the order of the replies");
    calls.into_iter().for_each(|call| _ = pair.client.release(call));
    assert!(pair.client.is_empty() && pair.server.is_empty());
    assert_eq!((pair.client.open_calls(), pair.server.open_calls()), (0, 0));
}

#[test]
fn calls_with_more_to_come_and_those_that_want_no_answer_are_streams() {
    let mut pair = pair();
    open(&mut pair.client, b"pieces", b"", true);
    pair.client.open((), 0, true, writes(b"one way"), &Bytes::new(), false).expect("the head is short");
    let (received, _) = take(&mut pair);
    assert!(matches!(received[..], [Received::Call { .. }, Received::Call { one_way: true, .. }]), "{received:?}");
    assert_eq!(pair.server.len(), 2);
}

#[test]
fn a_reply_that_is_too_long_for_its_frame_becomes_a_stream_and_comes_whole() {
    for length in [16 * 1024, 16 * 1024 + 1, 60_000] {
        let mut pair = pair();
        let call = open(&mut pair.client, b"call", b"", false);
        let (received, _) = take(&mut pair);
        let [Received::Passing { id, .. }] = received[..] else { panic!("{received:?}") };
        // Head and body do not fit one frame together, though each would.
        let head = vec![1; if length == 16 * 1024 { 50_000 } else { 10 }];
        let body = Bytes::from(vec![2; length]);
        let stream = pair.server.reply_alone(id, || (), writes(&head), &body).expect("the head is short");
        let stream = stream.expect("it does not fit");
        assert!(pair.server.release(stream).is_none(), "it goes on by itself");
        let mut got = 0;
        while got < length {
            let received = pair.down();
            assert!(!received.is_empty(), "{got} of {length} bytes came");
            got += read(&mut pair.client, call);
            pair.up();
        }
        pair.client.release(call);
        assert!(pair.client.is_empty() && pair.server.is_empty());
    }
}

#[test]
fn who_cancels_in_the_record_of_the_call_is_not_served() {
    let mut pair = pair();
    let (mut bytes, mut one) = (Vec::new(), Vec::new());
    for head in [b"1", b"2", b"3"] {
        open(&mut pair.client, head, b"", false);
    }
    pair.client.fill(&mut bytes, pair.now);
    frame::put_reset(&mut bytes, 3, ResetCode::Cancelled, "");
    frame::put_reset(&mut bytes, 2, ResetCode::Cancelled, "");
    let (received, cut) = arrive(&mut pair.server, &bytes.into());
    assert_eq!((received.len(), cut), (5, vec![2, 3]));
    // Later it is too late to say so: the call was answered, or is a stream by then.
    frame::put_reset(&mut one, 1, ResetCode::Cancelled, "");
    let (_, cut) = arrive(&mut pair.server, &one.into());
    assert_eq!(cut, Vec::<u32>::new());
}

#[test]
fn credit_that_comes_with_the_call_counts_when_it_becomes_a_stream() {
    let mut pair = pair();
    let mut bytes = Vec::new();
    open(&mut pair.client, b"1", b"", false);
    open(&mut pair.client, b"2", b"", false);
    pair.client.fill(&mut bytes, pair.now);
    for (id, more) in [(2, 10_000), (1, 1_000), (2, 20_000)] {
        frame::put_credit(&mut bytes, id, more);
    }
    arrive(&mut pair.server, &bytes.into());
    // Out of order, as handlers end.
    for (id, credit) in [(2, 20_000 + 30_000), (1, 20_000 + 1_000)] {
        let key = pair.server.adopt(id, ());
        pair.server.reply(key, writes(b""), &Bytes::from(vec![7; 60_000]), false).expect("the head is short");
        while record(&mut pair.server, pair.now).is_some() {}
        assert_eq!(pair.server.queued_bodies(), 60_000 - credit);
        pair.server.reset(key, ResetCode::Cancelled, "");
        pair.server.release(key);
    }
}

#[test]
fn more_behind_the_end_of_a_call_that_passes_breaks_the_rules() {
    let data = |bytes: &mut Vec<u8>| frame::put_data(bytes, 1, [&b"more"[..]].into_iter(), false).unwrap();
    let trailers = |bytes: &mut Vec<u8>| frame::put_trailers(bytes, 1, b"").unwrap();
    for more in [&data as &dyn Fn(&mut Vec<u8>), &trailers] {
        let mut pair = pair();
        let mut bytes = Vec::new();
        open(&mut pair.client, b"1", b"", false);
        pair.client.fill(&mut bytes, pair.now);
        more(&mut bytes);
        pair.server.begin_record();
        let violation = receive(&mut pair.server, &bytes.into()).unwrap_err();
        assert_eq!(violation.text, "more came for call 1 behind its end");
    }
}

// ---- over a connection ----

fn scene(serve: impl fastrpc::internals::session::Serve) -> Scene {
    with_options(Options::default(), Options::default(), serve)
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_answer_at_once_later_or_from_elsewhere() {
    let (apart, mut elsewhere) = mpsc::channel::<Incoming>(8);
    let serve = move |mut call: Incoming| {
        let apart = apart.clone();
        async move {
            match &call.head[..] {
                b"elsewhere" => apart.try_send(call).expect("the test receives"),
                b"later" => {
                    sleep(S).await;
                    call.responder.reply(text("later"), SendBody::Whole(Bytes::from_static(b"body"))).unwrap();
                }
                b"pieces" => {
                    let mut writer = call.responder.reply(text("pieces"), SendBody::Pieces).unwrap().unwrap();
                    writer.write(Bytes::from_static(b"body")).await.unwrap();
                    sleep(S).await;
                    writer.finish(None).unwrap();
                }
                b"goes on" => {
                    call.responder.reply(text("goes on"), SendBody::Whole(Bytes::from_static(b"body"))).unwrap();
                    sleep(S).await;
                }
                head => {
                    let head = String::from_utf8(head.to_vec()).unwrap();
                    call.responder.reply(text(&head), SendBody::Whole(Bytes::from_static(b"body"))).unwrap();
                }
            }
        }
    };
    let scene = scene(serve);
    let heads = ["at once", "later", "pieces", "elsewhere", "goes on", "at once too"];
    let replies = heads.map(|head| scene.call(head, b""));
    let mut call = elsewhere.recv().await.unwrap();
    call.responder.reply(text("elsewhere"), SendBody::Whole(Bytes::from_static(b"body"))).unwrap();
    drop(call);
    for (head, reply) in heads.into_iter().zip(replies) {
        let mut reply = timeout(3 * S, reply).await.expect("it comes").unwrap();
        assert_eq!((&reply.head[..], &all(&mut reply.body).await.unwrap()[..]), (head.as_bytes(), &b"body"[..]));
    }
    assert_eq!((scene.caller.streams(), scene.far.streams()), (0, 0));
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_elsewhere_fails_its_call_when_it_is_dropped() {
    let (apart, mut elsewhere) = mpsc::channel::<Incoming>(8);
    let scene = scene(move |call: Incoming| {
        apart.try_send(call).expect("the test receives");
        std::future::ready(())
    });
    let reply = scene.call("call", b"");
    drop(elsewhere.recv().await.unwrap());
    let error = reply.await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Reset);
    assert!(error.to_string().contains("its handler ended without a reply"), "{error}");
    assert_eq!((scene.caller.streams(), scene.far.streams()), (0, 0));
    scene.drained().await;
}

/// Counts those that live.
struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_is_dropped_with_its_call() {
    let alive = Arc::<AtomicUsize>::default();
    let (begun, mut begins) = mpsc::channel(8);
    let count = alive.clone();
    let scene = scene(move |call: Incoming| {
        count.fetch_add(1, Ordering::SeqCst);
        let (alive, begun) = (Alive(count.clone()), begun.clone());
        async move {
            let _held = (alive, call);
            begun.try_send(()).unwrap();
            std::future::pending::<()>().await;
        }
    });
    let calls = ["1", "2", "3"].map(|head| scene.call(head, b""));
    for _ in &calls {
        begins.recv().await.unwrap();
    }
    drop(calls);
    until_none(&alive).await;
    assert_eq!((scene.caller.streams(), scene.far.streams()), (0, 0));
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn heads_ahead_of_a_reply_and_a_failure_after_them_reach_the_caller() {
    let (go, mut gone) = mpsc::channel::<oneshot::Sender<()>>(8);
    let scene = scene(move |mut call: Incoming| {
        let go = go.clone();
        async move {
            call.responder.interim(text("soon")).unwrap();
            if &call.head[..] == b"waits" {
                let (tell, told) = oneshot::channel();
                go.try_send(tell).unwrap();
                told.await.unwrap();
            }
            call.responder.fail(ResetCode::Failed, "it went wrong".to_owned());
        }
    });
    for head in ["waits", "fails at once"] {
        let mut reply = scene.call(head, b"");
        // A failure overtakes what was not sent.
        if head == "waits" {
            assert_eq!(&reply.interim().await.unwrap()[..], b"soon");
            gone.recv().await.unwrap().send(()).unwrap();
        }
        let error = reply.await.err().unwrap();
        assert!(error.to_string().contains("it went wrong"), "{error}");
    }
    assert_eq!((scene.caller.streams(), scene.far.streams()), (0, 0));
    scene.drained().await;
}
