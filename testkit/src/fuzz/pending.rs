//! Fuzz target `pending`: the table of waiting calls as a list of operations, beside a simple model.

use std::collections::HashSet;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use fastrpc::internals::{Arrival, Key, Outcome, Pending};
use fastrpc::{Client, Error, codec::tlv::Tlv};
use tokio::time::Instant;

/// Calls of one input: few enough that no slot comes to its first generation again.
const MOST_CALLS: usize = 4000;

/// Reads `input` as operations, two bytes each, and does them on the table and on the model. Both must agree on every
/// answer and every count; no id may come twice, and no reply may reach another call than its own.
///
/// # Panics
///
/// A fault was found.
pub fn pending(input: &[u8]) {
    let mut world = World::new();
    for operation in input.chunks_exact(2) {
        world.step(operation[0] % 16, operation[1]);
        world.compare();
    }
    world.finish();
}

/// What the model knows of a call.
enum State {
    Waiting { polled: bool },
    Ended { how: How, owed: bool },
    Quarantined,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Reply(u32),
    Expired { sent: bool },
    Failed { sent: bool },
}

struct Call {
    key: Key,
    message: u64,
    deadline: Instant,
    state: State,
}

struct World {
    table: Pending<u32>,
    calls: Vec<Call>,
    ids: HashSet<u32>,
    now: Instant,
    next: u64,
    taken: u64,
    replies: u32,
    cause: Arc<Error>,
}

impl World {
    fn new() -> Self {
        let unusable = Client::builder(Tlv::new()).wire(fastrpc::Wire::Classic).connect("no port").err();
        Self {
            table: Pending::default(),
            calls: Vec::new(),
            ids: HashSet::new(),
            now: Instant::now(),
            next: 0,
            taken: 0,
            replies: 0,
            cause: Arc::new(unusable.expect("an address needs a port")),
        }
    }

    fn step(&mut self, operation: u8, argument: u8) {
        match operation {
            0..=2 => self.insert(argument),
            3 => (0..argument).for_each(|n| self.insert(n)),
            4 => self.taken = self.next,
            5 | 6 => self.reply(argument),
            7 => self.reply_to_a_stranger(u32::from(argument) << 20 | 3),
            8 | 9 => self.poll(argument),
            10 => self.cancel(argument),
            11 => (0..argument).for_each(|_| self.cancel(0)),
            12 => self.expire(argument),
            13 => self.fail_one(argument),
            14 => self.table.shrink(),
            _ => self.fail_all(argument),
        }
    }

    fn insert(&mut self, limit: u8) {
        if self.calls.len() == MOST_CALLS {
            return;
        }
        let deadline = self.now + Duration::from_millis(limit.into());
        let key = self.table.insert(deadline, self.next).expect("there are ids left");
        assert!(key.id() != 0 && self.ids.insert(key.id()), "an id came twice");
        let state = State::Waiting { polled: false };
        self.calls.push(Call { key, message: self.next, deadline, state });
        self.next += 1;
    }

    /// The call that an argument picks: counted from the newest.
    fn pick(&self, argument: u8) -> Option<usize> {
        self.calls.len().checked_sub(1 + usize::from(argument))
    }

    /// As `pick`, among those whose future is still there.
    fn pick_held(&self, argument: u8) -> Option<usize> {
        let held = |call: &Call| matches!(call.state, State::Waiting { .. } | State::Ended { .. });
        let held = self.calls.iter().enumerate().rev().filter(|(_, call)| held(call));
        held.map(|(index, _)| index).nth(argument.into())
    }

    fn reply(&mut self, argument: u8) {
        let Some(index) = self.pick(argument) else { return };
        self.replies += 1;
        let value = self.replies;
        let call = &mut self.calls[index];
        let arrival = self.table.complete(call.key.id(), self.taken, value);
        match &mut call.state {
            State::Waiting { polled } if call.message < self.taken => {
                let Arrival::Completed(waker) = arrival else { panic!("a reply did not reach its call") };
                assert_eq!(waker.is_some(), *polled, "whom to wake");
                call.state = State::Ended { how: How::Reply(value), owed: false };
                return;
            }
            State::Ended { owed, .. } => *owed = false,
            State::Quarantined => call.state = State::Gone,
            State::Waiting { .. } | State::Gone => {}
        }
        let Arrival::Unclaimed(back) = arrival else { panic!("a reply reached somebody") };
        assert_eq!(back, value);
    }

    fn reply_to_a_stranger(&mut self, id: u32) {
        if !self.ids.contains(&id) {
            let arrival = self.table.complete(id, self.taken, 0);
            assert!(matches!(arrival, Arrival::Unclaimed(0)), "an id that was never given out has a call");
        }
    }

    fn poll(&mut self, argument: u8) {
        let Some(index) = self.pick_held(argument) else { return };
        let call = &mut self.calls[index];
        let mut replaced = None;
        let polled = self.table.poll(call.key, Waker::noop(), &mut replaced);
        match (&mut call.state, polled) {
            (State::Waiting { polled }, Poll::Pending) => *polled = true,
            (State::Ended { how, owed }, Poll::Ready(outcome)) => {
                assert_eq!(how_of(&outcome), *how);
                call.state = if *owed { State::Quarantined } else { State::Gone };
            }
            (State::Waiting { .. }, Poll::Ready(_)) => panic!("a waiting call has an outcome"),
            _ => panic!("an ended call has no outcome"),
        }
    }

    fn cancel(&mut self, argument: u8) {
        let Some(index) = self.pick_held(argument) else { return };
        let call = &mut self.calls[index];
        let sent = call.message < self.taken;
        let (was_waiting, outcome, waker) = self.table.cancel(call.key, sent);
        let owed = match &call.state {
            State::Waiting { polled } => {
                assert!(was_waiting && outcome.is_none() && waker.is_some() == *polled);
                sent
            }
            State::Ended { how, owed } => {
                assert!(!was_waiting && outcome.as_ref().map(how_of) == Some(*how));
                *owed
            }
            _ => unreachable!("picked among those that are held"),
        };
        call.state = if owed { State::Quarantined } else { State::Gone };
    }

    fn expire(&mut self, argument: u8) {
        self.now += Duration::from_millis(argument.into());
        let mut told = Vec::new();
        self.table.expire(self.now, self.taken, &mut Vec::new(), |message, sent| told.push((message, sent)));
        let mut expected = Vec::new();
        for call in &mut self.calls {
            if matches!(call.state, State::Waiting { .. }) && call.deadline <= self.now {
                let sent = call.message < self.taken;
                call.state = State::Ended { how: How::Expired { sent }, owed: sent };
                expected.push((call.message, sent));
            }
        }
        told.sort_unstable();
        assert_eq!(told, expected, "which calls expire");
    }

    /// A call that is unsent gives way.
    fn fail_one(&mut self, argument: u8) {
        let Some(index) = self.pick_held(argument) else { return };
        let call = &mut self.calls[index];
        if matches!(call.state, State::Waiting { .. }) && call.message >= self.taken {
            self.table.fail_by_id(call.key.id(), self.cause.clone());
            call.state = State::Ended { how: How::Failed { sent: false }, owed: false };
        }
    }

    /// The connection ends; of what was taken some may not have left.
    fn fail_all(&mut self, argument: u8) {
        let left = self.taken.saturating_sub(argument.into());
        let waiting = self.table.waiting();
        assert_eq!(self.table.fail_all(&self.cause, left, &mut Vec::new()), waiting);
        for call in &mut self.calls {
            match &mut call.state {
                State::Waiting { .. } => {
                    let how = How::Failed { sent: call.message < left };
                    call.state = State::Ended { how, owed: false };
                }
                State::Ended { owed, .. } => *owed = false,
                State::Quarantined => call.state = State::Gone,
                State::Gone => {}
            }
        }
    }

    fn compare(&self) {
        let count = |which: fn(&State) -> bool| self.calls.iter().filter(|call| which(&call.state)).count();
        let waiting = count(|state| matches!(state, State::Waiting { .. }));
        let quarantined = count(|state| matches!(state, State::Quarantined));
        let ended = count(|state| matches!(state, State::Ended { .. }));
        assert_eq!(self.table.waiting(), waiting);
        assert_eq!(self.table.quarantined(), quarantined);
        assert_eq!(self.table.occupied(), waiting + quarantined + ended);
        let waiting = self.calls.iter().filter(|call| matches!(call.state, State::Waiting { .. }));
        if let Some(first) = waiting.map(|call| call.deadline).min() {
            assert!(self.table.next_deadline().is_some_and(|next| next <= first), "a deadline would be missed");
        }
    }

    /// Everything ends, and the table is empty and small.
    fn finish(mut self) {
        self.fail_all(0);
        while self.pick_held(0).is_some() {
            self.poll(0);
        }
        self.compare();
        self.table.shrink();
        assert!(self.table.occupied() == 0 && self.table.capacity() <= 1024);
    }
}

fn how_of(outcome: &Outcome<u32>) -> How {
    match outcome {
        Outcome::Reply(value) => How::Reply(*value),
        Outcome::Expired { sent } => How::Expired { sent: *sent },
        Outcome::Failed { sent, .. } => How::Failed { sent: *sent },
    }
}
