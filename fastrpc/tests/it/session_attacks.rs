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

#[test]
fn an_unread_byte_does_not_keep_its_record() {
    struct Owner(Vec<u8>, Arc<AtomicUsize>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            self.1.fetch_sub(self.0.len(), Ordering::SeqCst);
        }
    }
    let settings = Settings::default();
    let mut server = Streams::new(Role::Server, settings.clone(), settings, 1 << 24, Instant::now());
    let held = Arc::new(AtomicUsize::new(0));
    let give = |server: &mut Streams<()>, frames: Vec<u8>| {
        held.fetch_add(frames.len(), Ordering::SeqCst);
        receive(server, &Bytes::from_owner(Owner(frames, held.clone()))).unwrap();
    };
    let mut frames = Vec::new();
    frame::put_call(&mut frames, 0, false, 9, none, b"", false).unwrap();
    frame::put_call(&mut frames, 0, false, 9, none, b"", false).unwrap();
    frame::put_reset(&mut frames, 2, ResetCode::Cancelled, "");
    give(&mut server, frames);
    for _ in 0..1000 {
        let mut frames = Vec::new();
        frame::put_data(&mut frames, 1, [&b"x"[..]].into_iter(), false).unwrap();
        for _ in 0..9 {
            frame::put_reset(&mut frames, 2, ResetCode::Cancelled, &"0".repeat(250)); // Of a call that is over.
        }
        give(&mut server, frames);
    }
    assert_eq!(server.balance().unread, 1000);
    assert!(held.load(Ordering::SeqCst) < 500_000, "{} bytes are kept for 1,000", held.load(Ordering::SeqCst));
}

#[test]
fn a_stalled_reader_of_a_reset_stream_is_told() {
    let settings = Settings { connection_credit: 1000, stream_credit: 1000, ..Settings::default() };
    let mut client = Streams::new(Role::Client, settings.clone(), settings, 1 << 24, Instant::now());
    let key = client.open::<TooLong>((), 0, false, |_| Ok(()), &Bytes::new(), true).unwrap();
    client.fill(&mut Vec::new(), Instant::now());
    let mut frames = Vec::new();
    frame::put_reply(&mut frames, 1, 9, none, b"", false).unwrap();
    frame::put_data(&mut frames, 1, [&[7; 1000][..]].into_iter(), true).unwrap();
    frame::put_reset(&mut frames, 1, ResetCode::Cancelled, ""); // The reply stands.
    receive(&mut client, &frames.into()).unwrap();
    let now = Instant::now();
    let limit = Duration::from_secs(10);
    client.reset_stalled(now, limit);
    client.reset_stalled(now + limit, limit);
    println!("{:?}", client.balance());
    while let Poll::Ready(Some(Ok(_))) = client.poll_piece(key, Waker::noop()) {}
    assert!(client.poll_piece(key, Waker::noop()).is_ready(), "nothing more comes, and nobody says so");
}

#[test]
fn trailers_that_are_too_long_have_a_budget() {
    let settings = Settings::default();
    let mut server = Streams::new(Role::Server, settings.clone(), settings, 1 << 24, Instant::now());
    let mut over = false;
    for n in 1..=20_000u32 {
        let mut frames = Vec::new();
        frame::put_call(&mut frames, 0, false, 9, none, b"", false).unwrap();
        frame::put_trailers(&mut frames, n, &[0; 16_385]).unwrap();
        match receive(&mut server, &frames.into()) {
            Ok(received) => {
                for one in received {
                    if let Received::Call { key, .. } = one {
                        server.release(key);
                    }
                }
            }
            Err(_) => {
                over = true;
                break;
            }
        }
    }
    let mut bytes = 0;
    let mut record = Vec::new();
    while !over && server.fill(&mut record, Instant::now()) != Filled::Nothing {
        bytes += record.len();
        record.clear();
    }
    assert!(
        over,
        "20,000 handlers were begun and broken off; {bytes} bytes of resets waited; is waiting_heads {}",
        server.waiting_heads()
    );
}

#[tokio::test(start_paused = true)]
async fn an_encoder_that_panics_leaves_no_stream() {
    let (near, _far) = duplex();
    let options = Options::default();
    let settings = options.settings.clone();
    let (caller, _client) = Driver::new(Role::Client, Box::new(near), options, settings, NoCalls);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = caller.call(|_| panic!("encoder"), SendBody::Whole(Bytes::new()), None);
    }));
    assert!(panicked.is_err());
    assert_eq!(caller.streams(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_whose_payload_panics_costs_its_call_alone() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("dropped")
            }
        }
    }
    let (near, far) = duplex();
    let options = Options::default();
    let settings = options.settings.clone();
    let (caller, client) = Driver::new(Role::Client, Box::new(near), options.clone(), settings.clone(), NoCalls);
    let serve = |call: Incoming| async move {
        let _call = call;
        std::panic::panic_any(Bomb);
    };
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, serve);
    tokio::spawn(client);
    let server = tokio::spawn(server);
    let (reply, _) = caller.call(text(""), SendBody::Whole(Bytes::new()), None).unwrap();
    let _ = reply.await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!server.is_finished(), "{:?}", server.await.map(|_| ()));
}

#[tokio::test(start_paused = true)]
async fn a_responder_that_is_used_twice_answers_no_other_call() {
    let (near, far) = duplex();
    let options = Options::default();
    let settings = options.settings.clone();
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    let keeps = kept.clone();
    let serve = move |mut call: Incoming| {
        let keeps = keeps.clone();
        async move {
            if call.head == "first" {
                call.responder.reply(text("to the first"), SendBody::Whole(Bytes::new())).unwrap();
                keeps.lock().unwrap().push(call.responder);
            } else if call.head == "last" {
                let mut old = keeps.lock().unwrap().pop().unwrap();
                let _ = old.reply(text("meant for the first"), SendBody::Whole(Bytes::new()));
                std::future::pending::<()>().await;
            } else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                call.responder.reply(text("burst"), SendBody::Whole(Bytes::new())).unwrap();
            }
        }
    };
    let (caller, client) = Driver::new(Role::Client, Box::new(near), options.clone(), settings.clone(), NoCalls);
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, serve);
    tokio::spawn(client);
    tokio::spawn(server);
    let call = |head: &str| caller.call(text(head), SendBody::Whole(Bytes::new()), None).unwrap().0;
    call("first").await.unwrap();
    let burst: Vec<_> = (0..1100).map(|_| call("burst")).collect();
    for reply in burst {
        reply.await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let last = tokio::time::timeout(Duration::from_secs(5), call("last")).await;
    assert!(last.is_err(), "{:?}", last.unwrap().unwrap().head);
}

#[test]
fn a_waker_of_before_is_not_dropped_under_the_lock() {
    use fastrpc::internals::session::Caller;
    use std::future::Future;
    use std::task::{Context, Wake};
    struct Looks(Caller);
    impl Wake for Looks {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Looks {
        fn drop(&mut self) {
            let _ = self.0.streams();
        }
    }
    let (done, told) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _in = runtime.enter();
        let (near, _far) = duplex();
        let options = Options::default();
        let settings = options.settings.clone();
        let (caller, _client) = Driver::new(Role::Client, Box::new(near), options, settings, NoCalls);
        let (mut reply, _) = caller.call(text(""), SendBody::Whole(Bytes::new()), None).unwrap();
        let first = Waker::from(Arc::new(Looks(caller.clone())));
        let _ = std::pin::Pin::new(&mut reply).poll(&mut Context::from_waker(&first));
        drop(first);
        let _ = std::pin::Pin::new(&mut reply).poll(&mut Context::from_waker(Waker::noop()));
        done.send(()).unwrap();
    });
    told.recv_timeout(Duration::from_secs(5)).expect("it locked itself out");
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

#[test]
fn heads_of_cancelled_calls_do_not_pile_up() {
    let settings = Settings::default();
    let mut client = Streams::new(Role::Client, settings.clone(), settings, 1 << 24, Instant::now());
    for _ in 0..10_000 {
        let key = client.open::<TooLong>((), 0, false, |_| Ok(()), &vec![7; 10_000].into(), false).unwrap();
        client.reset(key, ResetCode::Cancelled, "");
        client.release(key);
    }
    assert_eq!(client.len(), 0);
    assert!(client.waiting_heads() < 1 << 20, "{} bytes for nobody", client.waiting_heads());
}
