//! Calls that have arrived and wait to be served.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::mux::framed::Key;
use crate::mux::session::Incoming;

/// Calls that may wait, whatever the settings say.
const MOST: usize = 10_000;

/// A call that waits.
pub(super) struct Waiting {
    pub(super) key: Key,
    pub(super) call: Incoming,
    pub(super) deadline: Option<Instant>,
    pub(super) bytes: usize,
}

/// They wait in the order in which they came; each has its number, by which it can be taken out.
#[derive(Default)]
pub(super) struct Parked {
    calls: BTreeMap<u64, Waiting>,
    next: u64,
    bytes: usize,
}

impl Parked {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// What they hold, but for the pieces of bodies, which have their credit.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether one more may wait, that all have at most `limit` bytes.
    pub(super) fn has_room(&self, bytes: usize, limit: usize) -> bool {
        self.calls.len() < MOST && self.bytes + bytes <= limit
    }

    /// The number that the next call gets.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn push(&mut self, call: Waiting) {
        self.bytes += call.bytes;
        self.calls.insert(self.next, call);
        self.next += 1;
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let (_, call) = self.calls.pop_first()?;
        self.bytes -= call.bytes;
        Some(call)
    }

    /// Drops a call that nobody waits for any more, if it is still here.
    pub(super) fn remove(&mut self, number: Option<u64>) {
        let Some(call) = number.and_then(|number| self.calls.remove(&number)) else { return };
        self.bytes -= call.bytes;
    }
}
