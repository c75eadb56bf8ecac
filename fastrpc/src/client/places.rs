//! The places of a pool: where the next call goes, and when a place that could not be reached is dialled again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::dial::Backoff;

/// A fixed number of places, each with a `T`: its connections.
pub(crate) struct Places<T> {
    places: Box<[Place<T>]>,
    next: AtomicUsize,
}

/// One of them.
pub(crate) struct Place<T> {
    content: Mutex<T>,
    /// Calls that wait here.
    pub(crate) load: Arc<AtomicUsize>,
    pub(crate) link: Arc<LinkState>,
}

/// How dialling for one place has gone.
pub(crate) struct LinkState {
    backoff: Mutex<Backoff>,
    failing: AtomicBool,
    opened_before: AtomicBool,
}

impl<T: Default> Places<T> {
    /// So many, which are dialled again after pauses from the first to the second length.
    pub(crate) fn new(count: usize, backoff: (Duration, Duration)) -> Self {
        let place = |_| Place {
            content: Mutex::default(),
            load: Arc::default(),
            link: Arc::new(LinkState {
                backoff: Mutex::new(Backoff::new(backoff.0, backoff.1)),
                failing: AtomicBool::new(false),
                opened_before: AtomicBool::new(false),
            }),
        };
        Self { places: (0..count).map(place).collect(), next: AtomicUsize::new(0) }
    }
}

impl<T> Places<T> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Place<T>> {
        self.places.iter()
    }

    pub(crate) fn get(&self, index: usize) -> &Place<T> {
        &self.places[index]
    }

    /// Whether none of them could be reached.
    pub(crate) fn is_failing(&self) -> bool {
        self.places.iter().all(Place::is_failing)
    }

    /// The place for the next call, and those that are worth another dial meanwhile: they could not be reached, and their pause
    /// is over. Calls go elsewhere until they can be, so that none is lost should it fail again.
    pub(crate) fn choose(&self) -> (usize, impl Iterator<Item = usize>) {
        let chosen = self.look();
        self.turn();
        chosen
    }

    /// The same for a call that may not go there after all: it takes no turn before it does, with [`Places::turn`].
    pub(crate) fn look(&self) -> (usize, impl Iterator<Item = usize>) {
        let (index, failing) = if self.places.len() == 1 { (0, false) } else { self.least_loaded() };
        let revive = failing && !self.places[index].is_failing();
        let due = move |index: &usize| revive && self.places[*index].is_due();
        (index, (0..if revive { self.places.len() } else { 0 }).filter(due))
    }

    /// Among equals it is the next one's turn.
    pub(crate) fn turn(&self) {
        if self.places.len() > 1 {
            self.next.store(self.first() + 1, Ordering::Relaxed);
        }
    }

    fn first(&self) -> usize {
        let first = self.next.load(Ordering::Relaxed);
        if first < self.places.len() { first } else { 0 }
    }

    /// The place with the fewest waiting calls; equals take turns, and those that cannot be reached come last. Also tells
    /// whether there are any of these.
    fn least_loaded(&self) -> (usize, bool) {
        let count = self.places.len();
        // Two callers that read the same number start at the same place, which does no harm.
        let first = self.first();
        let (mut best, mut failing) = (first, false);
        let mut least = usize::MAX;
        for index in (first..count).chain(0..first) {
            let place = &self.places[index];
            if place.is_failing() {
                failing = true;
                continue;
            }
            let load = place.load.load(Ordering::Relaxed);
            if load < least {
                (best, least) = (index, load);
            }
        }
        (best, failing)
    }
}

impl<T> Place<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        lock(&self.content)
    }

    /// Whether the last attempt to open a connection here failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.link.failing.load(Ordering::Relaxed)
    }

    fn is_due(&self) -> bool {
        self.is_failing() && self.link.not_before().is_none_or(|at| at <= Instant::now())
    }
}

impl LinkState {
    /// When the next dial may begin.
    pub(crate) fn not_before(&self) -> Option<Instant> {
        lock(&self.backoff).not_before()
    }

    /// A dial has reached the peer, and it opened no connection of the kind that is kept here.
    pub(crate) fn reached(&self) {
        lock(&self.backoff).succeeded();
        self.failing.store(false, Ordering::Relaxed);
    }

    /// How a dial has gone. Tells whether a connection was opened where one had been before.
    pub(crate) fn dialled(&self, opened: bool) -> bool {
        let mut backoff = lock(&self.backoff);
        if opened {
            backoff.succeeded();
        } else {
            backoff.failed(Instant::now(), fastrand::f64());
        }
        self.failing.store(backoff.is_failing(), Ordering::Relaxed);
        opened && self.opened_before.swap(true, Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
