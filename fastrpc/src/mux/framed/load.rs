//! What waits to be sent, as its side asks about it.

use super::stream::Outgoing;
use super::streams::{LYING, RESET, Streams};
use super::table::Key;
use crate::mux::batch::Load;

/// Bytes of bodies that wait for nothing but their turn: their stream has its turn, or its head waits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ready {
    all: usize,
    /// Of bodies that came whole: nobody waits for room to add to them.
    whole: usize,
}

impl Ready {
    /// So many bytes more of a body, which came whole or does not.
    pub(super) fn add(&mut self, bytes: usize, whole: bool) {
        self.all += bytes;
        self.whole += if whole { bytes } else { 0 };
    }

    /// What is queued of the body is ready from now on.
    pub(super) fn put(&mut self, outgoing: &mut Outgoing) {
        if !std::mem::replace(&mut outgoing.ready, true) {
            self.add(outgoing.queued, outgoing.whole);
        }
    }

    /// It is not, from now on.
    pub(super) fn take(&mut self, outgoing: &mut Outgoing) {
        if std::mem::take(&mut outgoing.ready) {
            self.all -= outgoing.queued;
            self.whole -= if outgoing.whole { outgoing.queued } else { 0 };
        }
    }
}

impl<T> Streams<T> {
    /// Whether [`Streams::fill`](super::Streams::fill) would find something.
    pub fn wants_to_send(&self) -> bool {
        let control = &self.control;
        // A client's drain goes behind its calls, so they do not wait for company then.
        let heads = !self.heads.is_empty() && (self.heads.len() >= self.heads_wait || control.drain);
        let waits = heads
            || !self.ends.is_empty()
            || !control.resets.is_empty()
            || !control.credits.is_empty()
            || control.ping.is_some()
            || control.pong.is_some()
            || control.drain
            || control.close.is_some();
        !self.said_close && (waits || self.window.is_due() || (!self.bodies.is_empty() && self.credit.available() > 0))
    }

    /// What waits to be sent in the frames of heads, and whether more is about to come.
    pub(crate) fn load(&self) -> Load {
        Load { bytes: self.heads.len(), messages: self.heads.count(), company: self.table.named() > 0, wave: self.wave }
    }

    /// Bytes of heads that wait and are going to be sent.
    pub fn unsent_heads(&self) -> usize {
        self.heads.unsent()
    }

    /// The oldest call that was not sent (of a client).
    pub fn oldest_unsent(&mut self) -> Option<Key> {
        while let Some(head) = self.heads.front() {
            if self.live(head.key).is_some() {
                return Some(head.key);
            }
            self.heads.pop(None);
        }
        None
    }

    /// Has heads wait for company until they are so many bytes, or go at once with 0. Bodies and control never wait.
    pub(crate) fn let_heads_wait(&mut self, bytes: usize) {
        self.heads_wait = bytes;
    }

    /// Bytes of heads, with what goes in their frames, that wait.
    pub fn waiting_heads(&self) -> usize {
        self.heads.len()
    }

    /// Bytes, more or less, that wait for nothing but that the peer reads.
    pub fn unread_heads(&self) -> usize {
        self.heads.len() + RESET * self.control.resets.len()
    }

    /// Keys in the queues of bodies, ends and credits, of streams that are gone too.
    pub fn waiting_keys(&self) -> usize {
        self.bodies.len() + self.reserve.len() + self.ends.len() + self.control.credits.len()
    }

    /// Bytes of bodies that wait.
    pub fn queued_bodies(&self) -> usize {
        debug_assert!(self.ready.all <= self.queued, "what is ready is queued");
        self.queued
    }

    /// Bytes of bodies that wait. Where it is for credit, so for their readers, they count a 64th; so do those in pieces, whose writers wait
    /// for room: however many of them are always under way, calls go on beside them.
    pub fn unread_bodies(&self) -> usize {
        let whole = if self.bodies_can_go() { self.ready.whole } else { 0 };
        whole + (self.queued - whole) / LYING
    }

    /// Whether bodies wait for nothing but that the peer reads.
    pub fn bodies_can_go(&self) -> bool {
        self.ready.all > 0 && self.credit.available() > 0
    }
}
