//! What becomes of requests on one connection of HTTP/2: whether it takes any, and why it did not take one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::time::{Instant, timeout_at};

use super::greeting::TakesOthers;

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Streams {
    /// How many at a time it carries, as far as that is known.
    room: AtomicUsize,
    /// Those that it was given so far, without those that it has not taken.
    taken: AtomicUsize,
    takes_others: TakesOthers,
}

/// A request that is given to a connection.
pub(super) struct Given {
    streams: Arc<Streams>,
    /// The room that it was known to have.
    room: usize,
}

/// Why a request was not taken, and what follows.
#[derive(Debug)]
pub(crate) struct Untaken {
    given_to: Arc<Streams>,
    room: usize,
    /// Whether the upstream has refused this one, rather than the connection.
    alone: bool,
    /// It may be sent again out of the budget only.
    pub(crate) costs: bool,
    /// It has been sent so often that whoever has had it does not get it again.
    pub(crate) spent: bool,
}

impl Streams {
    /// Those of a connection that carries so many at a time.
    pub(super) fn new(room: usize, takes_others: TakesOthers) -> Arc<Streams> {
        Arc::new(Streams { room: AtomicUsize::new(room), taken: AtomicUsize::new(0), takes_others })
    }

    /// How many at a time it carries, as far as that is known.
    pub(super) fn room(&self) -> usize {
        self.room.load(Relaxed)
    }

    /// It carries so many at a time from now on.
    pub(super) fn set_room(&self, room: usize) {
        self.room.store(room, Relaxed);
    }

    /// One more is given to it.
    pub(super) fn give(self: &Arc<Self>) -> Given {
        self.taken.fetch_add(1, Relaxed);
        Given { streams: Arc::clone(self), room: self.room() }
    }
}

impl Given {
    /// Whether it may be for another protocol, which the upstream says before anything else; `true` as well where it does not come to
    /// that, so that the request finds out why.
    pub(super) async fn may_be_for_another_protocol(&self, deadline: Instant) -> bool {
        let mut takes_others = self.streams.takes_others.clone();
        let said = timeout_at(deadline, takes_others.wait_for(Option::is_some)).await;
        said.ok().and_then(Result::ok).and_then(|said| *said).unwrap_or(true)
    }

    /// It was not taken; `alone` if the upstream has refused this one, rather than the connection.
    pub(super) fn untaken(self, alone: bool) -> Untaken {
        self.streams.taken.fetch_sub(1, Relaxed);
        Untaken { given_to: self.streams, room: self.room, alone, costs: false, spent: false }
    }
}

impl Untaken {
    /// Whether the upstream would not have it. Of more requests than it has then said that it takes on a new connection it would
    /// have had each.
    pub(super) fn is_refusal(&self) -> bool {
        self.alone && self.given_to.room() >= self.room
    }

    /// Whether nobody has got any further by that: a connection that ends at its time has taken others. Known when those have heard as well.
    pub(super) fn is_in_vain(&self) -> bool {
        self.is_refusal() || (!self.alone && self.given_to.taken.load(Relaxed) == 0)
    }
}
