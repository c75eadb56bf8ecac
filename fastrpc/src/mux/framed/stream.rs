//! One stream: what waits to be sent on it, what has arrived and was not read.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::task::Waker;

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use super::pieces::Pieces;
use super::streams::Gone;
use super::window::{RecvWindow, SendCredit};
use crate::wire::framed::frame::ResetCode;

/// How a stream was broken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Why.
    pub code: ResetCode,
    /// Why, for people.
    pub text: Cow<'static, str>,
    /// The peer did it.
    pub by_peer: bool,
}

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if self.by_peer { "the peer" } else { "this side" };
        write!(f, "{who} reset the stream: {}", self.code)?;
        if self.text.is_empty() { Ok(()) } else { write!(f, " ({})", self.text) }
    }
}

/// A stream, from the call's head to the last thing that holds it.
pub(super) struct Stream<T> {
    /// What its side knows it by.
    pub(super) tag: T,
    /// Its name on the wire; 0 until its call was taken into a record.
    pub(super) id: u32,
    /// Handles of this side that name it. It is forgotten when there are none and the wire is done with it.
    pub(super) holders: u32,
    /// Bytes of its heads that wait to be taken into a record.
    pub(super) heads: u32,
    /// Its call or reply was taken into a record: pieces of the body may follow.
    pub(super) head_sent: bool,
    /// A reply was begun: written on a server, received on a client.
    pub(super) replied: bool,
    /// No reply is wanted.
    pub(super) one_way: bool,
    /// It counts among the open calls.
    pub(super) open: bool,
    /// END was taken into a record.
    pub(super) sent_end: bool,
    /// END has arrived.
    pub(super) got_end: bool,
    /// Body bytes that may be sent on it.
    pub(super) credit: SendCredit,
    /// What is left to send after its head; `None` when nothing is.
    pub(super) outgoing: Option<Box<Outgoing>>,
    /// What comes after its head; `None` when nothing does.
    pub(super) incoming: Option<Box<Incoming>>,
    /// Rare, and large.
    pub(super) reset: Option<Box<Reset>>,
}

impl<T> Stream<T> {
    pub(super) fn new(tag: T, id: u32, credit: u32) -> Self {
        Self {
            tag,
            id,
            holders: 1,
            heads: 0,
            head_sent: false,
            replied: false,
            one_way: false,
            open: false,
            sent_end: false,
            got_end: false,
            credit: SendCredit::new(credit),
            outgoing: None,
            incoming: None,
            reset: None,
        }
    }

    /// What its user is told who finds nothing more to do with it.
    pub(super) fn gone(&self) -> Gone {
        Gone(self.reset.as_deref().cloned())
    }

    /// Whether both sides have ended it, so that the wire names it no more.
    pub(super) fn is_over(&self) -> bool {
        self.reset.is_some() || (self.sent_end && self.got_end)
    }
}

/// A body on its way out.
#[derive(Default)]
pub(super) struct Outgoing {
    pub(super) queue: VecDeque<Bytes>,
    pub(super) queued: usize,
    /// Bytes that were sent in pieces.
    pub(super) sent: usize,
    /// Nothing is added any more. Inside: trailers, as the codec wrote them.
    pub(super) end: Option<Option<Bytes>>,
    /// It takes part in the turns.
    pub(super) scheduled: bool,
    /// What is queued waits for no credit of its stream, as far as is known: it has its turn, or its head waits.
    pub(super) ready: bool,
    /// It came whole, with its head.
    pub(super) whole: bool,
    /// It does not compress: its pieces travel raw.
    pub(super) raw: bool,
    /// Since when nothing of it could be sent, as far as anybody looked; see [`Streams::reset_unread`].
    ///
    /// [`Streams::reset_unread`]: super::Streams::reset_unread
    pub(super) stuck_since: Option<Instant>,
    /// Who waits to add more.
    pub(super) waker: Option<Waker>,
}

impl Outgoing {
    /// Adds a piece that is not empty.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.queued += piece.len();
        self.queue.push_back(piece);
    }

    /// The first `length` bytes, in parts.
    pub(super) fn front(&self, length: usize) -> impl Iterator<Item = &[u8]> + Clone {
        let mut left = length;
        self.queue.iter().map_while(move |piece| {
            let part = &piece[..piece.len().min(left)];
            left -= part.len();
            (!part.is_empty()).then_some(part)
        })
    }

    /// They are sent. Pieces that are not needed any more are `spent`.
    pub(super) fn consume(&mut self, mut length: usize, spent: &mut Vec<Bytes>) {
        self.queued -= length;
        self.sent += length;
        while length > 0 {
            let front = self.queue.front_mut().expect("what is queued lies in the queue");
            if front.len() > length {
                return front.advance(length);
            }
            length -= front.len();
            spent.extend(self.queue.pop_front());
        }
    }
}

/// A body on its way in.
pub(super) struct Incoming {
    pub(super) pieces: Pieces,
    pub(super) window: RecvWindow,
    /// What came behind the last piece.
    pub(super) trailers: Option<Bytes>,
    /// Nobody is going to read it.
    pub(super) unwanted: bool,
    /// Credit for it waits to be sent.
    pub(super) credit_due: bool,
    /// Since when pieces have lain unread, as far as anybody looked; see [`Streams::reset_stalled`].
    ///
    /// [`Streams::reset_stalled`]: super::Streams::reset_stalled
    pub(super) unread_since: Option<Instant>,
    /// Who waits for more.
    pub(super) waker: Option<Waker>,
}

impl Incoming {
    pub(super) fn new(window: RecvWindow) -> Self {
        Self {
            pieces: Pieces::default(),
            window,
            trailers: None,
            unwanted: false,
            credit_due: false,
            unread_since: None,
            waker: None,
        }
    }
}

/// Remembers whom to wake; gives the waker of before, which is not to be dropped under the lock.
pub fn remember(slot: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    if slot.as_ref().is_some_and(|known| known.will_wake(waker)) { None } else { slot.replace(waker.clone()) }
}
