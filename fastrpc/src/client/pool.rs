//! The places of a client's connections.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::Inner;
use super::dial::{Backoff, Dialer};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::mux::client_driver::Driver;
use crate::mux::conn::{Conn, closed};
use crate::stats::add;

/// A fixed number of places, each with its connection of the moment.
pub(super) struct Pool<C: Codec> {
    places: Box<[Place<C>]>,
    /// `None`: one connection, given from outside, that is not replaced.
    dialer: Option<Dialer>,
    next: AtomicUsize,
}

struct Place<C: Codec> {
    conns: Mutex<Conns<C>>,
    /// Calls waiting on the connection that takes calls.
    load: Arc<AtomicUsize>,
    link: Arc<LinkState>,
}

/// The connections of one place.
struct Conns<C: Codec> {
    /// The one that takes calls.
    current: Option<Arc<Conn<C>>>,
    /// Those that were replaced and may still finish.
    retired: Vec<Weak<Conn<C>>>,
}

/// How dialling for one place has gone.
struct LinkState {
    backoff: Mutex<Backoff>,
    failing: AtomicBool,
    opened_before: AtomicBool,
}

impl<C: Codec> Pool<C> {
    pub(super) fn new(places: usize, dialer: Option<Dialer>, backoff: (Duration, Duration)) -> Self {
        let place = |_| Place {
            conns: Mutex::new(Conns { current: None, retired: Vec::new() }),
            load: Arc::default(),
            link: Arc::new(LinkState {
                backoff: Mutex::new(Backoff::new(backoff.0, backoff.1)),
                failing: AtomicBool::new(false),
                opened_before: AtomicBool::new(false),
            }),
        };
        Self { places: (0..places).map(place).collect(), dialer, next: AtomicUsize::new(0) }
    }

    /// A usable connection at the least loaded place; dialling begins if it has none.
    pub(super) fn connection(&self, inner: &Inner<C>) -> Result<Arc<Conn<C>>, Error> {
        let [only] = &*self.places else {
            let (place, failing) = self.least_loaded();
            if failing && !place.is_failing() {
                self.revive(inner);
            }
            return self.connection_at(place, inner);
        };
        self.connection_at(only, inner)
    }

    fn connection_at(&self, place: &Place<C>, inner: &Inner<C>) -> Result<Arc<Conn<C>>, Error> {
        let mut conns = lock(&place.conns);
        if let Some(conn) = conns.current.as_ref().filter(|conn| conn.is_usable()) {
            return Ok(conn.clone());
        }
        if inner.is_closed() {
            return Err(closed()); // Asked under the lock: a connection that begins after this look is seen by close.
        }
        let Some(dialer) = &self.dialer else {
            let cause = conns.current.as_ref().and_then(|conn| conn.cause());
            let ended = || Error::new(ErrorKind::Connection, "the connection has ended");
            return Err(cause.map_or_else(ended, |cause| (*cause).clone()).with_retry(true));
        };
        let runtime = Handle::try_current().map_err(|_| {
            Error::config("no tokio runtime here to open a connection on: make calls from inside a runtime")
        })?;
        let conn = Arc::new(place.new_conn(inner));
        let not_before = lock(&place.link.backoff).not_before();
        let (link, counters) = (place.link.clone(), inner.counters.clone());
        let report = move |opened| {
            if opened && link.opened_before.swap(true, Ordering::Relaxed) {
                add(&counters.reconnects, 1);
            }
            link.dialled(opened);
        };
        let opening = dialer.open(not_before, report);
        runtime.spawn(Driver::new(conn.clone(), inner.link.clone(), opening));
        conns.replace(conn.clone());
        Ok(conn)
    }

    /// Dials for places that could not be reached and whose pause is over. Calls go elsewhere meanwhile, so that none is
    /// lost should it fail again.
    fn revive(&self, inner: &Inner<C>) {
        for place in self.places.iter().filter(|place| place.is_failing()) {
            if lock(&place.link.backoff).not_before().is_none_or(|at| at <= Instant::now()) {
                let _ = self.connection_at(place, inner);
            }
        }
    }

    /// Puts a connection that is open already in its place.
    pub(super) fn adopt(&self, inner: &Inner<C>) -> Arc<Conn<C>> {
        let conn = Arc::new(self.places[0].new_conn(inner));
        lock(&self.places[0].conns).replace(conn.clone());
        conn
    }

    /// Every connection that may not have ended.
    pub(super) fn connections(&self) -> impl Iterator<Item = Arc<Conn<C>>> {
        self.places.iter().flat_map(|place| lock(&place.conns).all())
    }

    /// Fails the oldest unsent call of the first connection that has one.
    pub(super) fn displace_oldest(&self) -> bool {
        self.connections().any(|conn| conn.displace_oldest())
    }

    /// Whether another connection can take the place of one that has ended.
    pub(super) fn can_dial(&self) -> bool {
        self.dialer.is_some()
    }

    pub(super) fn is_failing(&self) -> bool {
        self.places.iter().all(Place::is_failing)
    }

    /// The place with the fewest waiting calls; equals take turns, and those that cannot be reached come last. Also tells
    /// whether there are any of these.
    fn least_loaded(&self) -> (&Place<C>, bool) {
        // Two callers that read the same number start at the same place, which does no harm.
        let first = self.next.load(Ordering::Relaxed);
        let first = if first < self.places.len() { first } else { 0 };
        self.next.store(first + 1, Ordering::Relaxed);
        let (before, from) = self.places.split_at(first);
        let (mut best, mut failing) = (&self.places[first], false);
        let mut least = usize::MAX;
        for place in from.iter().chain(before) {
            if place.is_failing() {
                failing = true;
                continue;
            }
            let load = place.load.load(Ordering::Relaxed);
            if load < least {
                (best, least) = (place, load);
            }
        }
        (best, failing)
    }
}

impl<C: Codec> Conns<C> {
    fn replace(&mut self, conn: Arc<Conn<C>>) {
        let old = self.current.replace(conn);
        self.retired.retain(|conn| conn.strong_count() > 0);
        self.retired.extend(old.filter(|old| !old.is_over()).map(|old| Arc::downgrade(&old)));
    }

    fn all(&self) -> Vec<Arc<Conn<C>>> {
        self.current.iter().cloned().chain(self.retired.iter().filter_map(Weak::upgrade)).collect()
    }
}

impl<C: Codec> Place<C> {
    /// Whether the last attempt to open a connection here failed.
    fn is_failing(&self) -> bool {
        self.link.failing.load(Ordering::Relaxed)
    }

    fn new_conn(&self, inner: &Inner<C>) -> Conn<C> {
        Conn::new(
            inner.codec.clone(),
            inner.admission.clone(),
            inner.counters.clone(),
            inner.peer.clone(),
            inner.max_abandoned,
            self.load.clone(),
        )
    }
}

impl LinkState {
    fn dialled(&self, opened: bool) {
        let mut backoff = lock(&self.backoff);
        if opened {
            backoff.succeeded();
        } else {
            backoff.failed(Instant::now(), fastrand::f64());
        }
        self.failing.store(backoff.is_failing(), Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
