//! What the programs around a framed connection learn of it and may do with it: writers of bodies, callers, drains. Time is
//! virtual.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use bytes::Bytes;
use fastrpc::ErrorKind;
use fastrpc::internals::session::{Incoming, Options, SendBody};
use fastrpc::wire::framed::codec::RecordCodec;

use crate::session::{S, all, echo, endless, text, with_options};

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
