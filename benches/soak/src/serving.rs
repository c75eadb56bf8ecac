//! The far side: does what each call asks for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use crate::content::Content;
use crate::link::{BodyReader, Incoming, ResetCode, Responder, SendBody};
use crate::order::{Answer, Kind, Order};

/// Bytes of a piece of a body.
pub(crate) const PIECE: u64 = 16_000;

/// Handlers that run, and what was wrong with what came.
#[derive(Debug, Default)]
pub(crate) struct Served {
    running: Mutex<BTreeMap<u64, Order>>,
    pub(crate) wrong: AtomicUsize,
}

impl Served {
    /// The orders of handlers that run, by id.
    pub(crate) fn running(&self) -> MutexGuard<'_, BTreeMap<u64, Order>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that has run longest.
    pub(crate) fn oldest(&self) -> Option<Order> {
        self.running().values().next().copied()
    }
}

/// Names a handler while it lives.
struct Running(Arc<Served>, u64);

impl Running {
    fn new(served: Arc<Served>, order: Order) -> Self {
        served.running().insert(order.id, order);
        Self(served, order.id)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running().remove(&self.1);
    }
}

pub(crate) async fn serve(call: Incoming, served: Arc<Served>) {
    let Some(order) = Order::decode(&call.head) else {
        served.wrong.fetch_add(1, Ordering::SeqCst);
        return;
    };
    let _running = Running::new(served, order);
    let (body, responder) = (call.body, call.responder);
    match order.kind {
        Kind::Small => whole(order, body, responder).await,
        Kind::Later => {
            sleep(Duration::from_millis(order.pause)).await;
            whole(order, body, responder).await;
        }
        Kind::Down => down(order, responder).await,
        Kind::Up => up(order, body, responder).await,
        Kind::Echo => echo(order, body, responder).await,
        Kind::Fail => responder.fail(ResetCode::Failed, "as it was asked to".to_owned()),
        Kind::Forget => drop(responder),
        Kind::Never => std::future::pending().await,
    }
}

async fn whole(order: Order, mut body: BodyReader, mut responder: Responder) {
    let Some(taken) = take(order, &mut body, 0).await else { return };
    let content = Content::new(order.id).bytes(order.from, order.length);
    let _ = responder.reply(Answer { id: order.id, taken }.encode(), SendBody::Whole(content));
}

/// Takes the whole body; `None` when it breaks.
async fn take(order: Order, body: &mut BodyReader, pause: u64) -> Option<u64> {
    let (content, mut taken) = (Content::new(order.id), 0);
    let mut right = true;
    while let Some(piece) = body.piece().await {
        let piece = piece.ok()?;
        right &= content.is(taken, &piece);
        taken += piece.len() as u64;
        rest(pause).await;
    }
    Some(if right { taken } else { u64::MAX })
}

pub(crate) async fn rest(pause: u64) {
    if pause > 0 {
        sleep(Duration::from_millis(pause)).await;
    }
}

async fn down(order: Order, mut responder: Responder) {
    let answer = Answer { id: order.id, taken: 0 };
    let Ok(Some(mut writer)) = responder.reply(answer.encode(), SendBody::Pieces) else { return };
    let (content, mut at, end) = (Content::new(order.id), order.from, order.from + order.length);
    while at < end {
        let length = PIECE.min(end - at);
        if writer.write(content.bytes(at, length)).await.is_err() {
            return; // Nobody wants it any more.
        }
        at += length;
        rest(order.pause).await;
    }
    let _ = writer.finish(None);
}

async fn up(order: Order, mut body: BodyReader, mut responder: Responder) {
    let Some(taken) = take(order, &mut body, order.pause).await else { return };
    let _ = responder.reply(Answer { id: order.id, taken }.encode(), SendBody::Whole(bytes::Bytes::new()));
}

async fn echo(order: Order, mut body: BodyReader, mut responder: Responder) {
    let answer = Answer { id: order.id, taken: 0 };
    let Ok(Some(mut writer)) = responder.reply(answer.encode(), SendBody::Pieces) else { return };
    while let Some(piece) = body.piece().await {
        let Ok(piece) = piece else { return };
        if writer.write(piece).await.is_err() {
            return;
        }
        rest(order.pause).await;
    }
    let _ = writer.finish(None);
}
