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

mod crowded;
mod drains;
mod failures;
mod given_up;
mod lost;

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
