//! Large bodies, stripe by stripe, every byte of them checked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::calling::{After, Trouble, check};
use crate::content::Content;
use crate::link::{Link, SendBody};
use crate::order::{Kind, Order};
use crate::run::Scene;
use crate::serving::PIECE;

/// Stripes that are still to be taken.
pub(crate) struct Stripes {
    left: AtomicU64,
    each: u64,
}

impl Stripes {
    pub(crate) fn new(bytes: u64, each: u64) -> Self {
        Self { left: AtomicU64::new(bytes), each }
    }

    fn take(&self) -> Option<u64> {
        let less = |left: u64| (left > 0).then(|| left.saturating_sub(self.each));
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        Some(left.min(self.each))
    }
}

impl Scene {
    /// Downloads stripes until there are none. What a cut connection leaves of one is asked for on the next.
    pub(crate) async fn download(self: Arc<Self>, stripes: Arc<Stripes>) {
        while let Some(length) = stripes.take() {
            let mut order = Order { kind: Kind::Down, id: self.next_id(), from: 0, length, pause: 0 };
            while order.length > 0 {
                let link = self.link();
                let (came, outcome) = self.download_from(&link, order).await;
                (order.from, order.length) = (order.from + came, order.length - came);
                match outcome {
                    Ok(()) if order.length > 0 => return self.tally.fault(format!("{order:?}: it ended too soon")),
                    Ok(()) => {}
                    Err(trouble) if self.judge(&link, order, &trouble).await == After::Fault => return,
                    Err(_) => {}
                }
            }
        }
    }

    /// How many bytes came, and how it ended.
    async fn download_from(&self, link: &Link, order: Order) -> (u64, Result<(), Trouble>) {
        let mut came = 0;
        let outcome = async {
            let body = SendBody::Whole(bytes::Bytes::new());
            let mut reply = link.caller.call(order.encode(), body, None)?.0.await?;
            check(&reply.head, order, 0)?;
            while let Some(piece) = reply.body.piece().await {
                let piece = piece?;
                let length = piece.len() as u64;
                if came + length > order.length || !Content::new(order.id).is(order.from + came, &piece) {
                    return Err(Trouble::Wrong(format!("a wrong piece behind {came} bytes")));
                }
                came += length;
                self.tally.down.fetch_add(length, Ordering::Relaxed);
            }
            Ok(())
        };
        let outcome = outcome.await;
        (came, outcome)
    }

    /// Uploads stripes until there are none. One whose connection is cut begins anew.
    pub(crate) async fn upload(self: Arc<Self>, stripes: Arc<Stripes>) {
        while let Some(length) = stripes.take() {
            let order = Order { kind: Kind::Up, id: self.next_id(), from: 0, length, pause: 0 };
            loop {
                let link = self.link();
                match self.upload_once(&link, order).await {
                    Ok(()) => break,
                    Err(trouble) if self.judge(&link, order, &trouble).await == After::Fault => return,
                    Err(_) => {}
                }
            }
            self.tally.up.fetch_add(length, Ordering::Relaxed);
        }
    }

    async fn upload_once(&self, link: &Link, order: Order) -> Result<(), Trouble> {
        let (reply, writer) = link.caller.call(order.encode(), SendBody::Pieces, None)?;
        let mut writer = writer.expect("it was asked for");
        let (content, mut at) = (Content::new(order.id), 0);
        while at < order.length {
            let piece = PIECE.min(order.length - at);
            writer.write(content.bytes(at, piece)).await?;
            at += piece;
        }
        let _ = writer.finish(None);
        check(&reply.await?.head, order, order.length)
    }
}
