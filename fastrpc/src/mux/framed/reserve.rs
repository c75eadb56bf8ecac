//! The last of the connection's credit, which is kept for bodies that have just begun.
//!
//! Readers that stop can lie on all that a connection's reader has room for. Their bodies, which are long, leave the reserve alone: so
//! others still come through, as long as they are not long themselves, until those that stop are broken off.

use std::collections::VecDeque;

use super::stream::Outgoing;
use super::streams::Streams;
use super::table::Key;

/// So many bytes of a body may use the reserve.
const YOUNG: usize = 128 * 1024;

/// What is kept, and who waits for more than that.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    bytes: usize,
    /// Streams with body bytes to send, which have their turn when there is more credit than the reserve.
    waiting: VecDeque<Key>,
}

impl Reserve {
    /// Of a connection whose credit began with so much.
    pub(super) fn of(initial: u32) -> Self {
        Self { bytes: reserved(initial) as usize, waiting: VecDeque::new() }
    }

    /// What a body may use of so much credit.
    pub(super) fn usable(&self, credit: usize, of: &Outgoing) -> usize {
        if of.sent < YOUNG { credit } else { credit.saturating_sub(self.bytes) }
    }

    /// Keys of streams that wait, of some that are gone too.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// How much of a connection's credit a sender keeps, by what it began with.
pub(super) fn reserved(initial: u32) -> u32 {
    initial / 4
}

impl<T> Streams<T> {
    /// The body whose turn it is waits for more credit.
    pub(super) fn hold_back(&mut self, key: Key) {
        let Some(outgoing) = self.table.get_mut(key).and_then(|stream| stream.outgoing.as_mut()) else { return };
        self.ready.take(outgoing);
        self.reserve.waiting.push_back(key);
        let waits = |outgoing: &Outgoing| outgoing.scheduled && !outgoing.ready;
        self.table.tidy(&mut self.reserve.waiting, |stream| stream.outgoing.as_deref().is_some_and(waits));
    }

    /// There is more credit: bodies that waited for it have their turn.
    pub(super) fn let_go(&mut self) {
        if self.credit.available() <= self.reserve.bytes {
            return;
        }
        for key in std::mem::take(&mut self.reserve.waiting) {
            let outgoing = self.table.get_mut(key).and_then(|stream| stream.outgoing.as_mut());
            let Some(outgoing) = outgoing.filter(|outgoing| outgoing.scheduled && !outgoing.ready) else { continue };
            self.ready.put(outgoing);
            self.bodies.push_back(key);
        }
    }
}
