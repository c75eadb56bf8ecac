//! What the driver does with the state it shares with callers: takes batches, delivers replies, ends calls.

use std::sync::Arc;
use std::task::Waker;

use tokio::time::Instant;

use super::{Arrived, Conn, Stage, State};
use crate::codec::Codec;
use crate::error::Error;
use crate::mux::batch::{Batcher, Flush, Load, Wave};
use crate::mux::outbox::Taken;
use crate::mux::pending::Arrival;
use crate::stats::add;

/// What the driver learns each time it has looked at everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    pub(crate) waiting: usize,
    /// Messages that no batch has taken.
    pub(crate) unsent: usize,
    pub(crate) next_deadline: Option<Instant>,
    pub(crate) draining: bool,
    pub(crate) ended: bool,
}

/// What the driver took to write.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Batch {
    taken: Taken,
    /// The number of the message behind it.
    pub(crate) end: u64,
}

impl Batch {
    /// How many messages it holds.
    pub(crate) fn messages(&self) -> usize {
        self.taken.messages
    }
}

impl<C: Codec> Conn<C> {
    /// Hands arrived replies to their calls and wakes them.
    pub(crate) fn deliver(&self, arrivals: &mut Vec<(u32, Arrived<C::Reply>)>, wakers: &mut Vec<Waker>) {
        if arrivals.is_empty() {
            return;
        }
        let total = arrivals.len();
        let mut late = Vec::new();
        let mut state = self.lock();
        let taken = state.outbox.taken();
        for (id, reply) in arrivals.drain(..) {
            match state.pending.complete(id, taken, reply) {
                Arrival::Completed(waker) => wakers.extend(waker),
                Arrival::Unclaimed(reply) => late.push(reply),
            }
        }
        let completed = total - late.len();
        state.wave.woken(completed);
        self.publish_load(&state);
        drop(state);
        add(&self.counters.replies, completed as u64);
        add(&self.counters.late_replies, late.len() as u64);
        self.ended_calls(completed);
        wakers.drain(..).for_each(Waker::wake);
    }

    /// Asks the policy about what waits. On [`Flush::Now`] the batch is in `batch`, and what was taken for it is given,
    /// to be told to [`Conn::written`] in the end.
    pub(crate) fn next_batch(
        &self,
        batcher: &mut Batcher,
        batch: &mut Vec<u8>,
        waker: &Waker,
        full: usize,
        now: Instant,
    ) -> (Flush, Batch) {
        let mut state = self.lock();
        let messages = state.outbox.messages();
        let load =
            Load { bytes: state.outbox.len(), messages, company: state.pending.waiting() > messages, wave: state.wave };
        let decision = batcher.decide(load, now);
        let mut taken = Batch::default();
        let mut replaced = None;
        match decision {
            Flush::Now => {
                state.wake_at = usize::MAX;
                taken = Batch { taken: state.outbox.take(batch), end: state.outbox.taken() };
                batcher.flushed();
                state.wave = Wave::default();
            }
            Flush::Yield => state.wake_at = usize::MAX,
            Flush::At(_) => replaced = state.park(waker, full),
            Flush::Idle => replaced = state.park(waker, 1),
        }
        drop(state);
        drop(replaced);
        (decision, taken)
    }

    /// A batch is out, or lost with its connection: its bytes wait no more.
    pub(crate) fn written(&self, batch: Batch) {
        self.admission.remove_bytes(batch.taken.bytes);
        self.admission.release(batch.taken.one_way);
    }

    /// The driver cannot write now, and will look again by itself when it can.
    pub(crate) fn blocked(&self, waker: &Waker) {
        let mut state = self.lock();
        let replaced = state.park(waker, usize::MAX);
        drop(state);
        drop(replaced);
    }

    /// While the connection is being opened nothing is taken; deadlines and the end still wake the driver.
    ///
    /// The driver is going to arm its clock for the earliest deadline told here: a caller that comes with an earlier one
    /// wakes it.
    pub(crate) fn status(&self) -> Status {
        let mut state = self.lock();
        state.armed = state.pending.next_deadline();
        Status {
            waiting: state.pending.waiting(),
            unsent: state.outbox.messages(),
            next_deadline: state.pending.next_deadline(),
            draining: state.stage == Stage::Draining,
            ended: state.stage == Stage::Ended,
        }
    }

    /// Ends the calls whose deadline has come, if one has. Then it tells how many slots it has walked. With `rested` off it
    /// does so only if something is about to be sent.
    pub(crate) fn expire(&self, now: Instant, rested: bool) -> Option<usize> {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        let State { pending, outbox, .. } = &mut *state;
        pending.next_deadline().filter(|next| *next <= now && (rested || !outbox.is_empty()))?;
        let slots = pending.slots();
        let before = pending.waiting();
        let mut freed = 0;
        pending.expire(now, outbox.taken(), &mut wakers, |message, sent| {
            if !sent {
                freed += outbox.remove(message);
            }
        });
        let expired = before - pending.waiting();
        self.publish_load(&state);
        drop(state);
        self.admission.remove_bytes(freed);
        add(&self.counters.timeouts, expired as u64);
        self.ended_calls(expired);
        wakers.into_iter().for_each(Waker::wake);
        Some(slots)
    }

    /// Ends a connection on which nothing is in progress, so that no new call slips in. Tells whether it ended.
    pub(crate) fn end_if_quiet(&self) -> bool {
        let mut state = self.lock();
        if state.pending.waiting() > 0 || state.outbox.messages() > 0 {
            return false;
        }
        self.leave(&mut state, Stage::Ended);
        true
    }

    /// Ends it: every pending call fails with this one cause; messages from number `left` on never left. `by_us`: what
    /// was taken may have left, whatever `left` says.
    pub(crate) fn end(&self, cause: Error, left: u64, by_us: bool) {
        let cause = Arc::new(cause);
        let mut wakers = Vec::new();
        let mut state = self.lock();
        self.leave(&mut state, Stage::Ended);
        state.cause.get_or_insert_with(|| cause.clone());
        let left = if by_us { state.outbox.taken() } else { left };
        let failed = state.pending.fail_all(&cause, left, &mut wakers);
        let mut unsent = Vec::new();
        let taken = state.outbox.take(&mut unsent);
        drop(state);
        self.admission.remove_bytes(taken.bytes);
        self.admission.release(taken.one_way);
        add(&self.counters.errors, failed as u64 + taken.one_way as u64);
        self.ended_calls(failed);
        wakers.into_iter().for_each(Waker::wake);
        self.ended.notify_waiters();
    }

    /// Gives memory back after a burst.
    pub(crate) fn shrink(&self, keep: usize) {
        let mut state = self.lock();
        state.pending.shrink();
        state.outbox.shrink(keep);
    }
}
