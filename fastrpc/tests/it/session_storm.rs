//! Very many calls on one framed connection, many of them broken off at any moment: nothing may be left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use fastrpc::internals::framed::Role;
use fastrpc::internals::session::{Caller, Driver, Incoming, NoCalls, Options, SendBody};
use fastrpc::wire::framed::codec::RecordCodec;
use fastrpc::wire::framed::frame::ResetCode;
use fastrpc::{BoxError, Error};
use testkit::pipe::duplex;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};

const CALLS: usize = 100_000;
const CALLERS: usize = 50;

/// Counts the handlers that run.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn head(byte: u8) -> impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError> {
    move |out| {
        out.push(byte);
        Ok(())
    }
}

/// Does what the call's head says: answers at once, later, in pieces, breaks it off, forgets it, or never ends.
async fn serve(mut call: Incoming, running: Arc<AtomicUsize>) {
    let _running = Running::new(&running);
    let mut responder = call.responder;
    match call.head[0] {
        0 => drop(responder.reply(head(0), SendBody::Whole(Bytes::from_static(b"at once")))),
        1 => {
            sleep(Duration::from_millis(5)).await;
            drop(responder.reply(head(1), SendBody::Whole(Bytes::from_static(b"later"))));
        }
        2 => {
            let Ok(Some(mut writer)) = responder.reply(head(2), SendBody::Pieces) else { return };
            while let Some(Ok(piece)) = call.body.piece().await {
                if writer.write(piece).await.is_err() {
                    return;
                }
            }
            let _ = writer.finish(None);
        }
        3 => responder.fail(ResetCode::Failed, "as it was asked to".to_owned()),
        4 => {}
        _ => std::future::pending().await,
    }
}

/// One call, given up at any moment or not. Replies are what their heads say.
async fn call(caller: &Caller, random: &mut Rng) {
    let kind = random.u8(0..6);
    let pieces = random.usize(0..4);
    let body = if random.bool() { SendBody::Pieces } else { SendBody::Whole(Bytes::from(vec![kind; pieces * 5000])) };
    let limit = Some(Duration::from_millis(random.u64(1..50)));
    let Ok((mut reply, writer)) = caller.call(head(kind), body, limit) else { panic!("the connection lives") };
    if let Some(mut writer) = writer {
        for _ in 0..pieces {
            if writer.write(Bytes::from(vec![kind; 5000])).await.is_err() {
                break;
            }
        }
        if random.u8(0..4) > 0 {
            let _ = writer.finish(None);
        }
    }
    for _ in 0..random.usize(0..3) {
        yield_now().await;
    }
    if random.u8(0..4) == 0 {
        return; // Given up.
    }
    let outcome: Result<_, Error> = (&mut reply).await;
    let Ok(mut reply) = outcome else { return };
    assert_eq!(reply.head[..], [kind], "a reply of another call");
    let mut read = 0;
    while let Some(Ok(piece)) = reply.body.piece().await {
        read += piece.len();
        assert!(kind != 2 || piece.iter().all(|byte| *byte == 2));
        if random.u8(0..10) == 0 {
            return; // Enough of it.
        }
    }
    assert!(kind == 2 || read == if kind == 0 { 7 } else { 5 });
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_calls_leave_nothing_behind() {
    let running = Arc::new(AtomicUsize::new(0));
    let counted = running.clone();
    let (near, far) = duplex();
    let options = Options { codec: RecordCodec::Lz4, ..Options::default() };
    let settings = options.settings.clone();
    let (caller, client) = Driver::new(Role::Client, Box::new(near), options.clone(), settings.clone(), NoCalls);
    let handler = move |call: Incoming| serve(call, counted.clone());
    let (server, driver) = Driver::new(Role::Server, Box::new(far), options.clone(), settings, handler);
    let drivers = [tokio::spawn(client), tokio::spawn(driver)];

    let mut callers = JoinSet::new();
    for seed in 0..CALLERS as u64 {
        let caller = caller.clone();
        callers.spawn(async move {
            let mut random = Rng::with_seed(seed);
            for _ in 0..CALLS / CALLERS {
                call(&caller, &mut random).await;
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
    // What was given up last still has to be told.
    sleep(Duration::from_secs(1)).await;
    assert_eq!((caller.streams(), server.streams(), running.load(Ordering::SeqCst)), (0, 0, 0));
    let (near, far) = (caller.balance(), server.balance());
    assert_eq!((near.unread, far.unread), (0, 0));
    assert_eq!((near.credit, far.credit), (far.granted, near.granted), "credit was lost, or made");
    caller.drain();
    for driver in drivers {
        timeout(Duration::from_secs(5), driver).await.expect("it ends").unwrap().unwrap();
    }
}
