//! What calls that pass count for: limits, and the end of their connection.

use std::future::ready;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrpc::BatchTimer;
use fastrpc::internals::framed::{Received, Role};
use fastrpc::internals::session::{Driver, Incoming, Options};
use fastrpc::wire::framed::codec::RecordCodec;
use fastrpc::wire::framed::frame::{self, ResetCode, TooLong};
use fastrpc::wire::framed::record::RecordEncoder;
use fastrpc::wire::framed::settings::Settings;
use testkit::pipe::duplex;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::framed_streams::{Pair, receive, words};
use crate::session::{S, all, echo, endless, text, with_options};

fn none(_: &mut Vec<u8>) -> Result<(), TooLong> {
    Ok(())
}

fn pair(settings: Settings) -> Pair {
    let mut pair = Pair::new(settings);
    pair.server.let_calls_pass();
    pair
}

/// A record of calls without anything in them.
fn calls(count: usize) -> Vec<u8> {
    let mut frames = Vec::new();
    (0..count).for_each(|_| _ = frame::put_call(&mut frames, 0, false, 9, none, b"", true).unwrap());
    frames
}

fn sealed(frames: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    RecordEncoder::new(RecordCodec::None, 22).encode_raw(frames, &mut wire);
    wire
}

// ---- limits ----

#[test]
fn a_call_that_is_refused_costs_nothing_else_though_its_body_came_with_it() {
    let data = |bytes: &mut Vec<u8>| frame::put_data(bytes, 2, [&b"more"[..]].into_iter(), false).unwrap();
    let trailers = |bytes: &mut Vec<u8>| frame::put_trailers(bytes, 2, b"").unwrap();
    let reset = |bytes: &mut Vec<u8>| frame::put_reset(bytes, 2, ResetCode::Cancelled, "");
    let credit = |bytes: &mut Vec<u8>| frame::put_credit(bytes, 2, 1000);
    for more in [&data as &dyn Fn(&mut Vec<u8>), &trailers, &reset, &credit] {
        let mut pair = pair(Settings { head: 10, ..Settings::default() });
        let mut bytes = calls(1);
        frame::put_call(
            &mut bytes,
            0,
            false,
            20,
            |out| -> Result<(), TooLong> {
                out.extend_from_slice(b"longer than it may");
                Ok(())
            },
            b"some",
            false,
        )
        .unwrap();
        more(&mut bytes);
        bytes.extend(calls(1));
        pair.server.begin_record();
        let received = receive(&mut pair.server, &bytes.into()).expect("it costs the call alone");
        let mut cut = Vec::new();
        pair.server.end_record(&mut cut);
        let passing = received.iter().filter(|one| matches!(one, Received::Passing { .. })).count();
        assert_eq!((passing, cut.len(), pair.server.len()), (2, 0, 0), "{received:?}");
        let mut record = Vec::new();
        pair.server.fill(&mut record, pair.now);
        assert!(words(&record.into())[0].starts_with("reset 2"));
    }
}

#[test]
fn calls_of_one_record_count_though_they_pass() {
    let mut pair = pair(Settings { calls: 3, ..Settings::default() });
    let passing = |pair: &mut Pair, count| {
        pair.server.begin_record();
        let received = receive(&mut pair.server, &calls(count).into()).expect("the rules are kept");
        pair.server.end_record(&mut Vec::new());
        let id = |received| if let Received::Passing { id, .. } = received { Some(id) } else { None };
        received.into_iter().filter_map(id).collect::<Vec<_>>()
    };
    assert_eq!(passing(&mut pair, 5), [1, 2, 3]);
    // Those of before were answered, but for one.
    let stream = pair.server.adopt(2, ());
    assert_eq!(passing(&mut pair, 5), [6, 7]);
    pair.server.reset(stream, ResetCode::Cancelled, "");
    pair.server.release(stream);
    assert_eq!(passing(&mut pair, 5), [11, 12, 13]);
}

#[tokio::test(start_paused = true)]
async fn no_more_handlers_wait_than_there_may_be_calls() {
    let (serve, alive, _) = endless();
    let (mut near, far) = duplex();
    let settings = Settings { calls: 10, ..Settings::default() };
    let options = Options { settings: settings.clone(), ..Options::default() };
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, serve);
    tokio::spawn(server);
    near.write_all(&sealed(&calls(200))).await.unwrap();
    sleep(S).await;
    assert_eq!(alive.load(Ordering::SeqCst), 10);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_answer_is_elsewhere_has_its_deadline_though_a_head_went_ahead() {
    let (apart, mut elsewhere) = mpsc::channel::<Incoming>(8);
    let serve = move |mut call: Incoming| {
        call.responder.interim(text("ahead")).unwrap();
        apart.try_send(call).expect("the test receives");
        ready(())
    };
    let (mut near, far) = duplex();
    let options = Options { codec: RecordCodec::None, ping: None, ..Options::default() };
    let (far, server) = Driver::new(Role::Server, Box::new(far), options.clone(), options.settings, serve);
    let calls = server.drain_handle();
    tokio::spawn(server);
    let mut call = Vec::new();
    frame::put_call(&mut call, 1500, false, 10, none, b"", true).unwrap();
    near.write_all(&sealed(&call)).await.unwrap();
    let held = elsewhere.recv().await.unwrap();
    sleep(S).await;
    assert_eq!(calls.open_calls(), 1);
    sleep(S).await;
    assert_eq!(calls.open_calls(), 0, "nobody waits for it any more");
    drop(held);
    assert_eq!(far.streams(), 0);
}

// ---- the end ----

#[tokio::test(start_paused = true)]
async fn a_drain_overtakes_no_reply_that_waits_for_company() {
    let delay = Duration::from_millis(20);
    let waits = Options { batch_delay: delay, batch_timer: BatchTimer::Tokio, ..Options::default() };
    let scene = with_options(Options::default(), waits, echo);
    let start = Instant::now();
    let replies = ["one", "two"].map(|head| scene.call(head, b"body"));
    scene.caller.drain();
    for (reply, head) in replies.into_iter().zip(["one", "two"]) {
        let mut reply = timeout(S, reply).await.expect("it comes").expect("it was answered");
        assert_eq!((&reply.head[..], &all(&mut reply.body).await.unwrap()[..]), (head.as_bytes(), &b"body"[..]));
    }
    assert!(start.elapsed() >= delay);
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn replies_that_were_not_sent_are_calls_that_go_on() {
    let raw = Options { codec: RecordCodec::None, drain: 5 * S, ..Options::default() };
    let scene = with_options(raw.clone(), raw, echo);
    scene.down.choke();
    let replies: Vec<_> = (0..20).map(|_| scene.call("call", &[7; 16_000])).collect();
    sleep(S).await;
    assert_eq!(scene.far.streams(), 0, "all were answered");
    scene.far.drain();
    let outcome = timeout(60 * S, scene.server).await.expect("its drain has a bound").unwrap();
    assert_eq!(outcome.unwrap_err().to_string(), "calls went on for 5 s after the drain");
    drop(replies);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_ends_before_its_replies_were_sent_ends_badly() {
    for (count, want) in [(0, None), (1, Some("the peer closed"))] {
        let (mut near, far) = duplex();
        let options = Options::default();
        let (_, server) = Driver::new(Role::Server, Box::new(far), options.clone(), options.settings, echo);
        if count > 0 {
            near.write_all(&sealed(&calls(count))).await.unwrap();
        }
        near.shutdown().await.unwrap();
        let outcome = timeout(60 * S, server).await.expect("it ends");
        assert_eq!(outcome.err().map(|error| error.to_string()).as_deref(), want);
    }
}
