//! How a framed connection's driver makes records and gets them out.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::Driver;
use crate::error::{Error, ErrorKind};
use crate::mux::batch::{Flush, Wave};
use crate::mux::framed::{Filled, Role};
use crate::mux::session::Serve;

impl<S: Serve> Driver<S> {
    /// Fills records and writes them; tells whether the peer takes no more for now.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Error> {
        loop {
            while self.link.has_room() {
                self.record.clear();
                let Some(filled) = self.fill(now) else {
                    cx.waker().wake_by_ref();
                    break;
                };
                self.link.seal(&self.record, filled);
                if filled == Filled::Frames {
                    self.compressed = Some(now);
                }
                if filled == Filled::Nothing {
                    break;
                }
            }
            if self.link.is_clear() {
                return Ok(false);
            }
            let mut progress = false;
            let drained = self.link.poll_drain(cx, &mut progress);
            if progress && self.is_choked() {
                self.keepalive.heard(now); // We do not listen meanwhile; that it reads is a sign of life.
            }
            let Poll::Ready(done) = drained else {
                self.stalled = Some(self.stalled.filter(|_| !progress).unwrap_or(now));
                return Ok(true);
            };
            self.stalled = None;
            done.map_err(|error| Error::new(ErrorKind::Connection, "the connection broke").with_source(error))?;
        }
    }

    /// Fills a record; `None` when it is better to let every other ready task run first: those that are about to call, or
    /// to answer, add theirs.
    fn fill(&mut self, now: Instant) -> Option<Filled> {
        let Self { shared, batcher, record, handlers, .. } = self;
        // Replies that were made where their calls were read are complete as a batch.
        let alone = self.closing.is_some() || (self.role == Role::Server && handlers.is_empty());
        shared.with(|streams| {
            let load = streams.load();
            if !alone && batcher.decide(load, now) == Flush::Yield {
                return None;
            }
            batcher.flushed();
            streams.wave = Wave::default();
            Some(streams.fill(record, now))
        })
    }
}
