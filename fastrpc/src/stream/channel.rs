//! Calls on the framed wire as bytes: limits, connections, deadlines.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::client::Driver;
use super::messages::apart;
use super::pool::{Load, Picked, Pool, opened};
use crate::client::dial::Dialer;
use crate::client::settings::Settings;
use crate::codec::BoxError;
use crate::config::FAR;
use crate::error::{Error, ErrorKind};
use crate::io::BoxIo;
use crate::mux::admission::{Admission, AtLimit, Full};
use crate::mux::conn::{Deadline, closed};
use crate::mux::link::Peer;
use crate::mux::session::{self, BodyWriter, Caller, ReplyFuture, SendBody};
use crate::stats::{Counters, add};

/// A connection that was picked may have ended before it was used; that it happens time and again is not plausible.
const TRIES: usize = 8;

/// Makes calls whose heads are bytes.
pub(crate) struct Channel {
    pool: Pool,
    admission: Arc<Admission>,
    counters: Arc<Counters>,
    at_limit: AtLimit,
    max_unsent: usize,
    timeout: Duration,
    peer: Peer,
}

/// What a call occupies until it is over.
pub(crate) struct Occupied {
    admission: Arc<Admission>,
    _load: Option<Load>,
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.admission.release(1);
    }
}

/// A call that was begun: its reply, as bytes.
pub(crate) struct Begun {
    reply: ReplyFuture,
    occupied: Option<Occupied>,
    counters: Arc<Counters>,
    peer: Peer,
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
        let pool = Pool::new(places, dialer, settings.backoff, counters.clone());
        let Settings { at_limit, max_unsent, timeout, .. } = *settings;
        Self { pool, admission, counters, at_limit, max_unsent, timeout, peer }
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
    pub(crate) async fn begin(
        &self,
        encode: impl FnMut(&mut Vec<u8>) -> Result<(), BoxError>,
        body: SendBody,
        deadline: Deadline,
    ) -> Result<(Begun, Option<BodyWriter>), Error> {
        add(&self.counters.calls, 1);
        self.try_begin(encode, body, deadline).await.inspect_err(|error| self.count_error(error))
    }

    /// The same, which counts neither the call nor its failure.
    pub(crate) async fn try_begin(
        &self,
        mut encode: impl FnMut(&mut Vec<u8>) -> Result<(), BoxError>,
        body: SendBody,
        deadline: Deadline,
    ) -> Result<(Begun, Option<BodyWriter>), Error> {
        let at = self.resolve(deadline);
        let mut occupied = self.admit(at).await?;
        let failed = |error: Error| error.with_peer(self.peer.clone());
        for _ in 0..TRIES {
            let Picked { caller, load } = self.pick(at).await?;
            if caller.unsent() >= self.max_unsent {
                return Err(self.overload(Full::Bytes));
            }
            occupied._load = Some(load);
            let left = at.saturating_duration_since(Instant::now());
            match caller.call(&mut encode, body.clone(), Some(left)) {
                Ok((reply, writer)) => {
                    let (counters, peer) = (self.counters.clone(), self.peer.clone());
                    return Ok((Begun { reply, occupied: Some(occupied), counters, peer }, writer));
                }
                Err(error) if error.kind() == ErrorKind::Encode || !self.pool.can_dial() => return Err(failed(error)),
                Err(_) => {}
            }
        }
        let error = Error::new(ErrorKind::Connection, "connections end as soon as they begin").with_retry(true);
        Err(failed(error))
    }

    /// Begins a call on a connection that is open; `None` when it has to wait for one, or for its turn.
    pub(crate) fn begin_now(
        &self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError>,
        body: SendBody,
        at: Instant,
    ) -> Option<Result<Begun, Error>> {
        let Picked { caller, load } = self.pool.try_pick()?;
        if caller.unsent() >= self.max_unsent {
            return None;
        }
        self.admission.try_admit().ok()?;
        let occupied = Occupied { admission: self.admission.clone(), _load: Some(load) };
        match caller.call(encode, body, Some(at.saturating_duration_since(Instant::now()))) {
            Ok((reply, _)) => {
                let (counters, peer) = (self.counters.clone(), self.peer.clone());
                Some(Ok(Begun { reply, occupied: Some(occupied), counters, peer }))
            }
            Err(error) if error.kind() == ErrorKind::Encode => Some(Err(error.with_peer(self.peer.clone()))),
            Err(_) => None,
        }
    }

    /// Sends a message that wants no answer with what comes next, if there is a connection; otherwise it comes back.
    pub(crate) fn try_send(&self, message: &Bytes) -> Option<Result<(), Error>> {
        let Picked { caller, .. } = self.pool.try_pick()?;
        if caller.unsent() >= self.max_unsent {
            return Some(Err(self.overload(Full::Bytes)));
        }
        let sent = send(&caller, message);
        if sent.as_ref().is_err_and(Error::may_retry) { None } else { Some(sent) }
    }

    /// Sends a message that wants no answer once there is a connection.
    pub(crate) async fn send(&self, message: &Bytes) -> Result<(), Error> {
        let Picked { caller, .. } = self.pick(self.resolve(Deadline::After(self.timeout))).await?;
        send(&caller, message)
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

    async fn admit(&self, at: Instant) -> Result<Occupied, Error> {
        let admitted = || Occupied { admission: self.admission.clone(), _load: None };
        let Err(full) = self.admission.try_admit() else { return Ok(admitted()) };
        match self.at_limit {
            AtLimit::Wait => match timeout_at(at, self.admission.admit()).await {
                Ok(()) => Ok(admitted()),
                Err(_) => Err(self.late()),
            },
            AtLimit::DropOldest if full == Full::Calls && self.displace_oldest() => {
                // It gives its place back when its caller looks.
                match timeout_at(at, self.admission.admit()).await {
                    Ok(()) => Ok(admitted()),
                    Err(_) => Err(self.late()),
                }
            }
            AtLimit::DropOldest | AtLimit::Fail => Err(self.overload(full)),
        }
    }

    async fn pick(&self, at: Instant) -> Result<Picked, Error> {
        if let Ok(picked) = timeout_at(at, self.pool.pick()).await { picked } else { Err(self.late()) }
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

    pub(crate) fn is_failing(&self) -> bool {
        self.pool.is_failing()
    }

    /// Whether another connection can take the place of one that has ended.
    pub(crate) fn can_dial(&self) -> bool {
        self.pool.can_dial()
    }

    /// Fails the oldest unsent call of the first connection that has one.
    pub(crate) fn displace_oldest(&self) -> bool {
        let displaced = self.pool.callers().iter().any(Caller::displace_oldest);
        add(&self.counters.overloads, u64::from(displaced));
        displaced
    }

    /// Ends at once.
    pub(crate) fn close(&self) {
        self.pool.close();
        self.pool.callers().iter().for_each(|caller| caller.end(closed()));
    }

    /// Takes no more calls; connections end after their last one.
    pub(crate) fn begin_drain(&self) {
        self.pool.close();
        self.pool.callers().iter().for_each(Caller::drain);
    }

    /// Waits until that has happened.
    pub(crate) async fn drained(&self) {
        for caller in self.pool.callers() {
            caller.ended().await;
        }
    }
}

fn send(caller: &Caller, message: &Bytes) -> Result<(), Error> {
    let (head, body) = apart(message.clone());
    caller.send(
        |out| {
            out.extend_from_slice(&head);
            Ok(())
        },
        &body,
    )
}

impl Begun {
    /// The next head that comes ahead of the reply; see [`ReplyFuture::interim`].
    pub(crate) async fn interim(&mut self) -> Option<Bytes> {
        self.reply.interim().await
    }

    /// The reply. It occupies its place until its body has ended.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<session::Reply, Error>> {
        Pin::new(&mut self.reply).poll(cx).map(|reply| match reply {
            Ok(mut reply) => {
                if let Some(occupied) = self.occupied.take() {
                    reply.body.keep(occupied);
                }
                Ok(reply)
            }
            Err(error) => {
                self.occupied = None;
                let late = error.is_timeout();
                add(if late { &self.counters.timeouts } else { &self.counters.errors }, 1);
                Err(error.with_peer(self.peer.clone()))
            }
        })
    }
}
