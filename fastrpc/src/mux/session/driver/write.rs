//! How a framed connection's driver makes records and gets them out.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::{Driver, RECORD_FULL};
use crate::error::{Error, ErrorKind};
use crate::mux::batch::{Flush, Wave};
use crate::mux::framed::{Filled, Role};
use crate::mux::session::Serve;
use crate::stats::BatchOf;

/// What became of an attempt to make a record.
enum Made {
    /// And whether there is more to send.
    Record(Filled, bool),
    /// It is better to let every other ready task run first: those that are about to call, or to answer, add theirs.
    Later,
    /// Nothing but heads waits, for company, until then.
    At(Instant),
}

impl<S: Serve> Driver<S> {
    /// Fills records and writes them; tells whether the peer takes no more for now.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, mut now: Instant) -> Result<bool, Error> {
        loop {
            let made = self.make_records(cx, now);
            if !self.link.is_clear() {
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
            match made {
                Made::Record(_, false) | Made::Record(Filled::Nothing, _) | Made::Later => return Ok(false),
                Made::Record(_, true) => {} // There was no room for more.
                Made::At(due) if self.batch_alarm.poll(cx, due, now).is_pending() => return Ok(false),
                Made::At(_) => now = Instant::now(),
            }
        }
    }

    /// Makes the records that there is room for; tells how the last attempt went.
    fn make_records(&mut self, cx: &mut Context<'_>, now: Instant) -> Made {
        let mut made = Made::Record(Filled::Raw, true);
        while self.link.has_room() {
            self.record.clear();
            made = self.fill(now);
            match made {
                Made::Record(Filled::Nothing, _) | Made::At(_) => break,
                Made::Record(filled, more) => {
                    self.link.seal(&self.record, filled, self.batch);
                    if filled == Filled::Frames {
                        self.compressed = Some(now);
                    }
                    if !more {
                        break;
                    }
                }
                Made::Later => {
                    cx.waker().wake_by_ref();
                    break;
                }
            }
        }
        made
    }

    /// Fills a record.
    fn fill(&mut self, now: Instant) -> Made {
        let Self { shared, batcher, batch_goes, batch, record, handlers, .. } = self;
        // Replies that were made where their calls were read are complete as a batch.
        let complete = self.role == Role::Server && handlers.is_empty() && self.options.batch_delay.is_zero();
        let at_once = self.closing.is_some() || complete || *batch_goes;
        shared.with(|streams| {
            let messages = streams.load().messages;
            let flush = if at_once || streams.is_draining() { Flush::Now } else { batcher.decide(streams.load(), now) };
            match flush {
                Flush::Yield => return Made::Later,
                Flush::At(due) => {
                    streams.let_heads_wait(RECORD_FULL);
                    *batch = BatchOf::default();
                    return match streams.fill(record, now) {
                        Filled::Nothing => Made::At(due),
                        filled => Made::Record(filled, true), // The heads have to be looked at again.
                    };
                }
                Flush::Now | Flush::Idle => {}
            }
            batcher.flushed();
            streams.wave = Wave::default();
            streams.let_heads_wait(0);
            let filled = streams.fill(record, now);
            *batch_goes = streams.waiting_heads() > 0;
            *batch = BatchOf { messages: messages - streams.load().messages, waited: batcher.take_wait() };
            Made::Record(filled, streams.wants_to_send())
        })
    }
}
