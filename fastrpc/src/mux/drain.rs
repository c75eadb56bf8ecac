//! How a driver, of either side, gets a sealed batch out.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::client_driver::{broken, timed_out};
use super::link::Link;
use crate::error::Error;
use crate::stats::Counters;

/// Writes sealed batches, and watches a peer that does not read them.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// Since when nothing has left, though something waits.
    stalled: Option<Instant>,
}

/// What an attempt came to.
pub(super) struct Drained {
    /// Everything sealed is out.
    pub(super) clear: bool,
    /// At least a byte left.
    pub(super) progress: bool,
    /// The peer takes no more for now.
    pub(super) blocked: bool,
}

impl Drain {
    /// Writes what the peer takes of the sealed batch. Between the pieces of a large one others have their turn.
    pub(super) fn poll(
        &mut self,
        link: &mut Link,
        cx: &mut Context<'_>,
        counters: &Counters,
        now: Instant,
    ) -> Result<Drained, Error> {
        if link.outbound.is_clear() {
            return Ok(Drained { clear: true, progress: false, blocked: false });
        }
        let mut progress = false;
        match link.poll_drain(cx, counters, &mut progress) {
            Poll::Ready(done) => {
                done.map_err(broken)?;
                self.stalled = None;
                let more = link.outbound.seal_rest(counters);
                if more {
                    cx.waker().wake_by_ref();
                }
                Ok(Drained { clear: !more, progress, blocked: false })
            }
            Poll::Pending => {
                self.stalled = Some(self.stalled.filter(|_| !progress).unwrap_or(now));
                Ok(Drained { clear: false, progress, blocked: true })
            }
        }
    }

    /// When the peer will have read nothing for `limit`.
    pub(super) fn due(&self, limit: Duration) -> Option<Instant> {
        self.stalled.map(|since| since + limit)
    }

    /// An error if that time has come.
    pub(super) fn check(&self, limit: Duration, now: Instant) -> Result<(), Error> {
        match self.due(limit) {
            Some(due) if due <= now => Err(timed_out("the peer has not read", limit)),
            _ => Ok(()),
        }
    }
}
