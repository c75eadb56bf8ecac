//! How callers and servers look after a framed connection: what waits on it, who gives way, and how it ends. Time is virtual.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use fastrpc::ErrorKind;
use fastrpc::internals::framed::Role;
use fastrpc::internals::session::{Driver, Incoming, NoCalls, Options, SendBody};
use fastrpc::wire::framed::codec::RecordCodec;
use testkit::pipe::duplex;
use tokio::sync::Notify;

use crate::session::{S, Scene, all, echo, endless, noise, text, until_none, with_options};

fn raw() -> Options {
    Options { codec: RecordCodec::None, ..Options::default() }
}

/// A connection whose peer reads nothing, and calls that fill what may wait.
async fn stuck() -> (Scene, Vec<fastrpc::internals::session::ReplyFuture>) {
    let scene = with_options(raw(), raw(), echo);
    tokio::time::sleep(S).await;
    scene.up.choke();
    let fill = (0..10).map(|_| scene.call("fills", &[7; 16_000])).collect();
    tokio::time::sleep(S).await;
    (scene, fill)
}

#[tokio::test(start_paused = true)]
async fn a_caller_knows_what_waits() {
    let (scene, fill) = stuck().await;
    let before = scene.caller.unsent();
    assert_eq!((before > 0, scene.caller.pending()), (true, 10));
    let small = scene.call("12345", &[7; 1000]);
    let (stream, _writer) = scene.stream("12345");
    assert!((1010..1030).contains(&(scene.caller.unsent() - before)), "{}", scene.caller.unsent() - before);
    assert_eq!(scene.caller.pending(), 12);
    drop((small, stream));
    assert_eq!((scene.caller.unsent(), scene.caller.pending()), (before, 10), "what was given up waits no more");
    scene.up.allow_all();
    for call in fill {
        call.await.unwrap();
    }
    assert_eq!((scene.caller.unsent(), scene.caller.pending()), (0, 0));
    let call = scene.call("pieces", &noise(500_000));
    let mut reply = call.await.unwrap();
    assert_eq!(scene.caller.pending(), 0, "its head has come, though its body has not");
    all(&mut reply.body).await.unwrap();
    drop(reply);
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn the_oldest_unsent_call_gives_way() {
    let (scene, fill) = stuck().await;
    while scene.caller.displace_oldest() {}
    let mut displaced = 0;
    let gone = scene.call("gone", b"");
    let (oldest, mut writer) = scene.stream("oldest");
    let newest = scene.call("newest", b"");
    drop(gone);
    assert!(scene.caller.displace_oldest());
    let error = oldest.await.err().expect("it gave way");
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Overload, true));
    assert_eq!(error.to_string(), "gave way to a newer call at the pending limit: raise max_pending or send less");
    assert!(writer.sent().await.unwrap_err().may_retry());
    scene.up.allow_all();
    assert_eq!(newest.await.unwrap().head, "newest");
    for call in fill {
        match call.await {
            Ok(reply) => assert_eq!(reply.head, "fills", "what was sent stays"),
            Err(error) => displaced += usize::from(error.is_overload()),
        }
    }
    assert!((2..8).contains(&displaced), "what was unsent went: {displaced}");
    assert!(!scene.caller.displace_oldest(), "nothing is unsent");
    drop(writer);
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_knows_whether_it_may_call() {
    let scene = with_options(raw(), raw(), echo);
    assert!(scene.caller.is_usable());
    scene.far.drain();
    assert!(scene.caller.is_usable(), "it has not heard of it");
    scene.client.await.unwrap().unwrap();
    assert!(!scene.caller.is_usable());
    let scene = with_options(raw(), raw(), echo);
    scene.caller.drain();
    assert!(!scene.caller.is_usable());
}

#[tokio::test(start_paused = true)]
async fn a_close_fails_everything_at_once_and_ends_the_driver() {
    let (serve, alive, begun) = endless();
    let scene = with_options(raw(), raw(), serve);
    let sent = scene.call("sent", b"");
    begun.notified().await;
    let (streamed, mut writer) = scene.stream("body");
    begun.notified().await;
    scene.up.choke();
    let _fill: Vec<_> = (0..10).map(|_| scene.call("fills", &[7; 16_000])).collect();
    tokio::time::sleep(S).await;
    let unsent = scene.call("unsent", b"");
    let ended = scene.caller.clone();
    let ended = tokio::spawn(async move { ended.ended().await });
    tokio::time::sleep(S).await;
    assert!(!ended.is_finished());
    scene.caller.close();
    scene.caller.close();
    for (call, retry) in [(sent, false), (streamed, false), (unsent, true)] {
        let error = call.await.err().expect("it was closed");
        assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Closed, retry));
        assert_eq!(error.to_string(), "the connection was closed");
    }
    assert_eq!(writer.write(Bytes::from_static(b"late")).await.unwrap_err().kind(), ErrorKind::Closed);
    let Err(error) = scene.caller.call(text("late"), SendBody::Pieces, None) else { panic!("it is over") };
    assert!(error.is_closed() && error.may_retry());
    assert!(!scene.caller.is_usable());
    scene.client.await.unwrap().expect("it was asked to");
    ended.await.unwrap();
    scene.caller.ended().await;
    // What was under way still goes, and then nothing: the server sees an end.
    scene.up.allow_all();
    scene.server.await.unwrap().unwrap_err();
    until_none(&alive).await;
}

#[tokio::test(start_paused = true)]
async fn the_peer_is_told_of_a_close() {
    let (serve, alive, begun) = endless();
    let scene = with_options(raw(), raw(), serve);
    let call = scene.call("call", b"");
    begun.notified().await;
    scene.caller.close();
    scene.server.await.unwrap().expect("a close for no fault of its own");
    until_none(&alive).await;
    call.await.err().expect("it was closed");
}

#[tokio::test(start_paused = true)]
async fn the_end_is_heard_of_a_driver_that_was_dropped() {
    let (near, _far) = duplex();
    let settings = raw().settings;
    let (caller, driver) = Driver::new(Role::Client, Box::new(near), raw(), settings, NoCalls);
    let waits = tokio::spawn(async move { caller.ended().await });
    tokio::time::sleep(S).await;
    assert!(!waits.is_finished());
    drop(driver);
    waits.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drains_answers_what_it_has_and_ends() {
    let (go, served) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (gate, counted) = (go.clone(), served.clone());
    let serve = move |call: Incoming| {
        let (gate, counted) = (gate.clone(), counted.clone());
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            gate.notified().await;
            echo(call).await;
        }
    };
    let (near, far) = duplex();
    let (up, settings) = (near.outgoing(), raw().settings);
    let (caller, client) = Driver::new(Role::Client, Box::new(near), raw(), settings.clone(), NoCalls);
    let (_, server) = Driver::new(Role::Server, Box::new(far), raw(), settings, serve);
    let drain = server.drain_handle();
    let [client, server] = [tokio::spawn(client), tokio::spawn(server)];
    let call = |head: &str| caller.call(text(head), SendBody::Whole(Bytes::new()), None).unwrap().0;
    let first = call("before the drain");
    tokio::time::sleep(S).await;
    assert_eq!((drain.open_calls(), served.load(Ordering::SeqCst)), (1, 1));
    up.hold();
    let crossing = call("crosses the drain");
    tokio::time::sleep(S).await;
    drain.drain();
    tokio::time::sleep(S).await;
    assert!(!caller.is_usable(), "it has heard of it");
    up.deliver_all();
    go.notify_one();
    assert_eq!(first.await.unwrap().head, "before the drain");
    tokio::time::sleep(S).await;
    assert!(!server.is_finished() && !client.is_finished());
    go.notify_one();
    assert_eq!(crossing.await.unwrap().head, "crosses the drain");
    drain.ended().await;
    server.await.unwrap().unwrap();
    client.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_closes_what_goes_on() {
    let (serve, alive, begun) = endless();
    let scene = with_options(raw(), raw(), serve);
    let call = scene.call("call", b"");
    begun.notified().await;
    scene.far.close();
    scene.server.await.unwrap().unwrap();
    until_none(&alive).await;
    assert!(call.await.is_err());
    scene.client.await.unwrap().unwrap();
}
