//! All streams of a connection, and how they end.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::flood::Floods;
use super::load::Ready;
use super::outbox::{Control, Heads};
use super::reserve::Reserve;
use super::stream::{Reset, Stream};
use super::table::{Key, Table};
use super::window::{RecvWindow, SendCredit};
use crate::mux::batch::Wave;
use crate::wire::framed::frame::CloseCode;
use crate::wire::framed::settings::Settings;

/// Body bytes that go in one piece: others have their turn after that.
pub(super) const PIECE: usize = 16 * 1024;
/// Bytes of a body that may go whole in the frame of its head. They need no credit, as heads do not: so small calls go on
/// while the readers of large bodies lag.
pub(super) const WHOLE: usize = 16 * 1024;

/// What part of a body's bytes counts that wait for their reader: these hold nothing up but memory.
pub(crate) const LYING: usize = 64;
/// Bytes that a reset counts that waits to be sent.
pub(super) const RESET: usize = 64;

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
    pub(super) reserve: Reserve,
    /// Streams with nothing but their end to send.
    pub(super) ends: VecDeque<Key>,
    /// Bytes of bodies that wait here for credit and their turn.
    pub(super) queued: usize,
    /// Those of them that wait for nothing but their turn.
    pub(super) ready: Ready,
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
    /// Whole calls are given as [`Passing`](super::Received::Passing).
    pub(super) passes: bool,
    /// The last call before the record that is being received: of later ones nothing is kept yet where they pass.
    pub(super) before: u32,
    /// How many of these pass.
    pub(super) passed: usize,
    /// Those that were refused, in order.
    pub(super) refused: Vec<u32>,
    /// Those that pass and were reset in the same record.
    pub(super) cut: Vec<u32>,
    /// And credit for what their replies may be.
    pub(super) early: Vec<(u32, u32)>,
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
            window: RecvWindow::of_connection(ours.connection_credit, most_window, now),
            reserve: Reserve::of(theirs.connection_credit),
            floods: Floods::new(ours.ping_ms, if role == Role::Server { ours.calls } else { theirs.calls }, now),
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
            ready: Ready::default(),
            most_queued: usize::MAX,
            ahead_of_bodies: 0,
            heads_wait: 0,
            each_alone: false,
            raw_next: false,
            passes: false,
            before: LAST_ID,
            passed: 0,
            refused: Vec::new(),
            cut: Vec::new(),
            early: Vec::new(),
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

    /// Which side this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The tag of a stream.
    pub fn tag(&self, key: Key) -> Option<&T> {
        self.table.get(key).map(|stream| &stream.tag)
    }

    /// The tag of a stream.
    pub fn tag_mut(&mut self, key: Key) -> Option<&mut T> {
        self.table.get_mut(key).map(|stream| &mut stream.tag)
    }

    /// The stream that the wire means by an id.
    pub fn key(&self, id: u32) -> Option<Key> {
        self.table.key(id)
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

    /// Whether this side's last frame was taken into a record.
    pub fn has_said_close(&self) -> bool {
        self.said_close
    }

    /// Whether the peer drains: it opens no more calls, or asks for none.
    pub fn peer_drains(&self) -> bool {
        self.peer_drains
    }

    /// Calls that are not over on the wire, those included that were not sent, or whose reply was not.
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

    /// Has a waker called when the lock is released.
    pub fn wake_later(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    /// Takes the wakers that are due, to be called when the lock is released, and what is to be dropped then.
    pub fn take_wakers(&mut self) -> (Vec<Waker>, Vec<Bytes>) {
        (std::mem::take(&mut self.wakers), std::mem::take(&mut self.spent))
    }

    /// Whether wakers are due, or something is to be dropped.
    #[inline]
    pub(crate) fn has_to_call(&self) -> bool {
        !self.wakers.is_empty() || !self.spent.is_empty()
    }

    /// The same, where the wakers get memory that is there: `wakers`, which is empty, changes places with those that are due.
    pub(crate) fn swap_wakers(&mut self, wakers: &mut Vec<Waker>) -> Vec<Bytes> {
        debug_assert!(wakers.is_empty(), "they were called");
        if !self.wakers.is_empty() {
            std::mem::swap(wakers, &mut self.wakers);
        }
        if self.spent.is_empty() { Vec::new() } else { std::mem::take(&mut self.spent) }
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
            self.ready.put(outgoing);
            bodies.push_back(key);
            self.table.tidy(bodies, |stream| stream.outgoing.as_ref().is_some_and(|outgoing| outgoing.scheduled));
        } else if outgoing.queued == 0 && outgoing.end.is_some() {
            outgoing.scheduled = true;
            ends.push_back(key);
            self.table.tidy(ends, |stream| stream.outgoing.as_ref().is_some_and(|outgoing| outgoing.scheduled));
        }
    }
}
