//! The calls of one connection that wait for their reply.
//!
//! A slab of slots. The id on the wire is the slot's index (20 bits) and its generation (12 bits, never zero, so no
//! id is zero). A slot is taken again only after its reply came or the connection ended: a call that was dropped or
//! timed out leaves its slot in quarantine, so that a late reply can never reach another caller. The generation is the
//! second line of defence, against peers that answer twice.

use std::sync::Arc;
use std::task::{Poll, Waker};

use tokio::time::Instant;

use crate::error::Error;

const INDEX_BITS: u32 = 20;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;
const GENERATIONS: u32 = 1 << (32 - INDEX_BITS);

/// Names a registered call; its number is the id on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u32);

impl Key {
    fn new(index: usize, generation: u32) -> Self {
        let index = u32::try_from(index).expect("bounded by the slot limit");
        Self(generation << INDEX_BITS | index)
    }

    /// The id on the wire, never zero.
    #[must_use]
    pub fn id(self) -> u32 {
        self.0
    }

    fn index(self) -> usize {
        (self.0 & INDEX_MASK) as usize
    }

    fn generation(self) -> u32 {
        self.0 >> INDEX_BITS
    }
}

/// How a call ended.
#[derive(Debug)]
pub enum Outcome<R> {
    /// Its reply, or what the codec made of it.
    Reply(R),
    /// The deadline passed; `sent` tells whether a byte of it may have left.
    Expired {
        /// Whether a byte of it may have left.
        sent: bool,
    },
    /// The connection ended, or the call gave way to a newer one.
    Failed {
        /// Shared by all calls that ended for this reason.
        cause: Arc<Error>,
        /// Whether a byte of it may have left.
        sent: bool,
    },
}

/// What became of a reply that arrived.
#[derive(Debug)]
pub enum Arrival<R> {
    /// It completed its call; the waker, if the call was polled already.
    Completed(Option<Waker>),
    /// Nobody waits for it. It is handed back so that it is dropped outside the lock.
    Unclaimed(R),
}

#[derive(Debug)]
enum State<R> {
    Free {
        next: Option<usize>,
    },
    Waiting {
        waker: Option<Waker>,
    },
    /// Ended, and not yet collected by its future. `owed`: the peer still owes a reply for this id.
    Ended {
        outcome: Outcome<R>,
        owed: bool,
    },
    Quarantined,
}

#[derive(Debug)]
struct Slot<R> {
    generation: u32,
    deadline: Instant,
    /// The number of the call's message in the connection's outgoing stream.
    message: u64,
    state: State<R>,
}

/// The table. Nothing in it runs foreign code: wakers and replies are handed out.
#[derive(Debug)]
pub struct Pending<R> {
    slots: Vec<Slot<R>>,
    free: Option<usize>,
    occupied: usize,
    waiting: usize,
    quarantined: usize,
    /// No waiting call has a deadline before this one. Early when that call has ended since.
    next_deadline: Option<Instant>,
    /// The generation of a slot that is new. It moves on when slots are dropped, so that ids do not come again soon.
    first_generation: u32,
}

impl<R> Default for Pending<R> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: None,
            occupied: 0,
            waiting: 0,
            quarantined: 0,
            next_deadline: None,
            first_generation: 1,
        }
    }
}

impl<R> Pending<R> {
    /// Calls that wait for their reply.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Slots whose reply is owed though nobody waits for it.
    #[must_use]
    pub fn quarantined(&self) -> usize {
        self.quarantined
    }

    /// Slots in use for any reason.
    #[must_use]
    pub fn occupied(&self) -> usize {
        self.occupied
    }

    /// Slots that [`Pending::expire`] walks.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// When to call [`Pending::expire`] next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline
    }

    /// Slots that there is memory for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// Registers a call whose message will be that number in the stream; `None` when every id is taken.
    pub fn insert(&mut self, deadline: Instant, message: u64) -> Option<Key> {
        let state = State::Waiting { waker: None };
        let key = if let Some(index) = self.free {
            let slot = &mut self.slots[index];
            let State::Free { next } = slot.state else { unreachable!("the free list holds free slots") };
            self.free = next;
            *slot = Slot { generation: next_generation(slot.generation), deadline, message, state };
            Key::new(index, slot.generation)
        } else {
            if self.slots.len() > INDEX_MASK as usize {
                return None;
            }
            let generation = self.first_generation;
            self.slots.push(Slot { generation, deadline, message, state });
            Key::new(self.slots.len() - 1, generation)
        };
        self.occupied += 1;
        self.waiting += 1;
        if self.next_deadline.is_none_or(|next| deadline < next) {
            self.next_deadline = Some(deadline);
        }
        Some(key)
    }

    /// Has the end of a call that was just inserted wake `waker`.
    pub fn wake(&mut self, key: Key, waker: Waker) {
        let slot = self.slot_mut(key);
        if let State::Waiting { waker: known } = &mut slot.state {
            *known = Some(waker);
        }
    }

    /// The outcome of a call, which frees its slot; or remembers whom to wake. A waker that it no longer needs is put in
    /// `replaced`, to be dropped outside the lock.
    ///
    /// # Panics
    ///
    /// When the key was collected or cancelled before.
    pub fn poll(&mut self, key: Key, waker: &Waker, replaced: &mut Option<Waker>) -> Poll<Outcome<R>> {
        let slot = self.slot_mut(key);
        if let State::Waiting { waker: known } = &mut slot.state {
            if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
                *replaced = known.replace(waker.clone());
            }
            return Poll::Pending;
        }
        Poll::Ready(self.collect(key))
    }

    /// Forgets a call. What it held is handed back to be dropped outside the lock. `sent` tells whether a byte of it may
    /// have left, so that its slot must wait for the reply.
    pub fn cancel(&mut self, key: Key, sent: bool) -> (bool, Option<Outcome<R>>, Option<Waker>) {
        let slot = self.slot_mut(key);
        if let State::Waiting { waker } = &mut slot.state {
            let waker = waker.take();
            self.waiting -= 1;
            self.retire(key.index(), sent);
            return (true, None, waker);
        }
        (false, Some(self.collect(key)), None)
    }

    /// The number of a waiting call's message.
    #[must_use]
    pub fn message(&self, key: Key) -> Option<u64> {
        let slot = self.slots.get(key.index())?;
        (slot.generation == key.generation() && matches!(slot.state, State::Waiting { .. })).then_some(slot.message)
    }

    /// Gives an arrived reply to its call. Messages from number `taken` on were not sent: nobody can have answered them,
    /// whatever the peer says.
    pub fn complete(&mut self, id: u32, taken: u64, reply: R) -> Arrival<R> {
        let key = Key(id);
        let Some(slot) = self.slots.get_mut(key.index()).filter(|slot| slot.generation == key.generation()) else {
            return Arrival::Unclaimed(reply);
        };
        match &mut slot.state {
            State::Waiting { .. } if slot.message >= taken => Arrival::Unclaimed(reply),
            State::Waiting { waker } => {
                let waker = waker.take();
                slot.state = State::Ended { outcome: Outcome::Reply(reply), owed: false };
                self.waiting -= 1;
                Arrival::Completed(waker)
            }
            State::Ended { owed, .. } => {
                *owed = false;
                Arrival::Unclaimed(reply)
            }
            State::Quarantined => {
                self.quarantined -= 1;
                self.release(key.index());
                Arrival::Unclaimed(reply)
            }
            State::Free { .. } => Arrival::Unclaimed(reply),
        }
    }

    /// Fails one waiting call, whose bytes never left.
    pub fn fail_by_id(&mut self, id: u32, cause: Arc<Error>) -> Option<Waker> {
        let slot = self.slot_mut(Key(id));
        let State::Waiting { waker } = &mut slot.state else { return None };
        let waker = waker.take();
        slot.state = State::Ended { outcome: Outcome::Failed { cause, sent: false }, owed: false };
        self.waiting -= 1;
        waker
    }

    /// Ends every call whose deadline is not after `now`. Messages before number `taken` may have left; `expired` gets
    /// the message of each call ended and whether it was sent.
    pub fn expire(&mut self, now: Instant, taken: u64, wakers: &mut Vec<Waker>, mut expired: impl FnMut(u64, bool)) {
        if self.next_deadline.is_none_or(|next| now < next) {
            return;
        }
        let mut next: Option<Instant> = None;
        for slot in &mut self.slots {
            let State::Waiting { waker } = &mut slot.state else { continue };
            if slot.deadline > now {
                next = Some(next.map_or(slot.deadline, |next| next.min(slot.deadline)));
                continue;
            }
            wakers.extend(waker.take());
            let sent = slot.message < taken;
            slot.state = State::Ended { outcome: Outcome::Expired { sent }, owed: sent };
            self.waiting -= 1;
            expired(slot.message, sent);
        }
        self.next_deadline = next;
    }

    /// Ends every call with one shared cause, as the connection has ended. Messages from number `left` on never
    /// left. Frees the quarantine: no reply can come any more. Gives the number of calls ended.
    pub fn fail_all(&mut self, cause: &Arc<Error>, left: u64, wakers: &mut Vec<Waker>) -> usize {
        let failed = self.waiting;
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            match &mut slot.state {
                State::Waiting { waker } => {
                    wakers.extend(waker.take());
                    let outcome = Outcome::Failed { cause: cause.clone(), sent: slot.message < left };
                    slot.state = State::Ended { outcome, owed: false };
                }
                State::Ended { owed, .. } => *owed = false,
                State::Quarantined => self.release(index),
                State::Free { .. } => {}
            }
        }
        self.waiting = 0;
        self.quarantined = 0;
        self.next_deadline = None;
        failed
    }

    /// Gives memory back after a burst: drops all slots if every one is free and they are many.
    pub fn shrink(&mut self) {
        const KEEP: usize = 1024;
        if self.slots.capacity() > KEEP && self.occupied == 0 {
            let newest = self.slots.iter().map(|slot| slot.generation).max();
            *self = Self { first_generation: next_generation(newest.unwrap_or_default()), ..Self::default() };
        }
    }

    fn slot_mut(&mut self, key: Key) -> &mut Slot<R> {
        let slot = &mut self.slots[key.index()];
        assert_eq!(slot.generation, key.generation(), "a call is collected or cancelled once");
        slot
    }

    fn collect(&mut self, key: Key) -> Outcome<R> {
        let slot = self.slot_mut(key);
        match std::mem::replace(&mut slot.state, State::Quarantined) {
            State::Ended { outcome, owed } => {
                self.retire(key.index(), owed);
                outcome
            }
            State::Free { .. } | State::Waiting { .. } | State::Quarantined => {
                unreachable!("a call is collected once, after it ended")
            }
        }
    }

    /// The future of this slot is gone.
    fn retire(&mut self, index: usize, owed: bool) {
        if owed {
            self.slots[index].state = State::Quarantined;
            self.quarantined += 1;
        } else {
            self.release(index);
        }
    }

    fn release(&mut self, index: usize) {
        self.slots[index].state = State::Free { next: self.free };
        self.occupied -= 1;
        self.free = Some(index);
    }
}

fn next_generation(generation: u32) -> u32 {
    if generation + 1 == GENERATIONS { 1 } else { generation + 1 }
}

#[cfg(test)]
mod tests;
