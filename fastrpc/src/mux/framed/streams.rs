//! All streams of a connection, and how they end.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::flood::Floods;
use super::outbox::{Control, Heads};
use super::stream::{Reset, Stream};
use super::table::{Key, Table};
use super::window::{RecvWindow, SendCredit};
use crate::error::human;
use crate::mux::batch::{Load, Wave};
use crate::wire::framed::frame::{CloseCode, ResetCode};
use crate::wire::framed::settings::Settings;

/// Body bytes that go in one piece: others have their turn after that.
pub(super) const PIECE: usize = 16 * 1024;
/// Bytes of a body that may go whole in the frame of its head. They need no credit, as heads do not: so small calls go on
/// while the readers of large bodies lag.
pub(super) const WHOLE: usize = 16 * 1024;

/// What part of a body's bytes counts that wait for their reader: these hold nothing up but memory.
pub(crate) const LYING: usize = 16;
/// Bytes that a reset counts that waits to be sent.
const RESET: usize = 64;

/// The last id.
pub(super) const LAST_ID: u32 = (1 << 31) - 1;
/// A connection that has had so many calls drains: what its peer has under way still gets ids.
pub(super) const MOST_CALLS: u32 = LAST_ID - (1 << 16);

/// Which side this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opens streams.
    Client,
    /// Answers them.
    Server,
}

/// The stream of a key is no more: it was reset, or its connection has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone(pub Option<Reset>);

/// Where the connection's credit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Body bytes that this side may send.
    pub credit: usize,
    /// Body bytes that the peer may send, as far as this side knows.
    pub granted: usize,
    /// Body bytes that arrived and were not read.
    pub unread: usize,
}

/// The streams of one connection, each with a `T` that its side knows it by.
pub struct Streams<T> {
    pub(super) role: Role,
    pub(super) ours: Settings,
    pub(super) theirs: Settings,
    pub(super) table: Table<Stream<T>>,
    /// Calls that are not over.
    pub(super) open: usize,
    /// Those of them whose reply has not begun to come (of a client).
    pub(super) pending: usize,
    /// The id of the last call.
    pub(super) last: u32,
    /// Body bytes that may be sent on the connection.
    pub(super) credit: SendCredit,
    pub(super) window: RecvWindow,
    /// The connection's window grows to this, in bytes.
    pub(super) most_window: u32,
    /// How long an answer takes at the least, once it is known.
    pub(super) round_trip: Option<Duration>,
    pub(super) floods: Floods,
    pub(super) heads: Heads,
    pub(super) control: Control,
    /// Streams with body bytes to send, in turn.
    pub(super) bodies: VecDeque<Key>,
    /// Streams with nothing but their end to send.
    pub(super) ends: VecDeque<Key>,
    /// Bytes of bodies that wait here for credit and their turn.
    pub(super) queued: usize,
    /// Those of them that wait for nothing but their turn: their stream has its turn, or its head waits.
    pub(super) ready: usize,
    /// With so many of them a stream may add a piece only when it has none that waits, and has credit.
    pub(super) most_queued: usize,
    /// Bytes of heads sent since the last piece of a body.
    pub(super) ahead_of_bodies: usize,
    /// Heads wait for company until they are so many bytes; for none when it is 0.
    pub(super) heads_wait: usize,
    /// Each record holds one message, or a piece of one, or control.
    pub(super) each_alone: bool,
    /// The record that comes next begins with bodies that travel raw.
    pub(super) raw_next: bool,
    /// Callers that replies have woken since heads were last sent.
    pub(crate) wave: Wave,
    /// Wakers to call when the lock is released.
    pub(super) wakers: Vec<Waker>,
    /// Pieces that are not needed any more: a program's own memory may run its code when it is dropped.
    pub(super) spent: Vec<Bytes>,
    /// The peer opens no more calls (of a client), or asks for none (of a server).
    pub(super) peer_drains: bool,
    /// The peer has sent its last frame.
    pub(super) closed: bool,
    /// The last call that it took, as that frame says.
    pub(super) peer_took: Option<u32>,
    /// This side has.
    pub(super) said_close: bool,
    /// This side's drain was sent.
    pub(super) said_drain: bool,
}

impl<T> Streams<T> {
    /// A connection after both hellos.
    ///
    /// Its window grows up to `most_window` bytes where the distance needs it, an eighth of that for a stream.
    pub fn new(role: Role, ours: Settings, theirs: Settings, most_window: u32, now: Instant) -> Self {
        Self {
            role,
            credit: SendCredit::new(theirs.connection_credit),
            window: RecvWindow::of_connection(ours.connection_credit, most_window),
            floods: Floods::new(ours.ping_ms, now),
            ours,
            theirs,
            table: Table::default(),
            open: 0,
            pending: 0,
            last: 0,
            most_window,
            round_trip: None,
            heads: Heads::default(),
            control: Control::default(),
            bodies: VecDeque::new(),
            ends: VecDeque::new(),
            queued: 0,
            ready: 0,
            most_queued: usize::MAX,
            ahead_of_bodies: 0,
            heads_wait: 0,
            each_alone: false,
            raw_next: false,
            wave: Wave::default(),
            wakers: Vec::new(),
            spent: Vec::new(),
            peer_drains: false,
            closed: false,
            peer_took: None,
            said_close: false,
            said_drain: false,
        }
    }

    /// Counts on as if the connection had had so many calls: for tests.
    pub fn count_from(&mut self, calls: u32) {
        self.last = calls;
    }

    /// Bounds the bytes of bodies that wait here, over all streams. Past it each stream whose reader has given it credit may
    /// still have one piece wait, so that none waits for another's reader.
    pub fn bound_queues(&mut self, bytes: usize) {
        self.most_queued = bytes;
    }

    /// Puts each message into a record of its own from now on.
    pub fn keep_apart(&mut self) {
        self.each_alone = true;
    }

    // ---- ends ----

    /// Breaks a stream off, at the peer too.
    pub fn reset(&mut self, key: Key, code: ResetCode, text: impl Into<Cow<'static, str>>) {
        let Some(stream) = self.live(key) else { return };
        let text = text.into();
        if stream.id > 0 {
            self.control.resets.push_back((stream.id, code, text.clone()));
        }
        self.break_off(key, Reset { code, text, by_peer: false });
    }

    /// To be called now and then: breaks off streams whose pieces have lain unread for `limit` while the whole connection
    /// waits for credit, so that one slow reader does not stall the rest.
    pub fn reset_stalled(&mut self, now: Instant, limit: Duration) {
        let shut = self.window.open() == 0;
        let mut stalled = Vec::new();
        for key in self.table.keys() {
            let Some(incoming) = self.table.get_mut(key).and_then(|stream| stream.incoming.as_mut()) else { continue };
            if incoming.queue.is_empty() || !shut {
                incoming.unread_since = None;
            } else if now.saturating_duration_since(*incoming.unread_since.get_or_insert(now)) >= limit {
                stalled.push(key);
            }
        }
        for key in stalled {
            let text = format!("nobody has read its body for {} while others waited", human(limit));
            let Some(stream) = self.table.get_mut(key) else { continue };
            stream.got_end = false; // A body that came whole is thrown away too, and its reader has to be told.
            if stream.reset.is_none() {
                self.reset(key, ResetCode::Stalled, text);
                continue;
            }
            stream.reset = Some(Box::new(Reset { code: ResetCode::Stalled, text: text.into(), by_peer: false }));
            if let Some(incoming) = stream.incoming.take() {
                self.window.consume(incoming.window.held() as usize);
                self.spent.extend(incoming.queue);
                self.wakers.extend(incoming.waker);
            }
        }
    }

    /// To be called now and then while calls wait because so much does: breaks off streams of whose body nothing could be sent
    /// for `limit`, because nobody reads it at the peer.
    pub fn reset_unread(&mut self, now: Instant, limit: Duration) {
        let open = self.credit.available() > 0;
        for key in self.table.keys() {
            let Some(stream) = self.table.get_mut(key) else { continue };
            let stuck = !open || stream.credit.available() == 0;
            let Some(outgoing) = &mut stream.outgoing else { continue };
            if outgoing.queued == 0 || !stuck {
                outgoing.stuck_since = None;
            } else if now.saturating_duration_since(*outgoing.stuck_since.get_or_insert(now)) >= limit {
                let text = format!("nobody has read its body for {} while calls waited", human(limit));
                self.reset(key, ResetCode::Stalled, text);
            }
        }
    }

    /// Another handle names the stream.
    pub fn hold(&mut self, key: Key) {
        if let Some(stream) = self.table.get_mut(key) {
            stream.holders += 1;
        }
    }

    /// A handle that names the stream is gone. Gives the tag when it was the last one and the stream is over.
    pub fn release(&mut self, key: Key) -> Option<T>
    where
        T: Copy,
    {
        self.release_with(key, |tag| *tag)
    }

    /// The same; `last` takes what is needed of the tag.
    pub fn release_with<R>(&mut self, key: Key, last: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.forget(key, 1, last)
    }

    /// The tag of a stream.
    pub fn tag(&self, key: Key) -> Option<&T> {
        self.table.get(key).map(|stream| &stream.tag)
    }

    /// The tag of a stream.
    pub fn tag_mut(&mut self, key: Key) -> Option<&mut T> {
        self.table.get_mut(key).map(|stream| &mut stream.tag)
    }

    /// All streams.
    pub fn keys(&self) -> Vec<Key> {
        self.table.keys()
    }

    /// Whether the peer may have begun it: it was sent, and the peer did not say in its last frame that it was not taken.
    pub fn is_sent(&self, key: Key) -> bool {
        let taken = |id| self.peer_took.is_none_or(|last| id <= last);
        self.table.get(key).is_none_or(|stream| stream.id > 0 && taken(stream.id))
    }

    /// Whether no more calls are opened.
    pub fn is_draining(&self) -> bool {
        self.control.drain || self.said_drain
    }

    /// Whether calls may be opened (of a client).
    pub fn takes_calls(&self) -> bool {
        !self.is_draining() && !self.closed && !self.said_close && self.control.close.is_none()
    }

    /// Whether its reply was begun.
    pub fn is_replied(&self, key: Key) -> bool {
        self.table.get(key).is_some_and(|stream| stream.replied)
    }

    /// Whether the end of its arriving body is here.
    pub fn has_come_whole(&self, key: Key) -> bool {
        self.table.get(key).is_none_or(|stream| stream.got_end)
    }

    /// Whether it was broken off, or is no more.
    pub fn is_reset(&self, key: Key) -> bool {
        self.table.get(key).is_none_or(|stream| stream.reset.is_some())
    }

    /// How a stream was broken off, if it was.
    pub fn reset_of(&self, key: Key) -> Option<&Reset> {
        self.table.get(key)?.reset.as_deref()
    }

    // ---- the connection ----

    /// Asks the client for no more calls, or tells the server that none come. A client's goes behind the calls that wait.
    pub fn drain(&mut self) {
        self.control.drain = !self.said_drain;
    }

    /// Says why the connection ends, in its last frame.
    pub fn close(&mut self, code: CloseCode, text: impl Into<Cow<'static, str>>) {
        self.control.close.get_or_insert((code, text.into()));
    }

    /// Asks for a pong, behind what was asked before.
    pub fn ping(&mut self, bytes: [u8; 8]) {
        self.control.ping = Some(bytes);
    }

    /// A ping was answered after so long; windows grow by the shortest.
    pub fn measured(&mut self, round_trip: Duration) {
        self.round_trip = Some(self.round_trip.map_or(round_trip, |known| known.min(round_trip)));
    }

    /// The connection has ended: so have all its streams.
    pub fn end(&mut self, reset: &Reset) {
        for key in self.table.keys() {
            if self.live(key).is_some() {
                self.break_off(key, reset.clone());
            }
        }
    }

    /// Whether the peer drains: it opens no more calls, or asks for none.
    pub fn peer_drains(&self) -> bool {
        self.peer_drains
    }

    /// Calls that are not over on the wire, those that were not sent included.
    pub fn open_calls(&self) -> usize {
        self.open
    }

    /// Calls whose reply has not begun to come (of a client), those that were not sent included.
    pub fn pending_calls(&self) -> usize {
        self.pending
    }

    /// Calls that were sent, or that came, since the connection was opened.
    pub fn calls(&self) -> u32 {
        self.last
    }

    /// The tags of streams that were broken off.
    pub fn resets(&self) -> impl Iterator<Item = T>
    where
        T: Copy,
    {
        self.table.entries().filter(|stream| stream.reset.is_some()).map(|stream| stream.tag)
    }

    /// What the two ends of a connection can compare.
    pub fn balance(&self) -> Balance {
        Balance {
            credit: self.credit.available(),
            granted: self.window.open() as usize,
            unread: self.window.held() as usize,
        }
    }

    /// Streams that anything names.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no stream at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

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
        self.bodies.len() + self.ends.len() + self.control.credits.len()
    }

    /// Bytes of bodies that wait.
    pub fn queued_bodies(&self) -> usize {
        debug_assert!(self.ready <= self.queued, "what is ready is queued");
        self.queued
    }

    /// Bytes of bodies that wait. Where it is for credit, so for their readers, they count a [`LYING`]th.
    pub fn unread_bodies(&self) -> usize {
        let ready = if self.bodies_can_go() { self.ready } else { 0 };
        ready + (self.queued - ready) / LYING
    }

    /// Whether bodies wait for nothing but that the peer reads.
    pub fn bodies_can_go(&self) -> bool {
        self.ready > 0 && self.credit.available() > 0
    }

    /// Has a waker called when the lock is released.
    pub fn wake_later(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    /// Takes the wakers that are due, to be called when the lock is released, and what is to be dropped then.
    pub fn take_wakers(&mut self) -> (Vec<Waker>, Vec<Bytes>) {
        (std::mem::take(&mut self.wakers), std::mem::take(&mut self.spent))
    }

    // ---- inside ----

    /// A call begins, and is open until it is over.
    pub(super) fn begun(&mut self, key: Key) {
        let Some(stream) = self.table.get_mut(key).filter(|stream| !stream.is_over()) else { return };
        stream.open = true;
        self.open += 1;
        self.pending += usize::from(self.role == Role::Client && !stream.one_way);
    }

    /// Drains a connection whose ids are running out, of which calls that wait will take some.
    pub(super) fn drain_in_time(&mut self) {
        if self.last as usize + self.heads.count() >= MOST_CALLS as usize && !self.is_draining() {
            self.drain();
        }
    }

    pub(super) fn live(&self, key: Key) -> Option<&Stream<T>> {
        self.table.get(key).filter(|stream| !stream.is_over())
    }

    /// Gives a stream with something to send its turn.
    pub(super) fn schedule(&mut self, key: Key) {
        let Some(stream) = self.table.get_mut(key).filter(|stream| stream.head_sent) else { return };
        let Some(outgoing) = &mut stream.outgoing else { return };
        if outgoing.scheduled {
            return;
        }
        let (bodies, ends) = (&mut self.bodies, &mut self.ends);
        if outgoing.queued > 0 && stream.credit.available() > 0 {
            outgoing.scheduled = true;
            self.ready += if std::mem::replace(&mut outgoing.ready, true) { 0 } else { outgoing.queued };
            bodies.push_back(key);
            self.table.tidy(bodies, |stream| stream.outgoing.as_ref().is_some_and(|outgoing| outgoing.scheduled));
        } else if outgoing.queued == 0 && outgoing.end.is_some() {
            outgoing.scheduled = true;
            ends.push_back(key);
            self.table.tidy(ends, |stream| stream.outgoing.as_ref().is_some_and(|outgoing| outgoing.scheduled));
        }
    }

    /// Ends a stream in the middle. What arrived whole stays readable.
    pub(super) fn break_off(&mut self, key: Key, reset: Reset) {
        let Some(stream) = self.table.get_mut(key) else { return };
        stream.reset.get_or_insert_with(|| Box::new(reset));
        self.heads.bury(std::mem::take(&mut stream.heads));
        if let Some(outgoing) = stream.outgoing.take() {
            self.queued -= outgoing.queued;
            self.ready -= if outgoing.ready { outgoing.queued } else { 0 };
            self.spent.extend(outgoing.queue.into_iter().chain(outgoing.end.flatten()));
            self.wakers.extend(outgoing.waker);
        }
        if let Some(incoming) = &mut stream.incoming {
            self.wakers.extend(incoming.waker.take());
        }
        if !stream.got_end
            && let Some(incoming) = stream.incoming.take()
        {
            self.window.consume(incoming.window.held() as usize);
            self.spent.extend(incoming.queue);
        }
        self.settle(key);
    }

    /// After a step that may have been the last on the wire.
    pub(super) fn settle(&mut self, key: Key) {
        let Some(stream) = self.table.get_mut(key).filter(|stream| stream.is_over()) else { return };
        if std::mem::take(&mut stream.open) {
            self.open -= 1;
            self.pending -= usize::from(self.role == Role::Client && !stream.one_way && !stream.replied);
        }
        let id = stream.id;
        if id > 0 {
            self.table.unname(id);
        }
        self.forget(key, 0, |_| ());
    }

    /// Forgets a stream that nothing names any more, so many handles of it less.
    fn forget<R>(&mut self, key: Key, less: u32, last: impl FnOnce(&mut T) -> R) -> Option<R> {
        let Self { table, window, spent, .. } = self;
        let unwanted = |stream: &mut Stream<T>| {
            stream.holders = stream.holders.saturating_sub(less);
            stream.holders == 0 && stream.is_over()
        };
        table.remove(key, unwanted, |stream| {
            if let Some(incoming) = stream.incoming.take() {
                window.consume(incoming.window.held() as usize);
                spent.extend(incoming.queue);
            }
            last(&mut stream.tag)
        })
    }
}

/// Remembers whom to wake; gives the waker of before, which is not to be dropped under the lock.
pub fn remember(slot: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    if slot.as_ref().is_some_and(|known| known.will_wake(waker)) { None } else { slot.replace(waker.clone()) }
}
