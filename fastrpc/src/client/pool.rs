//! The connections of a client on the classic wire.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::dial::Dialer;
use super::inner::Inner;
use super::places::{Place, Places};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::mux::client_driver::Driver;
use crate::mux::conn::{Conn, closed};
use crate::stats::add;

/// A fixed number of places, each with its connection of the moment.
pub(super) struct Pool<C: Codec> {
    places: Places<Conns<C>>,
    /// `None`: one connection, given from outside, that is not replaced.
    dialer: Option<Dialer>,
}

/// The connections of one place.
struct Conns<C: Codec> {
    /// The one that takes calls.
    current: Option<Arc<Conn<C>>>,
    /// Those that were replaced and may still finish.
    retired: Vec<Weak<Conn<C>>>,
}

impl<C: Codec> Default for Conns<C> {
    fn default() -> Self {
        Self { current: None, retired: Vec::new() }
    }
}

impl<C: Codec> Pool<C> {
    pub(super) fn new(places: usize, dialer: Option<Dialer>, backoff: (Duration, Duration)) -> Self {
        Self { places: Places::new(places, backoff), dialer }
    }

    /// A usable connection at the least loaded place; dialling begins if it has none.
    pub(super) fn connection(&self, inner: &Inner<C>) -> Result<Arc<Conn<C>>, Error> {
        let (chosen, others) = self.places.choose();
        for other in others {
            let _ = self.connection_at(self.places.get(other), inner);
        }
        self.connection_at(self.places.get(chosen), inner)
    }

    fn connection_at(&self, place: &Place<Conns<C>>, inner: &Inner<C>) -> Result<Arc<Conn<C>>, Error> {
        let mut conns = place.lock();
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
        let runtime = runtime()?;
        let conn = Arc::new(new_conn(place, inner));
        let (link, counters) = (place.link.clone(), inner.counters.clone());
        let report = move |opened| {
            if link.dialled(opened) {
                add(&counters.reconnects, 1);
            }
        };
        let opening = dialer.open_classic(place.link.not_before(), report);
        runtime.spawn(Driver::new(conn.clone(), inner.settings.link.clone(), opening));
        conns.replace(conn.clone());
        Ok(conn)
    }

    /// Puts a connection that is open already in its place.
    pub(super) fn adopt(&self, inner: &Inner<C>) -> Arc<Conn<C>> {
        let place = self.places.get(0);
        let conn = Arc::new(new_conn(place, inner));
        place.lock().replace(conn.clone());
        conn
    }

    /// Every connection that may not have ended.
    pub(super) fn connections(&self) -> impl Iterator<Item = Arc<Conn<C>>> {
        self.places.iter().flat_map(|place| place.lock().all())
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
        self.places.is_failing()
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

fn new_conn<C: Codec>(place: &Place<Conns<C>>, inner: &Inner<C>) -> Conn<C> {
    Conn::new(
        inner.codec.clone(),
        inner.admission.clone(),
        inner.counters.clone(),
        inner.peer.clone(),
        inner.settings.max_abandoned,
        place.load.clone(),
    )
}

/// The runtime that connections live in.
pub(crate) fn runtime() -> Result<Handle, Error> {
    Handle::try_current()
        .map_err(|_| Error::config("no tokio runtime here to open a connection on: make calls from inside a runtime"))
}
