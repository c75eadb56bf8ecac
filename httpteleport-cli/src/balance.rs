//! Which upstream gets the next request.
//!
//! Two are drawn at random, by weight, and the one wins whose load, latency and failures together cost less
//! ([`table`]). What is known of an upstream is its [`Node`]; when it fails too often it is left alone for a while
//! ([`standing`]). Nothing here reads a clock or a socket: the time is given, and so is the randomness.

use std::time::Duration;

mod learnt;
mod load;
mod node;
mod standing;
mod table;

#[cfg(test)]
mod simulation;

pub(crate) use load::{Load, Slots};
pub(crate) use node::{Change, Node, Outcome};
pub(crate) use table::{Entry, Table};

/// How requests are spread over a group of upstreams.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// How long an upstream that is new, or back, takes to get its whole part; zero for at once. Default: zero.
    pub(crate) slow_start: Duration,
    /// When upstreams that fail are left alone.
    pub(crate) eject: Eject,
}

/// When an upstream that answers, but badly, gets no requests for a while.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Eject {
    /// So many failures in a row are too many; 0 for never. Default: 5.
    pub(crate) failures: u32,
    /// So many percent of failures are too many, over at least [`Eject::requests`] in ten seconds; 0 for never. Default: 50.
    pub(crate) percent: u32,
    /// How many requests it takes to speak of a percentage. Default: 50.
    pub(crate) requests: u64,
    /// How long the first time lasts; it doubles with each further one. Default: 5 s.
    pub(crate) first: Duration,
    /// It never lasts longer. Default: 5 min.
    pub(crate) longest: Duration,
    /// At most so many percent of a group may be out, and never all of it. Default: 50.
    pub(crate) most: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options { slow_start: Duration::ZERO, eject: Eject::default() }
    }
}

impl Default for Eject {
    fn default() -> Eject {
        Eject {
            failures: 5,
            percent: 50,
            requests: 50,
            first: Duration::from_secs(5),
            longest: Duration::from_secs(300),
            most: 50,
        }
    }
}

impl Eject {
    /// Whether one more of a group may be ejected, of whose `all` upstreams `out` get no requests already.
    pub(crate) fn has_room(&self, all: usize, out: usize) -> bool {
        let most = all.saturating_mul(self.most as usize) / 100;
        out < most && out + 1 < all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_half_and_never_the_last() {
        let room = |all| {
            let eject = Eject::default();
            (0..all).take_while(|out| eject.has_room(all, *out)).count()
        };
        assert_eq!([0, 1, 2, 3, 4, 5, 10].map(room), [0, 0, 1, 1, 2, 2, 5]);
        let all = Eject { most: 100, ..Eject::default() };
        assert!(!all.has_room(3, 2) && all.has_room(3, 1), "the last one stays, whatever is allowed");
    }
}
