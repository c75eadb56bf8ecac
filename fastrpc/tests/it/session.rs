//! Framed connections over pipes, in virtual time.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use fastrpc::internals::framed::Role;
use fastrpc::internals::session::{
    BodyReader, BodyWriter, Caller, Driver, Incoming, NoCalls, Options, Reply, ReplyFuture, SendBody, Serve,
};
use fastrpc::wire::framed::codec::RecordCodec;
use fastrpc::wire::framed::frame;
use fastrpc::wire::framed::record::RecordEncoder;
use fastrpc::wire::framed::settings::Settings;
use fastrpc::{Error, ErrorKind};
use testkit::pipe::{Way, duplex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

pub(crate) const S: Duration = Duration::from_secs(1);

/// A client, and what its connection is made of.
pub(crate) struct Scene {
    pub(crate) caller: Caller,
    /// To drain or end the server's end.
    pub(crate) far: Caller,
    pub(crate) client: JoinHandle<Result<(), Error>>,
    pub(crate) server: JoinHandle<Result<(), Error>>,
    pub(crate) up: Way,
    pub(crate) down: Way,
}

fn scene(codec: RecordCodec, serve: impl Serve) -> Scene {
    let settings = Settings { codecs: vec![1, 2], ..Settings::default() };
    let options = Options { settings, codec, most_window: 1 << 24, ..Options::default() };
    with_options(options.clone(), options, serve)
}

/// A scene of a client and a server with these options.
pub(crate) fn with_options(ours: Options, theirs: Options, serve: impl Serve) -> Scene {
    let (near, far) = duplex();
    let (up, down) = (near.outgoing(), near.incoming());
    let (of_client, of_server) = (ours.settings.clone(), theirs.settings.clone());
    let (caller, client) = Driver::new(Role::Client, Box::new(near), ours, of_server, NoCalls);
    let (far, server) = Driver::new(Role::Server, Box::new(far), theirs, of_client, serve);
    Scene { caller, far, client: tokio::spawn(client), server: tokio::spawn(server), up, down }
}

impl Scene {
    pub(crate) fn call(&self, head: &str, body: &[u8]) -> ReplyFuture {
        let body = SendBody::Whole(Bytes::copy_from_slice(body));
        self.caller.call(text(head), body, None).expect("the connection is open").0
    }

    pub(crate) fn stream(&self, head: &str) -> (ReplyFuture, BodyWriter) {
        let (reply, writer) = self.caller.call(text(head), SendBody::Pieces, None).expect("the connection is open");
        (reply, writer.expect("it was asked for"))
    }

    pub(crate) async fn drained(self) {
        self.caller.drain();
        let (client, server) = (self.client.await.unwrap(), self.server.await.unwrap());
        assert!(client.is_ok() && server.is_ok(), "{client:?} {server:?}");
    }
}

pub(crate) fn text(head: &str) -> impl FnOnce(&mut Vec<u8>) -> Result<(), fastrpc::BoxError> {
    let head = head.as_bytes().to_vec();
    move |out| {
        out.extend_from_slice(&head);
        Ok(())
    }
}

pub(crate) async fn all(body: &mut BodyReader) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.piece().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

/// Answers each call with its own head and body: at once, or piece by piece.
pub(crate) async fn echo(mut call: Incoming) {
    let head = String::from_utf8(call.head.to_vec()).unwrap();
    if head.starts_with("pieces") {
        let mut writer = call.responder.reply(text(&head), SendBody::Pieces).unwrap().unwrap();
        while let Some(Ok(piece)) = call.body.piece().await {
            if writer.write(piece).await.is_err() {
                return;
            }
        }
        let trailers = call.body.trailers();
        writer.finish(trailers).unwrap();
    } else {
        let Ok(body) = all(&mut call.body).await else { return };
        call.responder.reply(text(&head), SendBody::Whole(body.into())).unwrap();
    }
}

/// Bytes that no shift of them equals.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..length).map(|_| random.u8(..)).collect()
}

#[tokio::test(start_paused = true)]
async fn calls_are_answered_with_their_own_heads_and_bodies_whatever_the_codec() {
    for codec in [RecordCodec::None, RecordCodec::Lz4, RecordCodec::Zstd] {
        let scene = scene(codec, echo);
        let calls = (0..60).map(|n| (n, scene.call(&format!("head {n}"), &noise(n * 400))));
        for (n, reply) in calls.collect::<Vec<_>>() {
            let mut reply = reply.await.unwrap();
            assert_eq!(reply.head, format!("head {n}"));
            assert_eq!(all(&mut reply.body).await.unwrap(), noise(n * 400));
        }
        scene.drained().await;
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_stream_both_ways_at_once_and_trailers_come_behind() {
    let scene = scene(RecordCodec::Zstd, echo);
    let (reply, mut writer) = scene.stream("pieces");
    let Reply { mut body, .. } = reply.await.unwrap();
    for n in 0..20 {
        let piece = Bytes::from(noise(n * 5000 + 1));
        writer.write(piece.clone()).await.unwrap();
        let mut back = Vec::new();
        while back.len() < piece.len() {
            back.extend_from_slice(&body.piece().await.unwrap().unwrap());
        }
        assert_eq!(back, piece, "it comes back before the next one goes");
    }
    writer.finish(Some(Bytes::from_static(b"checksum"))).unwrap();
    assert!(body.piece().await.is_none());
    assert_eq!(body.trailers().unwrap(), "checksum");
    drop(body);
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_small_reply_overtakes_a_large_body() {
    let scene = scene(RecordCodec::None, echo);
    scene.down.set_capacity(100_000);
    scene.up.set_capacity(100_000);
    let large = scene.call("pieces", &noise(3_000_000));
    let Reply { body: mut large, .. } = large.await.unwrap();
    let mut reply = scene.call("small", b"hello").await.unwrap();
    assert_eq!(all(&mut reply.body).await.unwrap(), b"hello", "though nobody reads the large one");
    assert_eq!(all(&mut large).await.unwrap().len(), 3_000_000);
    drop(large);
    scene.drained().await;
}

/// Tells when it is dropped.
struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Handlers that never end, and how many there are.
pub(crate) fn endless() -> (impl Serve, Arc<AtomicUsize>, Arc<Notify>) {
    let (alive, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (counted, told) = (alive.clone(), begun.clone());
    let serve = move |call: Incoming| {
        counted.fetch_add(1, Ordering::SeqCst);
        let alive = Alive(counted.clone());
        told.notify_one();
        async move {
            let _held = (call, alive);
            pending::<()>().await;
        }
    };
    (serve, alive, begun)
}

pub(crate) async fn until_none(alive: &AtomicUsize) {
    timeout(
        S,
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if alive.load(Ordering::SeqCst) == 0 { Poll::Ready(()) } else { Poll::Pending }
        }),
    )
    .await
    .expect("handlers end");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_drops_its_handler() {
    let (serve, alive, begun) = endless();
    let scene = scene(RecordCodec::Zstd, serve);
    let calls = [scene.call("one", b""), scene.call("two", &noise(200_000))];
    begun.notified().await;
    drop(calls);
    until_none(&alive).await;
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_call_on_both_sides() {
    let (serve, alive, begun) = endless();
    let scene = scene(RecordCodec::None, serve);
    let start = Instant::now();
    let (reply, _) = scene.caller.call(text("late"), SendBody::Whole(Bytes::new()), Some(3 * S)).unwrap();
    begun.notified().await;
    let Err(error) = reply.await else { panic!("nobody answers") };
    assert!(error.is_timeout() && start.elapsed() < 3 * S + Duration::from_millis(10), "{error} {:?}", start.elapsed());
    until_none(&alive).await;
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_drops_work_whose_time_is_over_even_if_its_caller_cannot_say_so() {
    let (serve, alive, begun) = endless();
    let scene = scene(RecordCodec::None, serve);
    let (_reply, _) = scene.caller.call(text("late"), SendBody::Whole(Bytes::new()), Some(3 * S)).unwrap();
    begun.notified().await;
    scene.up.choke();
    tokio::time::sleep(3 * S + Duration::from_millis(10)).await;
    until_none(&alive).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_peer_is_noticed_in_ten_seconds() {
    let (serve, ..) = endless();
    let scene = scene(RecordCodec::None, serve);
    let reply = scene.call("never answered", b"");
    tokio::time::sleep(7 * S).await;
    let start = Instant::now();
    scene.down.hold();
    let Err(error) = reply.await else { panic!("nobody answers") };
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert_eq!(error.to_string(), "nothing was heard from the peer for 10 s");
    assert!(start.elapsed() <= 10 * S && !error.may_retry(), "{:?}", start.elapsed());
    let Err(error) = scene.caller.call(text("late"), SendBody::Pieces, None) else { panic!("it is over") };
    assert!(error.may_retry());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_lives_by_its_pings() {
    let (serve, ..) = endless();
    let scene = scene(RecordCodec::None, serve);
    let mut reply = scene.call("long", b"");
    tokio::time::sleep(1000 * S).await;
    assert!(poll_fn(|cx| Poll::Ready(Pin::new(&mut reply).poll(cx).is_pending())).await);
    drop(reply);
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_or_forgets_its_reply_costs_its_call_alone() {
    let scene = scene(RecordCodec::None, |call: Incoming| async move {
        match &call.head[..] {
            b"panic" => panic!("as it was asked to"),
            b"forget" => {}
            _ => echo(call).await,
        }
    });
    for head in ["panic", "forget"] {
        let Err(error) = scene.call(head, b"").await else { panic!("nobody answers") };
        let text = "the peer reset the stream: failed (its handler ended without a reply)";
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Reset, text));
    }
    assert_eq!(scene.call("fine", b"").await.unwrap().head, "fine");
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_never_taken_for_a_whole_one() {
    let (ends, mut told) = mpsc::channel(1);
    let scene = scene(RecordCodec::Lz4, move |mut call: Incoming| {
        let ends = ends.clone();
        async move {
            let end = all(&mut call.body).await.map(|body| body.len()).map_err(|error| error.to_string());
            ends.send(end).await.unwrap();
            pending::<()>().await;
        }
    });
    let (reply, mut writer) = scene.stream("upload");
    writer.write(Bytes::from(noise(100_000))).await.unwrap();
    drop(writer);
    let Err(error) = reply.await else { panic!("it broke off") };
    assert_eq!(error.to_string(), "this side reset the stream: failed (the body ended before its end)");
    // The handler is dropped with its call; if it saw an end before that, it saw an error.
    if let Ok(end) = told.try_recv() {
        end.unwrap_err();
    }
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_everything_finish_and_refuses_nothing() {
    let (go, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (released, arrived) = (go.clone(), gate.clone());
    let scene = scene(RecordCodec::Zstd, move |call: Incoming| {
        let (go, gate) = (released.clone(), arrived.clone());
        async move {
            gate.notify_one();
            go.notified().await;
            echo(call).await;
        }
    });
    let first = scene.call("first", &noise(50_000));
    gate.notified().await;
    let last = scene.call("last", b"");
    scene.caller.drain();
    let Err(error) = scene.caller.call(text("late"), SendBody::Pieces, None) else { panic!("it drains") };
    assert!(error.is_closed() && error.may_retry());
    go.notify_one();
    assert_eq!(all(&mut first.await.unwrap().body).await.unwrap().len(), 50_000);
    gate.notified().await;
    go.notify_one();
    assert_eq!(last.await.unwrap().head, "last");
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn two_full_pipes_never_wait_for_each_other() {
    let scene = scene(RecordCodec::None, echo);
    scene.up.set_capacity(1000);
    scene.down.set_capacity(1000);
    let calls: Vec<_> = (0..8)
        .map(|n| {
            let (reply, mut writer) = scene.stream("pieces");
            let sent = tokio::spawn(async move {
                for _ in 0..50 {
                    writer.write(Bytes::from(vec![n; 10_000])).await.unwrap();
                }
                writer.finish(None).unwrap();
            });
            let received = tokio::spawn(async move {
                let body = all(&mut reply.await.unwrap().body).await.unwrap();
                assert!(body.len() == 500_000 && body.iter().all(|byte| *byte == n));
            });
            [sent, received]
        })
        .collect();
    for task in calls.into_iter().flatten() {
        timeout(60 * S, task).await.expect("nothing hangs").unwrap();
    }
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_fails_everything_with_its_cause() {
    let (serve, alive, begun) = endless();
    let scene = scene(RecordCodec::None, serve);
    let reply = scene.call("waits", b"");
    begun.notified().await;
    scene.down.end();
    let Err(error) = reply.await else { panic!("nobody answers") };
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Connection, "the peer closed"));
    assert!(!error.may_retry(), "it was sent");
    until_none(&alive).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_gives_its_compression_up_and_takes_it_again() {
    let scene = scene(RecordCodec::Zstd, echo);
    let call = async |head: &str| {
        let before = scene.up.written();
        let mut reply = scene.call(head, &noise(10_000)).await.unwrap();
        assert_eq!(all(&mut reply.body).await.unwrap(), noise(10_000));
        scene.up.written() - before
    };
    assert!(call("first").await > 10_000, "noise does not compress");
    assert!(call("again").await < 1000, "but it is known by now");
    scene.up.record();
    tokio::time::sleep(90 * S).await;
    assert!(call("later").await > 10_000, "and then forgotten");
    // What was written in between: pings, raw, and the end of the zstd frame: a record of no plain bytes.
    let recorded = scene.up.recorded();
    assert!(recorded.windows(5).any(|header| header == [2, 0, 0, 3, 0]), "{recorded:x?}");
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_lets_calls_wait_whose_replies_are_not_read() {
    let served = Arc::new(AtomicUsize::new(0));
    let counted = served.clone();
    let scene = scene(RecordCodec::None, move |call: Incoming| {
        counted.fetch_add(1, Ordering::SeqCst);
        echo(call)
    });
    scene.down.choke();
    let calls: Vec<_> = (0..400).map(|_| scene.call("call", &noise(10_000))).collect();
    tokio::time::sleep(S).await;
    let begun = served.load(Ordering::SeqCst);
    assert!((100..150).contains(&begun), "1 MiB of replies lie unread, and a record's calls: {begun}");
    scene.down.allow_all();
    for call in calls {
        assert_eq!(all(&mut call.await.unwrap().body).await.unwrap().len(), 10_000);
    }
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_holds_while_the_peer_reads_nothing() {
    let (serve, ..) = endless();
    let scene = scene(RecordCodec::None, serve);
    scene.up.choke();
    let _long: Vec<_> = (0..10).map(|_| scene.call("fills what may wait", &noise(16_000))).collect();
    tokio::time::sleep(S / 2).await;
    let start = Instant::now();
    let (reply, _) = scene.caller.call(text("late"), SendBody::Whole(Bytes::new()), Some(S / 10)).unwrap();
    let Err(error) = reply.await else { panic!("it never left") };
    assert!(error.is_timeout() && error.may_retry(), "{error}");
    assert!(start.elapsed() <= S / 10 + Duration::from_millis(2), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_drain_has_a_bound() {
    let (serve, alive, begun) = endless();
    let scene = scene(RecordCodec::None, serve);
    let reply = scene.call("never answered", b"");
    begun.notified().await;
    let start = Instant::now();
    scene.caller.drain();
    let Err(error) = reply.await else { panic!("nobody answers") };
    assert_eq!(error.to_string(), "calls went on for 60 s after the drain");
    assert!(start.elapsed() >= 60 * S && start.elapsed() <= 63 * S, "{:?}", start.elapsed());
    until_none(&alive).await;
    assert!(scene.server.await.unwrap().is_ok(), "it was told");
}

#[tokio::test(start_paused = true)]
async fn what_connections_do_is_counted() {
    let (near, far) = duplex();
    let (ours, theirs) = (Options::default(), Options::default());
    let settings = ours.settings.clone();
    let (caller, client) = Driver::new(Role::Client, Box::new(near), ours.clone(), settings.clone(), NoCalls);
    let (_, server) = Driver::new(Role::Server, Box::new(far), theirs.clone(), settings, echo);
    let drivers = [tokio::spawn(client), tokio::spawn(server)];
    for n in 0..10 {
        let body = SendBody::Whole(Bytes::from(vec![n; 1000]));
        caller.call(text("head"), body, None).unwrap().0.await.unwrap();
    }
    caller.drain();
    for driver in drivers {
        driver.await.unwrap().unwrap();
    }
    let (client, server) = (ours.counted.stats(), theirs.counted.stats());
    assert_eq!((client.replies, server.calls, client.connections, server.connections), (10, 10, 1, 1));
    assert_eq!((client.bytes_out, client.wire_bytes_out), (server.bytes_in, server.wire_bytes_in));
    assert!(client.bytes_out > 10_000 && client.wire_bytes_out < 1000, "{client:?}");
    assert_eq!((client.connection_errors, server.connection_errors), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn heads_ahead_of_the_reply_are_seen_by_who_asks() {
    let scene = scene(RecordCodec::Zstd, |mut call: Incoming| async move {
        for n in 0..20 {
            call.responder.interim(text(&format!("early {n}"))).unwrap();
            tokio::time::sleep(S).await;
        }
        call.responder.reply(text("final"), SendBody::Whole(Bytes::new())).unwrap();
    });
    let start = Instant::now();
    let mut reply = scene.call("asks", b"");
    for n in 0..20u32 {
        assert_eq!(reply.interim().await.unwrap(), format!("early {n}"));
        assert!(start.elapsed() < S * n + Duration::from_millis(5), "it is there when it was sent");
    }
    assert!(reply.interim().await.is_none());
    assert_eq!(reply.await.unwrap().head, "final");

    let mut patient = scene.call("waits", b"");
    tokio::time::sleep(30 * S).await;
    for n in 4..20 {
        assert_eq!(patient.interim().await.unwrap(), format!("early {n}"), "the last 16 are kept");
    }
    assert_eq!(patient.await.unwrap().head, "final");
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_compressed_alone_tell_nothing_of_others_by_their_size() {
    let secret = noise(2000);
    let mut sizes = Vec::new();
    for before in [&secret, &noise(4000)[2000..].to_vec()] {
        let (near, far) = duplex();
        let up = near.outgoing();
        let options = Options { each_alone: true, ..Options::default() };
        let settings = options.settings.clone();
        let (caller, client) = Driver::new(Role::Client, Box::new(near), options.clone(), settings.clone(), NoCalls);
        let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, echo);
        tokio::spawn(client);
        tokio::spawn(server);
        let call = async |body: &[u8]| {
            let body = SendBody::Whole(Bytes::copy_from_slice(body));
            caller.call(text("head"), body, None).unwrap().0.await.unwrap()
        };
        call(before).await;
        let start = up.written();
        // At the same time as another, too.
        tokio::join!(call(&secret), call(before));
        sizes.push(up.written() - start);
    }
    assert_eq!(sizes[0], sizes[1], "what went before, or goes beside it, does not show");
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_age_drains_whichever_side_is_told_so() {
    for old in [Role::Client, Role::Server] {
        let (near, far) = duplex();
        let of = |role| Options { max_age: (role == old).then_some(100 * S), ..Options::default() };
        let settings = Options::default().settings;
        let (caller, client) = Driver::new(Role::Client, Box::new(near), of(Role::Client), settings.clone(), NoCalls);
        let slow = |call: Incoming| async move {
            tokio::time::sleep(20 * S).await;
            echo(call).await;
        };
        let (_, server) = Driver::new(Role::Server, Box::new(far), of(Role::Server), settings, slow);
        let drivers = [tokio::spawn(client), tokio::spawn(server)];
        let (start, mut calls) = (Instant::now(), Vec::new());
        let refused = loop {
            match caller.call(text("call"), SendBody::Whole(Bytes::new()), None) {
                Ok((reply, _)) => calls.push(reply),
                Err(error) => break error,
            }
            tokio::time::sleep(S).await;
        };
        assert!(
            refused.may_retry() && start.elapsed() >= 90 * S && start.elapsed() <= 103 * S,
            "{:?}",
            start.elapsed()
        );
        for call in calls {
            assert_eq!(call.await.unwrap().head, "call", "what had begun is finished");
        }
        for driver in drivers {
            driver.await.unwrap().unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_taken_for_dead_is_told_so() {
    let scene = scene(RecordCodec::None, echo);
    tokio::time::sleep(S).await;
    scene.down.hold();
    scene.up.record();
    let error = scene.client.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "nothing was heard from the peer for 10 s");
    let said = scene.up.recorded();
    assert!(
        said.windows(5).any(|window| window[..2] == [11, 0] && window[3..] == [6, 0]),
        "a close of code 6: {said:x?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_answers_a_call_that_wants_no_answer_does_no_harm() {
    let (ends, mut told) = mpsc::channel(1);
    let (near, far) = duplex();
    let options = Options::default();
    let settings = options.settings.clone();
    let serve = move |mut call: Incoming| {
        let ends = ends.clone();
        async move {
            let writer = call.responder.reply(text("answer"), SendBody::Pieces).unwrap();
            assert!(call.one_way && writer.is_none());
            ends.send(all(&mut call.body).await.unwrap().len()).await.unwrap();
        }
    };
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, serve);
    tokio::spawn(server);
    let (mut frames, mut record) = (Vec::new(), Vec::new());
    let head = |_: &mut Vec<u8>| -> Result<(), frame::TooLong> { Ok(()) };
    frame::put_call(&mut frames, 0, true, 9, head, b"", false).unwrap();
    frame::put_data(&mut frames, 1, [&[0; 3000][..]].into_iter(), false).unwrap();
    frame::put_data(&mut frames, 1, [&[0; 4000][..]].into_iter(), true).unwrap();
    RecordEncoder::new(RecordCodec::None, 22).encode_raw(&frames, &mut record);
    let mut near = near;
    near.write_all(&record).await.unwrap();
    assert_eq!(told.recv().await, Some(7000));
}

#[tokio::test(start_paused = true)]
async fn calls_that_had_to_wait_for_room_go_on_at_once() {
    let (mut near, far) = duplex();
    near.outgoing().set_capacity(1 << 20);
    near.incoming().set_capacity(1 << 20);
    let options = Options { codec: RecordCodec::None, max_unread: 1000, ..Options::default() };
    let settings = options.settings.clone();
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, echo);
    tokio::spawn(server);
    let (mut record, mut wire) = (Vec::new(), Vec::new());
    let head = |_: &mut Vec<u8>| -> Result<(), frame::TooLong> { Ok(()) };
    frame::put_call(&mut record, 0, false, 9, head, &[7; 2000], true).unwrap();
    for _ in 0..100 {
        RecordEncoder::new(RecordCodec::None, 22).encode_raw(&record, &mut wire);
    }
    near.write_all(&wire).await.unwrap();
    let start = Instant::now();
    let (mut replied, mut bytes) = (0, [0; 4096]);
    while replied < 100 * 2000 {
        replied += near.read(&mut bytes).await.unwrap();
    }
    assert!(start.elapsed() < S / 10, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_reply_is_told_when_the_calls_own_body_breaks() {
    let (serve, alive, begun) = endless();
    let scene = scene(RecordCodec::None, serve);
    let (reply, mut writer) = scene.stream("broken");
    writer.write(Bytes::from_static(b"the first half")).await.unwrap();
    let waiting = tokio::spawn(reply);
    begun.notified().await;
    drop(writer);
    let outcome = timeout(S, waiting).await.expect("it is told").unwrap();
    assert_eq!(outcome.err().map(|error| error.kind()), Some(ErrorKind::Reset));
    until_none(&alive).await;
    scene.drained().await;
}
