//! What a peer, or a careless program, may try on a framed connection: each of these once worked. Time is virtual: to sleep is
//! how it passes, and the longest that anything may need to happen.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use fastrpc::internals::framed::{Filled, Received, Role, Streams};
use fastrpc::internals::session::{BodyReader, Driver, Incoming, NoCalls, Options, SendBody};
use fastrpc::wire::framed::codec::RecordCodec;
use fastrpc::wire::framed::frame::{self, Frame, ResetCode, TooLong};
use fastrpc::wire::framed::record::RecordEncoder;
use fastrpc::wire::framed::settings::Settings;
use testkit::pipe::duplex;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::framed_streams::receive;
use crate::session::text;

mod memory;
mod users;

async fn all(body: &mut BodyReader) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.piece().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    bytes
}

async fn echo(mut call: Incoming) {
    let head = String::from_utf8(call.head.to_vec()).unwrap();
    let body = all(&mut call.body).await;
    call.responder.reply(text(&head), SendBody::Whole(body.into())).unwrap();
}

fn none(_: &mut Vec<u8>) -> Result<(), TooLong> {
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_cancelled_answers_no_other() {
    let (near, far) = duplex();
    let options = Options::default();
    let settings = options.settings.clone();
    let (caller, client) = Driver::new(Role::Client, Box::new(near), options.clone(), settings.clone(), NoCalls);
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, echo);
    tokio::spawn(client);
    tokio::spawn(server);
    let call = |head: &str| caller.call(text(head), SendBody::Whole(Bytes::new()), None).unwrap().0;
    let burst: Vec<_> = (0..1100).map(|n| call(&format!("old {n}"))).collect();
    drop(burst);
    let mut kept = Vec::new();
    for n in 0..3 {
        kept.push((n, call(&format!("new {n}"))));
    }
    for (n, reply) in kept {
        let reply = tokio::time::timeout(Duration::from_secs(5), reply).await.expect("answered").unwrap();
        assert_eq!(reply.head, format!("new {n}"));
    }
}

#[tokio::test(start_paused = true)]
async fn one_way_calls_count_as_calls() {
    let alive = Arc::new(AtomicUsize::new(0));
    let counted = alive.clone();
    let serve = move |call: Incoming| {
        let counted = counted.clone();
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
            drop(call);
        }
    };
    let (mut near, far) = duplex();
    let options = Options { settings: Settings { calls: 10, ..Settings::default() }, ..Options::default() };
    let settings = options.settings.clone();
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, serve);
    tokio::spawn(server);
    for _ in 0..100 {
        let (mut frames, mut record) = (Vec::new(), Vec::new());
        for _ in 0..200 {
            frame::put_call(&mut frames, 0, true, 9, none, b"", true).unwrap();
        }
        RecordEncoder::new(RecordCodec::None, 22).encode_raw(&frames, &mut record);
        let _ = near.write_all(&record).await; // So many refusals end the connection.
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(alive.load(Ordering::SeqCst) <= 10, "{} handlers run", alive.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_ends_choked_goes_on_once_there_is_room() {
    let (near, far) = duplex();
    let options = Options { max_unread: 100_000, ..Options::default() };
    let settings = options.settings.clone();
    let (caller, client) = Driver::new(Role::Client, Box::new(near), options.clone(), settings.clone(), NoCalls);
    let big = |mut call: Incoming| async move {
        call.responder.reply(text(""), SendBody::Whole(vec![7; 16_000].into())).unwrap();
    };
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, big);
    tokio::spawn(client);
    tokio::spawn(server);
    let start = Instant::now();
    let replies: Vec<_> = (0..2000)
        .map(|_| {
            caller
                .call(text("0123456789012345678901234567890123456789"), SendBody::Whole(vec![1; 100].into()), None)
                .unwrap()
                .0
        })
        .collect();
    for reply in replies {
        reply.await.unwrap();
    }
    assert!(start.elapsed() < Duration::from_millis(100), "it took {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_not_taken_for_dead() {
    let (near, far) = duplex();
    let down = near.incoming();
    let options = Options { max_unread: 100_000, ..Options::default() };
    let settings = options.settings.clone();
    let (caller, client) = Driver::new(Role::Client, Box::new(near), options.clone(), settings.clone(), NoCalls);
    let big = |mut call: Incoming| async move {
        call.responder.reply(text(""), SendBody::Whole(vec![7; 16_000].into())).unwrap();
    };
    let options = Options { codec: RecordCodec::None, ..options };
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, big);
    tokio::spawn(client);
    let server = tokio::spawn(server);
    down.choke();
    // 100 kB/s.
    tokio::spawn(async move {
        loop {
            down.allow(10_000);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let replies: Vec<_> =
        (0..200).map(|_| caller.call(text(""), SendBody::Whole(Bytes::new()), None).unwrap().0).collect();
    for (n, reply) in replies.into_iter().enumerate() {
        if let Err(error) = reply.await {
            panic!("call {n}: {error}; server: {:?}", server.await.unwrap());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_holds_until_the_head() {
    let (near, far) = duplex();
    let options = Options::default();
    let settings = options.settings.clone();
    let (caller, client) = Driver::new(Role::Client, Box::new(near), options.clone(), settings.clone(), NoCalls);
    let slow = |mut call: Incoming| async move {
        let mut writer = call.responder.reply(text(""), SendBody::Pieces).unwrap().unwrap();
        for _ in 0..5 {
            if writer.write(Bytes::from_static(b"x")).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        writer.finish(None).unwrap();
    };
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, slow);
    tokio::spawn(client);
    tokio::spawn(server);
    let (reply, _) = caller.call(text(""), SendBody::Whole(Bytes::new()), Some(Duration::from_secs(2))).unwrap();
    let mut reply = reply.await.unwrap();
    assert_eq!(all(&mut reply.body).await, b"xxxxx");
}

#[tokio::test(start_paused = true)]
async fn calls_that_expired_unsent_are_never_sent() {
    let (near, far) = duplex();
    let up = near.outgoing();
    let options = Options { codec: RecordCodec::None, ..Options::default() };
    let settings = options.settings.clone();
    let (caller, client) = Driver::new(Role::Client, Box::new(near), options.clone(), settings.clone(), NoCalls);
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, echo);
    tokio::spawn(client);
    tokio::spawn(server);
    tokio::time::sleep(Duration::from_secs(1)).await;
    up.choke();
    let call = |head: &str, body: usize| {
        caller.call(text(head), SendBody::Whole(vec![7; body].into()), Some(Duration::from_secs(1))).unwrap().0
    };
    let old: Vec<_> = (0..1200).map(|n| call(&format!("old {n}"), 1000)).collect();
    for reply in old {
        assert!(reply.await.err().unwrap().is_timeout());
    }
    assert_eq!(caller.streams(), 0);
    let new: Vec<_> = (0..1000).map(|n| call(&format!("new {n}"), 10)).collect();
    up.allow_all();
    for (n, reply) in new.into_iter().enumerate() {
        let reply = reply.await.unwrap_or_else(|error| panic!("call {n}: {error}"));
        assert_eq!(reply.head, format!("new {n}"));
    }
}

#[test]
fn the_close_of_a_client_names_no_call() {
    let settings = Settings::default();
    let mut client = Streams::new(Role::Client, settings.clone(), settings, 1 << 24, Instant::now());
    client.open::<TooLong>((), 0, false, |_| Ok(()), &Bytes::new(), false).unwrap();
    client.fill(&mut Vec::new(), Instant::now());
    client.close(frame::CloseCode::Done, "");
    let mut record = Vec::new();
    client.fill(&mut record, Instant::now());
    let Frame::Close { last, .. } = Frame::take(&mut &record[..]).unwrap() else { panic!() };
    assert_eq!(last, 0);
}

#[test]
fn a_call_behind_one_that_was_taken_back_goes_when_each_goes_alone() {
    let settings = Settings::default();
    let mut client = Streams::new(Role::Client, settings.clone(), settings, 1 << 24, Instant::now());
    client.keep_apart();
    let gone = client.open::<TooLong>((), 0, false, |_| Ok(()), &Bytes::new(), false).unwrap();
    client.reset(gone, ResetCode::Cancelled, "");
    client.open::<TooLong>((), 0, false, |_| Ok(()), &Bytes::new(), false).unwrap();
    assert_ne!(client.fill(&mut Vec::new(), Instant::now()), Filled::Nothing);
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_one_way_calls() {
    let done = Arc::new(AtomicUsize::new(0));
    let counted = done.clone();
    let serve = move |_call: Incoming| {
        let counted = counted.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            counted.fetch_add(1, Ordering::SeqCst);
        }
    };
    let (mut near, far) = duplex();
    let options = Options::default();
    let settings = options.settings.clone();
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, serve);
    let server = tokio::spawn(server);
    let (mut frames, mut record) = (Vec::new(), Vec::new());
    frame::put_call(&mut frames, 0, true, 9, none, b"", true).unwrap();
    frame::put_drain(&mut frames);
    RecordEncoder::new(RecordCodec::None, 22).encode_raw(&frames, &mut record);
    near.write_all(&record).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(done.load(Ordering::SeqCst), 1, "server ended: {}", server.is_finished());
}
