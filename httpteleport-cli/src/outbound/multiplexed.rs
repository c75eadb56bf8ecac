//! The HTTP/2 connections of one upstream: as many as was asked for, and more while those carry all that the upstream lets them.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Failure;
use super::connection::Connection;
use super::dial::{Dialer, Spoken};
use super::http2::{Sender, Two};
use super::stream::Heard;
use super::undialled::Undialled;
use super::untaken::{Given, Streams};
use crate::balance::Load;

/// Connections beyond those that were asked for. They are not closed from here: servers close what is idle.
const MOST_MORE: usize = 31;

/// What the upstream is known to speak.
const UNKNOWN: u8 = 0;
const HTTP_1: u8 = 1;
const HTTP_2: u8 = 2;

/// The HTTP/2 connections of one upstream.
pub(super) struct Multiplexed {
    places: Arc<[Place]>,
    /// How many of them there are to be.
    usual: usize,
    turn: AtomicUsize,
    known: AtomicU8,
    /// Requests that the upstream has not taken.
    untaken: AtomicU64,
    /// Whether its URLs are `https`.
    tls: bool,
}

#[derive(Default)]
struct Place {
    current: Mutex<Current>,
    /// Requests that it has.
    running: Arc<AtomicUsize>,
    /// Held by who dials.
    dialling: tokio::sync::Mutex<()>,
}

/// The connection that a place has.
#[derive(Default)]
struct Current {
    connection: Option<Open>,
    /// How many there were before.
    number: u64,
}

/// A connection that takes requests.
struct Open {
    sender: Sender,
    streams: Arc<Streams>,
    heard: Heard,
}

/// Which connection of which place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lease {
    place: usize,
    number: u64,
}

/// A connection that is to carry a request.
pub(super) struct Lent {
    pub(super) sender: Sender,
    /// The request among those that its place has.
    pub(super) running: Load,
    pub(super) lease: Lease,
    pub(super) heard: Heard,
    /// The request among those of the connection.
    pub(super) given: Given,
}

/// A connection for a request.
pub(super) enum Got {
    Two(Lent),
    /// The upstream speaks HTTP/1.1 alone.
    One(Box<Connection>),
}

impl Multiplexed {
    /// So many connections; `tls` if URLs are `https`, so that it has to be found out what the upstream speaks; without TLS it speaks
    /// HTTP/2 or HTTP/1.1 as `two` says.
    pub(super) fn new(connections: usize, tls: bool, two: bool) -> Multiplexed {
        let known = match (tls, two) {
            (true, _) => UNKNOWN,
            (false, true) => HTTP_2,
            (false, false) => HTTP_1,
        };
        let usual = connections.max(1);
        // One that can only speak HTTP/1.1 needs none.
        let count = if known == HTTP_1 { 0 } else { usual + MOST_MORE };
        let places = (0..count).map(|_| Place::default()).collect();
        Multiplexed {
            places,
            usual,
            turn: AtomicUsize::new(0),
            known: AtomicU8::new(known),
            untaken: AtomicU64::new(0),
            tls,
        }
    }

    /// Whether the upstream may speak HTTP/2.
    pub(super) fn is_possible(&self) -> bool {
        self.known.load(Ordering::Relaxed) != HTTP_1
    }

    /// Whether it speaks HTTP/2 and nothing else.
    pub(super) fn is_certain(&self) -> bool {
        !self.tls && self.is_possible()
    }

    /// Whether its URLs are `https`.
    pub(super) fn is_tls(&self) -> bool {
        self.tls
    }

    /// Counts the failure, if the upstream has not taken the request.
    pub(super) fn note(&self, failure: &Failure) {
        if failure.untaken.is_some() {
            self.untaken.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often it has not taken a request.
    pub(super) fn untaken(&self) -> u64 {
        self.untaken.load(Ordering::Relaxed)
    }

    /// A connection: the one that has the fewest requests, or a new one in its place; `spread` if it may be any that there is room for.
    pub(super) async fn get(&self, dialer: &Dialer, spread: bool) -> Result<Got, Undialled> {
        let (place, running) = self.pick(spread);
        let lent = |(sender, lease, heard, given)| Got::Two(Lent { sender, running, lease, heard, given });
        if let Some(found) = self.open_at(place) {
            return Ok(lent(found));
        }
        // One dials, so that there are no more connections than places; the others find what it has made.
        let dialling = self.places[place].dialling.lock().await;
        if let Some(found) = self.open_at(place) {
            return Ok(lent(found));
        }
        if !self.is_possible() {
            drop(dialling);
            return dialer.dial_one(None).await.map(Got::One);
        }
        let spoken = dialer.dial().await?;
        let known = if matches!(spoken, Spoken::Two(_)) { HTTP_2 } else { HTTP_1 };
        self.known.store(known, Ordering::Relaxed);
        Ok(match spoken {
            Spoken::One(connection) => Got::One(connection),
            Spoken::Two(Two { sender, streams, heard, driver }) => {
                let given = streams.give();
                let number = self.places[place].open(Open { sender: sender.clone(), streams, heard: heard.clone() });
                let places = Arc::clone(&self.places);
                tokio::spawn(async move {
                    driver.await;
                    // Requests that came in that moment wait as long as somebody could send there.
                    places[place].forget(number);
                });
                lent((sender, Lease { place, number }, heard, given))
            }
        })
    }

    /// The place for the next request, which counts there from now on.
    fn pick(&self, spread: bool) -> (usize, Load) {
        let start = self.turn.fetch_add(1, Ordering::Relaxed);
        let among = if spread { self.places.len() } else { self.usual };
        let usual = (0..among).map(|step| start.wrapping_add(step) % among);
        let best = usual.min_by_key(|place| self.places[*place].running.load(Ordering::Relaxed)).unwrap_or(0);
        let has_room = |place: &usize| self.has_room(*place);
        let place = if has_room(&best) { best } else { (self.usual..self.places.len()).find(has_room).unwrap_or(best) };
        (place, Load::of(&self.places[place].running))
    }

    /// Whether one more request finds room there. Where there is no connection yet, nobody has said that it does not.
    fn has_room(&self, place: usize) -> bool {
        let running = self.places[place].running.load(Ordering::Relaxed);
        let current = self.places[place].lock();
        current.connection.as_ref().is_none_or(|connection| running < connection.streams.room())
    }

    /// The connection at a place, if it takes requests.
    fn open_at(&self, place: usize) -> Option<(Sender, Lease, Heard, Given)> {
        let current = self.places[place].lock();
        let Open { sender, streams, heard } = current.connection.as_ref().filter(|open| !open.sender.is_closed())?;
        Some((sender.clone(), Lease { place, number: current.number }, heard.clone(), streams.give()))
    }

    /// That connection takes no more requests, though it may not know yet.
    pub(super) fn forget(&self, lease: &Lease) {
        if let Some(place) = self.places.get(lease.place) {
            place.forget(lease.number);
        }
    }
}

impl Place {
    /// Has another connection, whose number comes back.
    fn open(&self, connection: Open) -> u64 {
        let mut current = self.lock();
        current.number += 1;
        current.connection = Some(connection);
        current.number
    }

    /// The connection of this number takes no more requests.
    fn forget(&self, number: u64) {
        let mut current = self.lock();
        if current.number == number {
            current.connection = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    /// A connection of its own, for one request.
    pub(super) fn alone(connection: Two) -> Lent {
        tokio::spawn(connection.driver);
        let Two { sender, heard, streams, .. } = connection;
        let given = streams.give();
        Lent { sender, running: Load::of(&Arc::default()), lease: Lease::default(), heard, given }
    }
}
