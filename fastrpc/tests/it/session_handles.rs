//! What the programs around a framed connection learn of it and may do with it: writers of bodies, callers, drains. Time is
//! virtual.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use fastrpc::internals::framed::Role;
use fastrpc::internals::session::{Driver, Incoming, Options, SendBody, Serve};
use fastrpc::wire::framed::codec::RecordCodec;
use fastrpc::wire::framed::frame::{self, TooLong};
use fastrpc::wire::framed::record::RecordEncoder;
use fastrpc::{BatchTimer, Dispatch, ErrorKind};
use testkit::pipe::duplex;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::session::{S, all, echo, endless, text, until_none, with_options};

fn raw() -> Options {
    Options { codec: RecordCodec::None, ..Options::default() }
}

fn is_pending(future: impl Future) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

// ---- bodies ----

#[tokio::test(start_paused = true)]
async fn a_writer_learns_when_its_call_leaves() {
    let scene = with_options(raw(), raw(), echo);
    tokio::time::sleep(S).await;
    scene.up.choke();
    let _fill: Vec<_> = (0..10).map(|_| scene.call("fills what may wait", &[7; 16_000])).collect();
    tokio::time::sleep(S).await;
    let (reply, mut writer) = scene.stream("behind");
    writer.write(Bytes::from_static(b"the beginning")).await.unwrap();
    tokio::time::sleep(S).await;
    assert!(is_pending(writer.sent()), "its head waits behind what the peer does not take");
    let told = tokio::spawn(async move {
        writer.sent().await.unwrap();
        writer
    });
    tokio::time::sleep(S).await;
    assert!(!told.is_finished());
    scene.up.allow_all();
    let mut writer = told.await.unwrap();
    writer.sent().await.unwrap();
    writer.finish(None).unwrap();
    assert_eq!(all(&mut reply.await.unwrap().body).await.unwrap(), b"the beginning");
}

#[tokio::test(start_paused = true)]
async fn a_writer_learns_whether_its_call_left_before_the_end() {
    let (serve, ..) = endless();
    let scene = with_options(raw(), raw(), serve);
    let (_first, mut sent) = scene.stream("leaves");
    sent.sent().await.unwrap();
    scene.up.choke();
    let _fill: Vec<_> = (0..10).map(|_| scene.call("fills what may wait", &[7; 16_000])).collect();
    tokio::time::sleep(S).await;
    let (_second, mut unsent) = scene.stream("stays");
    let told = tokio::spawn(async move { unsent.sent().await.unwrap_err() });
    tokio::time::sleep(S).await;
    scene.down.end();
    let error = told.await.unwrap();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, true), "{error}");
    let error = sent.sent().await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, false), "{error}");
    let error = sent.write(Bytes::from_static(b"late")).await.unwrap_err();
    assert!(!error.may_retry());
}

#[tokio::test(start_paused = true)]
async fn a_writer_of_a_reply_learns_when_it_leaves() {
    let scene = with_options(raw(), raw(), |mut call: Incoming| async move {
        let mut writer = call.responder.reply(text("reply"), SendBody::Pieces).unwrap().unwrap();
        writer.sent().await.unwrap();
        writer.write(Bytes::from_static(b"behind its head")).await.unwrap();
        writer.finish(None).unwrap();
    });
    let mut reply = scene.call("call", b"").await.unwrap();
    assert_eq!(all(&mut reply.body).await.unwrap(), b"behind its head");
    scene.drained().await;
}

// ---- batches ----

fn delayed() -> Options {
    Options { batch_delay: S / 100, batch_timer: BatchTimer::Tokio, ..raw() }
}

#[tokio::test(start_paused = true)]
async fn the_first_head_of_a_batch_waits_for_company() {
    let (ours, theirs) = (delayed(), raw());
    let scene = with_options(ours.clone(), theirs, echo);
    tokio::time::sleep(S).await;
    let before = (scene.up.written(), ours.counted.stats().batches);
    let start = Instant::now();
    let first = scene.call("first", b"");
    tokio::time::sleep(S / 200).await;
    assert_eq!(scene.up.written(), before.0, "it waits");
    let second = scene.call("second", b"");
    first.await.unwrap();
    assert_eq!(start.elapsed(), S / 100, "the second one does not put it off");
    second.await.unwrap();
    assert_eq!((start.elapsed(), ours.counted.stats().batches), (S / 100, before.1 + 1), "they go together");
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn replies_wait_for_company_too_and_a_drain_waits_for_nothing() {
    let scene = with_options(raw(), delayed(), echo);
    tokio::time::sleep(S).await;
    let start = Instant::now();
    scene.call("call", b"").await.unwrap();
    assert_eq!(start.elapsed(), S / 100);
    let last = scene.call("last", b"");
    scene.far.drain();
    last.await.unwrap();
    assert_eq!(start.elapsed(), S / 100);
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_records_worth_of_heads_goes_at_once() {
    let scene = with_options(delayed(), raw(), echo);
    tokio::time::sleep(S).await;
    let start = Instant::now();
    // More than a record: what is left over goes with it.
    let calls: Vec<_> = (0..5).map(|_| scene.call("large", &[7; 16_000])).collect();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn bodies_and_ends_do_not_wait_for_company() {
    let scene = with_options(delayed(), raw(), echo);
    let (reply, mut writer) = scene.stream("pieces");
    let mut reply = reply.await.unwrap();
    let start = Instant::now();
    let later = scene.call("waits", b"");
    writer.write(Bytes::from_static(b"body")).await.unwrap();
    assert_eq!(reply.body.piece().await.unwrap().unwrap(), "body");
    writer.finish(None).unwrap();
    assert!(reply.body.piece().await.is_none());
    assert_eq!(start.elapsed(), Duration::ZERO);
    later.await.unwrap();
    assert_eq!(start.elapsed(), S / 100);
    drop(reply);
    scene.drained().await;
}

// ---- idle connections ----

#[tokio::test(start_paused = true)]
async fn an_idle_connection_drains_whichever_side_is_told_so() {
    for client_is_told in [true, false] {
        let told = Options { idle_timeout: Some(30 * S), ..raw() };
        let (ours, theirs) = if client_is_told { (told, raw()) } else { (raw(), told) };
        let scene = with_options(ours, theirs, |call: Incoming| async move {
            tokio::time::sleep(100 * S).await;
            echo(call).await;
        });
        let start = Instant::now();
        scene.call("long", b"").await.expect("a call that goes on is not idle");
        tokio::time::sleep(20 * S).await;
        scene.call("and another", b"").await.unwrap();
        let before = start.elapsed();
        let ended = [scene.client.await.unwrap(), scene.server.await.unwrap()];
        assert!(ended.iter().all(Result::is_ok), "{ended:?}");
        assert_eq!((before, start.elapsed()), (220 * S, 250 * S), "pings are no calls");
        let Err(error) = scene.caller.call(text("late"), SendBody::Pieces, None) else { panic!("it is over") };
        assert!(error.may_retry());
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_server_ends_though_its_client_does_not_answer() {
    let told = Options { idle_timeout: Some(30 * S), ping: None, ..raw() };
    let scene = with_options(Options { ping: None, ..raw() }, told, echo);
    scene.call("call", b"").await.unwrap();
    scene.up.hold();
    let start = Instant::now();
    let ended = scene.server.await.unwrap();
    assert!(ended.is_ok(), "{ended:?}");
    let (least, most) = (120 * S, 122 * S);
    assert!((least..most).contains(&start.elapsed()), "30 s, 60 s for the drain, and 30 s for its client to end it");
}

#[tokio::test(start_paused = true)]
async fn calls_that_want_no_reply_are_calls_too() {
    let (mut near, far) = duplex();
    let options = Options { idle_timeout: Some(30 * S), ping: None, ..raw() };
    let settings = options.settings.clone();
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, |_: Incoming| std::future::ready(()));
    let drain = server.drain_handle();
    let server = tokio::spawn(server);
    let (mut frames, mut wire) = (Vec::new(), Vec::new());
    let head = |_: &mut Vec<u8>| -> Result<(), TooLong> { Ok(()) };
    frame::put_call(&mut frames, 0, true, 9, head, b"", true).unwrap();
    RecordEncoder::new(RecordCodec::None, 22).encode_raw(&frames, &mut wire);
    for _ in 0..10 {
        near.write_all(&wire).await.unwrap();
        tokio::time::sleep(20 * S).await;
        assert!(!drain.is_draining());
    }
    tokio::time::sleep(11 * S).await;
    assert!(drain.is_draining());
    server.abort();
}

// ---- where handlers run ----

#[tokio::test(start_paused = true)]
async fn handlers_run_in_their_own_tasks_if_told_so() {
    for (dispatch, inline) in [(Dispatch::Inline, true), (Dispatch::Spawn, false)] {
        let tasks = Arc::new(Mutex::new(Vec::new()));
        let told = tasks.clone();
        let serve = move |call: Incoming| {
            told.lock().unwrap().push(tokio::task::try_id().unwrap());
            let told = told.clone();
            async move {
                told.lock().unwrap().push(tokio::task::try_id().unwrap());
                echo(call).await;
            }
        };
        let scene = with_options(raw(), Options { dispatch, ..raw() }, serve);
        scene.call("call", b"").await.unwrap();
        let tasks = tasks.lock().unwrap().clone();
        assert_eq!(tasks[0] == tasks[1], inline, "{dispatch:?}");
        scene.drained().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_in_its_own_task_is_dropped_with_its_call() {
    let (serve, alive, begun) = endless();
    let scene = with_options(raw(), Options { dispatch: Dispatch::Spawn, ..raw() }, serve);
    let call = scene.call("call", b"");
    begun.notified().await;
    drop(call);
    until_none(&alive).await;
    scene.drained().await;
}

/// Handlers that tell that they begin and wait for a permit; and how many run.
fn gated() -> (impl Serve, Arc<Semaphore>, mpsc::Receiver<String>) {
    let (gate, (tell, told)) = (Arc::new(Semaphore::new(0)), mpsc::channel(1000));
    let (opened, running) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let serve = move |call: Incoming| {
        let (gate, running, tell) = (opened.clone(), running.clone(), tell.clone());
        async move {
            assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
            tell.try_send(String::from_utf8(call.head.to_vec()).unwrap()).unwrap();
            gate.acquire().await.unwrap().forget();
            running.fetch_sub(1, Ordering::SeqCst);
            echo(call).await;
        }
    };
    (serve, gate, told)
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_serves_one_call_after_the_other() {
    let (serve, gate, mut told) = gated();
    let scene = with_options(raw(), Options { dispatch: Dispatch::Pipeline, ..raw() }, serve);
    let mut calls: VecDeque<_> = (0..600).map(|n| (n, scene.call(&format!("{n}"), b""))).collect();
    tokio::time::sleep(S).await;
    let mut begun = Vec::new();
    while let Some((n, mut call)) = calls.pop_front() {
        begun.push(told.recv().await.unwrap());
        assert!(told.try_recv().is_err() && is_pending(&mut call), "one at a time");
        gate.add_permits(1);
        assert_eq!(call.await.unwrap().head, format!("{n}"));
    }
    assert_eq!(begun, (0..600).map(|n| n.to_string()).collect::<Vec<_>>());
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_goes_on_in_order_through_calls_that_are_answered_at_once() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let told = order.clone();
    let scene = with_options(raw(), Options { dispatch: Dispatch::Pipeline, ..raw() }, move |call: Incoming| {
        told.lock().unwrap().push(call.head.clone());
        async move {
            if call.head == "slow" {
                tokio::time::sleep(S).await;
            }
            echo(call).await;
        }
    });
    let slow = scene.call("slow", b"");
    let calls: Vec<_> = (0..3000).map(|_| scene.call("quick", b"")).collect();
    let start = Instant::now();
    let caller = scene.caller.clone();
    let late = tokio::spawn(async move {
        slow.await.unwrap();
        // It comes while others still wait.
        caller.call(text("late"), SendBody::Whole(Bytes::new()), None).unwrap().0.await.unwrap()
    });
    for call in calls {
        call.await.unwrap();
    }
    late.await.unwrap();
    assert!(start.elapsed() < S + S / 100, "{:?}", start.elapsed());
    assert_eq!(order.lock().unwrap().iter().position(|head| head == "late"), Some(3001));
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_in_a_pipeline_is_dropped_when_nobody_waits_for_it() {
    let (serve, gate, mut told) = gated();
    let scene = with_options(raw(), Options { dispatch: Dispatch::Pipeline, ..raw() }, serve);
    let first = scene.call("first", b"");
    assert_eq!(told.recv().await.unwrap(), "first");
    let cancelled = scene.call("cancelled", b"");
    let (late, _) = scene.caller.call(text("late"), SendBody::Whole(Bytes::new()), Some(S)).unwrap();
    let last = scene.call("last", b"");
    tokio::time::sleep(S / 2).await;
    assert_eq!(scene.far.streams(), 4);
    drop(cancelled);
    late.await.err().expect("nobody serves it in time");
    tokio::time::sleep(S / 2).await;
    assert_eq!(scene.far.streams(), 2, "what nobody waits for is not kept");
    gate.add_permits(2);
    first.await.unwrap();
    last.await.unwrap();
    assert_eq!(told.recv().await.unwrap(), "last", "and is not served");
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_a_pipeline_has_a_bound() {
    let (serve, gate, mut told) = gated();
    let theirs = Options { dispatch: Dispatch::Pipeline, max_unread: 1000, ..raw() };
    let scene = with_options(raw(), theirs, serve);
    let first = scene.call("first", b"");
    assert_eq!(told.recv().await.unwrap(), "first");
    let calls: Vec<_> = (0..30).map(|_| scene.call("0123456789", &[7; 990])).collect();
    tokio::time::sleep(S).await;
    gate.add_permits(17);
    first.await.unwrap();
    let mut refused = 0;
    for call in calls {
        match call.await {
            Ok(reply) => assert_eq!(reply.head, "0123456789"),
            Err(error) => {
                assert!(error.may_retry(), "{error}");
                assert_eq!(error.to_string(), "the peer reset the stream: refused (too many calls wait)");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 14, "16 of 1,000 bytes may wait");
    scene.drained().await;
}
