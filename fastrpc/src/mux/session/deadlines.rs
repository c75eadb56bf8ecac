//! When which stream is late.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use tokio::time::Instant;

use crate::mux::framed::Key;

/// Deadlines in order. One that does not hold any more stays until its turn comes, or until most are such.
#[derive(Default)]
pub(super) struct Deadlines {
    /// Calls mostly have the same time: each of these is not before the one that was added before it.
    rising: VecDeque<(Instant, Key)>,
    others: BinaryHeap<Reverse<(Instant, Key)>>,
}

impl Deadlines {
    /// Fewer are not looked through for those that hold.
    const UNTIDY: usize = 64;

    /// A stream has a deadline. `streams` is how many there are, each with one at most, and `holds` tells whether it is this.
    pub(super) fn add(&mut self, deadline: Instant, key: Key, streams: usize, holds: impl Fn(Key, Instant) -> bool) {
        if self.rising.back().is_none_or(|(last, _)| *last <= deadline) {
            self.rising.push_back((deadline, key));
        } else {
            self.others.push(Reverse((deadline, key)));
        }
        if self.len() > 2 * streams + Self::UNTIDY {
            self.rising.retain(|(deadline, key)| holds(*key, *deadline));
            self.others.retain(|Reverse((deadline, key))| holds(*key, *deadline));
        }
    }

    /// No deadline that holds is before this.
    pub(super) fn next(&self) -> Option<Instant> {
        self.first().map(|(deadline, _)| deadline)
    }

    /// Takes the first one that holds, if it is not after `now`.
    pub(super) fn late(&mut self, now: Instant, holds: impl Fn(Key, Instant) -> bool) -> Option<Key> {
        // Most do not hold any more, and lie in their order.
        while let Some((deadline, key)) = self.rising.front()
            && !holds(*key, *deadline)
        {
            self.rising.pop_front();
        }
        while let Some((deadline, key)) = self.first() {
            let held = holds(key, deadline);
            if held && deadline > now {
                return None;
            }
            if self.rising.front() == Some(&(deadline, key)) {
                self.rising.pop_front();
            } else {
                self.others.pop();
            }
            if held {
                return Some(key);
            }
        }
        None
    }

    fn first(&self) -> Option<(Instant, Key)> {
        let other = self.others.peek().map(|Reverse(first)| *first);
        self.rising.front().copied().into_iter().chain(other).min()
    }

    fn len(&self) -> usize {
        self.rising.len() + self.others.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::mux::framed::{Role, Streams};
    use crate::wire::framed::frame::TooLong;

    fn keys(count: usize) -> Vec<Key> {
        let settings = crate::wire::framed::settings::Settings::default();
        let mut streams = Streams::new(Role::Client, settings.clone(), settings, 1 << 20, Instant::now());
        let open = |_| streams.open::<TooLong>((), 0, false, |_| Ok(()), &bytes::Bytes::new(), false).unwrap();
        (0..count).map(open).collect()
    }

    #[test]
    fn the_first_one_that_holds_is_late_first() {
        let (start, keys) = (Instant::now(), keys(3));
        let at = |ms| start + Duration::from_millis(ms);
        let mut deadlines = Deadlines::default();
        for (key, ms) in keys.iter().zip([30, 10, 20]) {
            deadlines.add(at(ms), *key, 3, |_, _| true);
        }
        let holds = |key, _| key != keys[1];
        assert_eq!(deadlines.next(), Some(at(10)));
        assert_eq!(deadlines.late(at(19), holds), None);
        assert_eq!(deadlines.next(), Some(at(20)), "one that does not hold is forgotten");
        assert_eq!(deadlines.late(at(25), holds), Some(keys[2]));
        assert_eq!(deadlines.late(at(25), holds), None);
        assert_eq!(deadlines.late(at(30), holds), Some(keys[0]));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn those_that_do_not_hold_do_not_pile_up() {
        let (start, keys) = (Instant::now(), keys(1000));
        let mut deadlines = Deadlines::default();
        for key in &keys {
            deadlines.add(start, *key, 10, |other, _| other == *key);
        }
        assert!(deadlines.len() <= 2 * 10 + 64 + 1, "{}", deadlines.len());
    }
}
