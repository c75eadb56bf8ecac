//! Calls on the framed wire as bytes: limits, connections, deadlines.

use std::ops::Deref;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::begun::{Begun, Occupied};
use super::client::Driver;
use super::messages::{apart, is_too_long};
use super::pool::{Picked, Pool, opened};
use super::waiting::Waiting;
use crate::client::dial::Dialer;
use crate::client::door::{self, Behind, Door, Within};
use crate::client::settings::Settings;
use crate::codec::BoxError;
use crate::config::FAR;
use crate::error::{Error, ErrorKind};
use crate::io::BoxIo;
use crate::mux::admission::{Admission, AtLimit, Full};
use crate::mux::conn::{DISPLACED, Deadline, closed};
use crate::mux::link::Peer;
use crate::mux::session::{self, BodyWriter, Caller, SendBody};
use crate::stats::{Counters, add};

/// A connection that was picked may have ended before it was used. When the next one has too, they end as soon as they begin.
const TRIES: usize = 2;
/// How often a call that waits for heads to leave looks whether they have. Nobody tells, and it hardly ever happens.
const LOOK: Duration = Duration::from_millis(1);

/// Makes calls whose heads are bytes.
pub(crate) struct Channel {
    pub(super) pool: Pool,
    pub(super) admission: Arc<Admission>,
    pub(super) counters: Arc<Counters>,
    at_limit: AtLimit,
    max_unsent: usize,
    timeout: Duration,
    pub(super) peer: Peer,
    /// Calls that wait for a connection.
    waiting: Waiting,
    door: Door,
    /// Ended with everything on it.
    closed: CancellationToken,
}

impl Behind for Channel {
    fn door(&self) -> &Door {
        &self.door
    }

    fn all_through(&self) {
        self.pool.close();
        self.pool.callers().iter().for_each(Caller::drain);
    }
}

impl Channel {
    pub(crate) fn new(
        settings: &Settings,
        peer: Peer,
        dialer: Option<Dialer>,
        admission: Arc<Admission>,
        counters: Arc<Counters>,
    ) -> Self {
        let places = if dialer.is_some() { settings.connections } else { 1 };
        let pool = Pool::new(places, dialer, settings, counters.clone());
        let Settings { at_limit, max_unsent, timeout, .. } = *settings;
        let (waiting, door, closed) = Default::default();
        Self { pool, admission, counters, at_limit, max_unsent, timeout, peer, waiting, door, closed }
    }

    /// Begins a call. `deadline` holds until the reply's head has come, and the server is told.
    ///
    /// # Errors
    ///
    /// A limit, the encoder, or there is no connection: [`NotFramed`](super::NotFramed) is the source then if the peer does not
    /// speak this wire.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future forgets the call.
    pub(crate) async fn begin<C: Deref<Target = Self> + Clone>(
        channel: &C,
        encode: impl FnMut(&mut Vec<u8>) -> Result<(), BoxError>,
        body: SendBody,
        deadline: Deadline,
    ) -> Result<(Begun<C>, Option<BodyWriter>), Error> {
        add(&channel.counters.calls, 1);
        Self::try_begin(channel, encode, body, deadline).await.inspect_err(|error| channel.count_error(error))
    }

    /// The same, which counts neither the call nor its failure.
    pub(crate) async fn try_begin<C: Deref<Target = Self> + Clone>(
        channel: &C,
        mut encode: impl FnMut(&mut Vec<u8>) -> Result<(), BoxError>,
        body: SendBody,
        deadline: Deadline,
    ) -> Result<(Begun<C>, Option<BodyWriter>), Error> {
        let this = &**channel;
        let at = this.resolve(deadline);
        let _within = Within::enter(this).ok_or_else(closed)?;
        this.admit(at).await?;
        let mut occupied = Occupied::new(channel.clone(), None);
        let failed = |error: Error| error.with_peer(this.peer.clone());
        let mut ended = None;
        for _ in 0..TRIES {
            let Picked { caller, load } = this.pick(at).await?;
            this.room(&caller, at).await?;
            occupied.move_to(load.set_aside());
            let left = at.saturating_duration_since(Instant::now());
            match caller.call(&mut encode, body.clone(), Some(left)) {
                Ok((reply, writer)) => return Ok((Begun::new(reply, occupied), writer)),
                Err(error) if error.kind() == ErrorKind::Encode || !this.pool.can_dial() => return Err(failed(error)),
                Err(error) => ended = Some(error),
            }
        }
        Err(failed(short_lived(ended)))
    }

    /// Begins a call on a connection that is open; `None` when it has to wait for one, or for its turn. `waker` is called when
    /// its reply is there.
    pub(crate) fn begin_now<C: Deref<Target = Self> + Clone>(
        channel: C,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError>,
        body: &Bytes,
        at: Instant,
        waker: &Waker,
    ) -> Option<Result<Begun<C>, Error>> {
        let this = &*channel;
        // Who comes later than a drain is refused, and told so, where calls wait.
        let Picked { caller, load } = this.pool.try_any().filter(|_| !this.door.is_closed())?;
        this.admission.try_admit().ok()?;
        let place = load.set_aside();
        let occupied = Occupied::new(channel, Some(place));
        let this = occupied.channel();
        match caller.call_at_once(encode, body, at, this.max_unsent, waker) {
            Ok(reply) => {
                this.pool.turn();
                Some(Ok(Begun::new(reply, occupied)))
            }
            Err(error) if error.kind() == ErrorKind::Encode => Some(Err(error.with_peer(this.peer.clone()))),
            Err(_) => None,
        }
    }

    /// Sends a message that wants no answer with what comes next, if there is a connection; otherwise it comes back.
    pub(crate) fn try_send(&self, message: &Bytes) -> Option<Result<(), Error>> {
        let Picked { caller, .. } = self.pool.try_pick()?;
        self.pool.turn();
        if caller.unsent() >= self.max_unsent {
            return Some(Err(self.overload(Full::Bytes)));
        }
        let sent = send(&caller, message);
        if sent.as_ref().is_err_and(Error::may_retry) { None } else { Some(sent) }
    }

    /// Sends a message that wants no answer once there is a connection.
    pub(crate) async fn send(&self, message: &Bytes) -> Result<(), Error> {
        let at = self.resolve(Deadline::After(self.timeout));
        let _within = Within::enter(self).ok_or_else(closed)?;
        let mut ended = None;
        for _ in 0..TRIES {
            let picked = tokio::select! {
                biased;
                picked = timeout_at(at, self.pool.pick()) => picked,
                () = self.closed.cancelled() => return Err(closed()),
            };
            let Picked { caller, .. } = picked.unwrap_or_else(|_| Err(self.late()))?;
            match send(&caller, message) {
                Err(error) if error.may_retry() && self.pool.can_dial() => ended = Some(error),
                sent => return sent,
            }
        }
        Err(short_lived(ended))
    }

    /// The deadline of calls that are given none.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn resolve(&self, deadline: Deadline) -> Instant {
        match deadline {
            Deadline::At(at) => at,
            Deadline::After(limit) => {
                let now = Instant::now();
                now.checked_add(limit).unwrap_or(now + FAR)
            }
        }
    }

    /// Waits until a call may be pending, which then has to be released.
    async fn admit(&self, at: Instant) -> Result<(), Error> {
        let Err(full) = self.admission.try_admit() else { return Ok(()) };
        let waits = match self.at_limit {
            AtLimit::Wait => true,
            // That gives its place back when its caller looks.
            AtLimit::DropOldest => full == Full::Calls && self.displace_oldest(),
            AtLimit::Fail => false,
        };
        if !waits {
            return Err(self.overload(full));
        }
        timeout_at(at, self.admission.admit()).await.map_err(|_| self.late())
    }

    /// A connection for a call; one that has to wait for it may have to give way to a newer one.
    async fn pick(&self, at: Instant) -> Result<Picked<'_>, Error> {
        if let Some(picked) = self.pool.try_pick() {
            self.pool.turn();
            return Ok(picked);
        }
        let mut turn = self.waiting.join();
        tokio::select! {
            biased;
            picked = timeout_at(at, self.pool.pick()) => picked.unwrap_or_else(|_| Err(self.late())),
            () = turn.displaced() => Err(Error::overload(DISPLACED).with_peer(self.peer.clone())),
            () = self.closed.cancelled() => Err(closed()),
        }
    }

    /// Room for one more head on a connection, or that is waited for if it should be.
    async fn room(&self, caller: &Caller, at: Instant) -> Result<(), Error> {
        while caller.unsent() >= self.max_unsent {
            if self.at_limit != AtLimit::Wait {
                return Err(self.overload(Full::Bytes));
            }
            timeout_at(at, sleep(LOOK)).await.map_err(|_| self.late())?;
        }
        Ok(())
    }

    fn late(&self) -> Error {
        Error::timeout(self.peer.clone(), false)
    }

    fn overload(&self, full: Full) -> Error {
        full.explain(&self.admission).with_peer(self.peer.clone())
    }

    /// A call has failed before it was begun.
    pub(crate) fn count_error(&self, error: &Error) {
        let Counters { timeouts, overloads, errors, .. } = &*self.counters;
        let counter = match error.kind() {
            ErrorKind::Timeout => timeouts,
            ErrorKind::Overload => overloads,
            _ => errors,
        };
        add(counter, 1);
    }

    // ---- connections ----

    /// Opens a connection over a stream that is there, and puts it in its place.
    pub(crate) async fn open(&self, io: BoxIo, settings: &Settings) -> Result<Driver, Error> {
        let (link, tls) = (&settings.link, settings.tls.as_ref());
        let connected = session::connect(io, &link.protocol, link.framed_options(&self.counters), tls).await?;
        let (caller, driver) = opened(connected, &self.peer)?;
        self.pool.adopt(caller);
        Ok(Driver(driver))
    }

    /// Whether it takes no more calls.
    pub(crate) fn is_closed(&self) -> bool {
        self.door.is_closed()
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.pool.is_failing()
    }

    /// Whether another connection can take the place of one that has ended.
    pub(crate) fn can_dial(&self) -> bool {
        self.pool.can_dial()
    }

    /// Fails the oldest unsent call of the first connection that has one, or else the oldest that waits for a connection.
    pub(crate) fn displace_oldest(&self) -> bool {
        self.pool.callers().iter().any(Caller::displace_oldest) || self.waiting.displace_oldest()
    }

    /// Ends at once.
    pub(crate) fn close(&self) {
        self.closed.cancel();
        door::close(self);
        self.pool.close();
        self.pool.callers().iter().for_each(|caller| caller.end(closed()));
    }

    /// Takes no more calls; connections end after their last one. Calls that wait for a connection still get it.
    pub(crate) fn begin_drain(&self) {
        door::close(self);
    }

    /// Waits until that has happened.
    pub(crate) async fn drained(&self) {
        self.door.empty().await;
        for caller in self.pool.callers() {
            caller.ended().await;
        }
    }
}

fn send(caller: &Caller, message: &Bytes) -> Result<(), Error> {
    let (head, body) = apart(message.clone());
    let encode = |out: &mut Vec<u8>| {
        out.extend_from_slice(&head);
        Ok(())
    };
    match caller.send(encode, &body) {
        Err(error) if is_too_long(&error) && !head.is_empty() => caller.send(|_| Ok(()), &head),
        sent => sent,
    }
}

/// Connections could be opened, and no call made on them.
fn short_lived(ended: Option<Error>) -> Error {
    let error = Error::new(ErrorKind::Connection, "connections end as soon as they begin").with_retry(true);
    if let Some(cause) = ended { error.with_source(cause) } else { error }
}
