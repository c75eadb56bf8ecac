//! Calls that give way to newer ones.

use std::sync::Arc;

use super::{Conn, DISPLACED, wake_one};
use crate::codec::Codec;
use crate::error::Error;
use crate::stats::add;

impl<C: Codec> Conn<C> {
    /// Fails the oldest call that is still unsent, to make room. Tells whether there was one.
    pub(crate) fn displace_oldest(&self) -> bool {
        let mut state = self.lock();
        let Some((id, message)) = state.outbox.oldest_call() else { return false };
        let cause = Error::overload(DISPLACED);
        let waker = state.pending.fail_by_id(id, Arc::new(cause));
        self.publish_load(&state);
        let freed = state.outbox.remove(message);
        let drained = state.drained();
        drop(state);
        self.admission.remove_bytes(freed);
        add(&self.counters.overloads, 1);
        wake_one(waker);
        wake_one(drained);
        true
    }
}
