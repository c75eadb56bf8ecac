//! The connections of a client on the framed wire.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::client::dial::Dialer;
use crate::client::places::Places;
use crate::client::pool::runtime;
use crate::client::settings::{Observer, Settings};
use crate::error::{Error, ErrorKind};
use crate::mux::conn::closed;
use crate::mux::link::Peer;
use crate::mux::session::{Caller, Connected, Driver, NoCalls};
use crate::stats::{Counters, add};
use crate::stream::messages::caught;

/// The peer does not speak the framed wire: the source of a handshake's [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFramed {
    /// It answered with a whole hello of the classic wire.
    Classic,
    /// It ended the connection before the first byte of TLS, as a peer of the classic wire does.
    NoTls,
}

impl fmt::Display for NotFramed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classic => "it answered with a hello of the classic wire",
            Self::NoTls => "it ended the connection before the first byte of TLS",
        })
    }
}

impl std::error::Error for NotFramed {}

impl NotFramed {
    /// What such a peer's error says, if it is one.
    pub fn of(error: &Error) -> Option<Self> {
        std::error::Error::source(error)?.downcast_ref().copied()
    }

    /// What a call is told that may not take another wire.
    pub(crate) fn error(self) -> Error {
        let message = match self {
            Self::Classic => {
                "the peer speaks the classic wire alone: set wire to auto or classic, or let the peer speak the framed wire"
            }
            Self::NoTls => {
                "the peer ended the connection before TLS began, as one of the classic wire does: set wire to auto or \
                 classic, or check that the port speaks TLS"
            }
        };
        Error::new(ErrorKind::Handshake, message).with_source(self).with_retry(true)
    }
}

/// A fixed number of places, each with its connection of the moment. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    places: Places<Slot>,
    /// `None`: one connection, given from outside, that is not replaced.
    dialer: Option<Dialer>,
    counters: Arc<Counters>,
    observer: Option<Observer>,
    closed: AtomicBool,
}

#[derive(Default)]
struct Slot {
    current: Current,
    /// Those that were replaced and may still finish.
    retired: Vec<Caller>,
}

#[derive(Default)]
enum Current {
    #[default]
    None,
    /// Calls wait for how it turns out.
    Dialling(watch::Receiver<Option<Outcome>>),
    Open(Caller),
}

/// What a dial came to.
type Outcome = Result<Caller, Error>;

/// A connection for a call, and what tells that one more waits on it.
pub(crate) struct Picked<'a> {
    pub(crate) caller: Caller,
    pub(crate) load: Load<'a>,
}

/// A call counts at its place until this is dropped.
pub(crate) struct Load<'a>(&'a Pool, usize);

impl<'a> Load<'a> {
    fn new(pool: &'a Pool, index: usize) -> Self {
        pool.0.places.get(index).load.fetch_add(1, Ordering::Relaxed);
        Self(pool, index)
    }

    /// Goes on counting without this value, until the call [leaves](Pool::leave) its place, which is told.
    pub(crate) fn set_aside(self) -> usize {
        let place = self.1;
        std::mem::forget(self);
        place
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

impl Pool {
    pub(crate) fn new(places: usize, dialer: Option<Dialer>, settings: &Settings, counters: Arc<Counters>) -> Self {
        let places = Places::new(places, settings.backoff);
        let (observer, closed) = (settings.observer.clone(), AtomicBool::new(false));
        Self(Arc::new(Inner { places, dialer, counters, observer, closed }))
    }

    /// Puts a connection that is open already in its place.
    pub(crate) fn adopt(&self, caller: Caller) {
        self.0.places.get(0).lock().current = Current::Open(caller);
    }

    /// A connection at the least loaded place; waits for the dial if it has none.
    ///
    /// # Errors
    ///
    /// How the dial failed, with [`NotFramed`] as its source if the peer speaks another wire; or the client was closed.
    pub(crate) async fn pick(&self) -> Result<Picked<'_>, Error> {
        let (chosen, others) = self.0.places.choose();
        for other in others {
            let _ = self.at(other);
        }
        let load = Load::new(self, chosen);
        let mut dialling = match self.at(chosen)? {
            Current::Open(caller) => return Ok(Picked { caller, load }),
            Current::Dialling(dialling) => dialling,
            Current::None => unreachable!("a place is dialled when it is looked at"),
        };
        let outcome = dialling.wait_for(Option::is_some).await.map(|outcome| outcome.clone());
        let gone = || Error::new(ErrorKind::Connect, "the runtime that dialled has ended").with_retry(true);
        let caller = outcome.ok().flatten().unwrap_or_else(|| Err(gone()))?;
        Ok(Picked { caller, load })
    }

    /// A connection that is open, if there is one where the next call goes.
    pub(crate) fn try_pick(&self) -> Option<Picked<'_>> {
        self.try_any().filter(|picked| picked.caller.is_usable())
    }

    /// The same, whether it still takes calls or not: who makes one sees.
    pub(crate) fn try_any(&self) -> Option<Picked<'_>> {
        let (chosen, others) = self.0.places.look();
        for other in others {
            let _ = self.at(other);
        }
        let slot = self.0.places.get(chosen).lock();
        let Current::Open(caller) = &slot.current else { return None };
        Some(Picked { caller: caller.clone(), load: Load::new(self, chosen) })
    }

    /// A call went to the connection that was tried: the next one goes elsewhere.
    pub(crate) fn turn(&self) {
        self.0.places.turn();
    }

    /// A call that was [set aside](Load::set_aside) does not count any more.
    pub(crate) fn leave(&self, place: usize) {
        self.0.places.get(place).load.fetch_sub(1, Ordering::Relaxed);
    }

    /// The connection at this place, or its dial, which begins if there is neither.
    fn at(&self, index: usize) -> Result<Current, Error> {
        let inner = &self.0;
        let mut slot = inner.places.get(index).lock();
        match &slot.current {
            Current::Open(caller) if caller.is_usable() => return Ok(Current::Open(caller.clone())),
            // A dial that was dropped with its runtime counts as none.
            Current::Dialling(dialling) if dialling.has_changed().is_ok() => {
                return Ok(Current::Dialling(dialling.clone()));
            }
            Current::None | Current::Open(_) | Current::Dialling(_) => {}
        }
        if inner.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        let Some(dialer) = inner.dialer.clone() else {
            return Err(Error::new(ErrorKind::Connection, "the connection has ended").with_retry(true));
        };
        let (tell, dialling) = watch::channel(None);
        runtime()?.spawn(dial(dialer, Arc::downgrade(inner), inner.counters.clone(), index, tell));
        slot.retire();
        slot.current = Current::Dialling(dialling.clone());
        Ok(Current::Dialling(dialling))
    }

    /// Every connection that may not have ended.
    pub(crate) fn callers(&self) -> Vec<Caller> {
        self.0.places.iter().flat_map(|place| place.lock().all()).collect()
    }

    /// Whether another connection can take the place of one that has ended.
    pub(crate) fn can_dial(&self) -> bool {
        self.0.dialer.is_some()
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.0.places.is_failing()
    }

    /// Dials no more.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
    }
}

impl Slot {
    /// The connection takes no more calls, and may have some to finish.
    fn retire(&mut self) {
        self.retired.retain(|caller| !caller.has_ended());
        if let Current::Open(caller) = std::mem::take(&mut self.current)
            && !caller.has_ended()
        {
            self.retired.push(caller);
        }
    }

    fn all(&self) -> Vec<Caller> {
        let current = if let Current::Open(caller) = &self.current { Some(caller) } else { None };
        current.into_iter().chain(&self.retired).cloned().collect()
    }
}

impl Inner {
    /// How the dial of a place turned out: tells those who wait, after the place has it.
    fn settle(&self, index: usize, opened: Result<(Caller, Box<Driver<NoCalls>>), Error>) -> Outcome {
        let place = self.places.get(index);
        let classic = opened.as_ref().is_err_and(|error| NotFramed::of(error) == Some(NotFramed::Classic));
        if classic {
            place.link.reached();
        } else if place.link.dialled(opened.is_ok()) {
            add(&self.counters.reconnects, 1);
        }
        let outcome = opened.map(|(caller, driver)| {
            tokio::spawn(drive(driver, self.observer.clone()));
            caller
        });
        let mut slot = place.lock();
        slot.current = outcome.as_ref().map_or(Current::None, |caller| Current::Open(caller.clone()));
        if self.closed.load(Ordering::Acquire)
            && let Ok(caller) = &outcome
        {
            caller.drain(); // It was closed while we dialled, and has not seen this one.
        }
        outcome
    }
}

/// Runs a connection to its end, and tells how that was.
async fn drive(driver: Box<Driver<NoCalls>>, observer: Option<Observer>) {
    let ended = driver.await;
    if let Some(observer) = observer {
        observer(&ended);
    }
}

/// Opens a connection for a place. It belongs to nobody who waits for it, so it goes on when they have given up.
async fn dial(
    dialer: Dialer,
    inner: Weak<Inner>,
    counters: Arc<Counters>,
    index: usize,
    tell: watch::Sender<Option<Outcome>>,
) {
    let not_before = inner.upgrade().and_then(|inner| inner.places.get(index).link.not_before());
    if let Some(at) = not_before {
        sleep_until(at).await;
    }
    // What dials may be foreign code.
    let panicked = || {
        let error = Error::new(ErrorKind::Connect, "what dials has panicked");
        Err(error.with_peer(dialer.peer()).with_retry(true))
    };
    let connected = caught(dialer.open_framed(&counters)).await.unwrap_or_else(panicked);
    let opened = connected.and_then(|connected| opened(connected, &dialer.peer()));
    add(&counters.connect_errors, u64::from(opened.is_err()));
    let Some(inner) = inner.upgrade() else { return };
    let outcome = inner.settle(index, opened);
    tell.send_replace(Some(outcome));
}

/// The connection, if there is one.
pub(super) fn opened(connected: Connected, peer: &Peer) -> Result<(Caller, Box<Driver<NoCalls>>), Error> {
    match connected {
        Connected::Framed(caller, driver) => Ok((caller, driver)),
        Connected::Classic => Err(NotFramed::Classic.error().with_peer(peer.clone())),
        Connected::NoTls => Err(NotFramed::NoTls.error().with_peer(peer.clone())),
    }
}
