//! Calls as a client's program makes them, and how programs end a connection.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::body::BodyWriter;
use super::call::ReplyFuture;
use super::held::Held;
use super::refused::{NotEncoded, NotOpened};
use super::shared::Shared;
use super::tag::{Tag, Waiting};
use crate::codec::BoxError;
use crate::error::{Error, ErrorKind};
use crate::mux::framed::{Balance, Streams};

/// Makes calls on one connection.
#[derive(Clone)]
pub struct Caller {
    shared: Arc<Shared>,
}

/// What is sent behind a head.
#[derive(Clone, Debug)]
pub enum SendBody {
    /// All of it.
    Whole(Bytes),
    /// What is written to the [`BodyWriter`].
    Pieces,
}

impl SendBody {
    /// No body at all.
    #[must_use]
    pub const fn empty() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl Caller {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Begins a call. `encode` appends its head to what it is given, while the connection is locked. `timeout` holds until
    /// the reply's head has come; the server is told.
    ///
    /// # Errors
    ///
    /// The head cannot be encoded or is longer than the peer takes; or the connection has ended.
    pub fn call(
        &self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError>,
        body: SendBody,
        timeout: Option<Duration>,
    ) -> Result<(ReplyFuture, Option<BodyWriter>), Error> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let (body, more) = match body {
            SendBody::Whole(body) => (body, false),
            SendBody::Pieces => (Bytes::new(), true),
        };
        let key = self.shared.open(deadline, |streams, _| {
            let tag = Tag::Waiting(Waiting { deadline, ..Waiting::default() });
            Ok(streams.open(tag, time_left(timeout), false, |out| encode(out).map_err(NotEncoded), &body, more)?)
        })?;
        let held = Held::new(self.shared.clone(), key);
        let writer = more.then(|| BodyWriter::new(held.again()));
        Ok((ReplyFuture::new(held), writer))
    }

    /// The same for a call whose body is whole and that waits until `at`: all that it needs of the connection is done under one
    /// lock. `waker` is called when there is something to see, as if the future that comes back had been polled.
    ///
    /// # Errors
    ///
    /// As [`Caller::call`]; or `most_unsent` bytes of heads wait already.
    pub(crate) fn call_at_once(
        self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError>,
        body: &Bytes,
        at: Instant,
        most_unsent: usize,
        waker: &Waker,
    ) -> Result<ReplyFuture, Error> {
        let key = self.shared.open(Some(at), |streams, now| {
            if streams.unsent_heads() >= most_unsent {
                return Err(NotOpened::Full);
            }
            let tag = Tag::Waiting(Waiting { deadline: Some(at), ..Waiting::default() });
            let encode = |out: &mut Vec<u8>| encode(out).map_err(NotEncoded);
            let key =
                streams.open(tag, time_left(Some(at.saturating_duration_since(now))), false, encode, body, false)?;
            if let Some(Tag::Waiting(waiting)) = streams.tag_mut(key) {
                waiting.waker = Some(waker.clone());
            }
            Ok(key)
        })?;
        Ok(ReplyFuture::new(Held::new(self.shared, key)))
    }

    /// Sends a call that wants no answer.
    ///
    /// # Errors
    ///
    /// As [`Caller::call`].
    pub fn send(&self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError>, body: &Bytes) -> Result<(), Error> {
        let key = self.shared.open(None, |streams, _| {
            let tag = Tag::Waiting(Waiting::default());
            Ok(streams.open(tag, 0, true, |out| encode(out).map_err(NotEncoded), body, false)?)
        })?;
        drop(Held::new(self.shared.clone(), key)); // It goes on by itself.
        Ok(())
    }

    /// Whether its driver has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.shared.has_ended()
    }

    /// Whether calls may be made: it has not ended and does not drain. A hint, as that may change at any time.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.shared.is_usable()
    }

    /// Bytes of heads, with the short bodies that go in their frames, that wait to be taken into a record.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.shared.with(|streams| streams.unsent_heads())
    }

    /// Calls whose reply's head has not come.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.shared.with(|streams| streams.pending_calls())
    }

    /// Fails the oldest call that is still unsent, with an [`ErrorKind::Overload`]; tells whether
    /// there was one.
    pub fn displace_oldest(&self) -> bool {
        self.shared.displace_oldest()
    }

    /// Streams that anything on this side still names: 0 when every call is over and every handle of it dropped.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.shared.with(|streams| streams.len())
    }

    /// Where the connection's credit is.
    #[must_use]
    pub fn balance(&self) -> Balance {
        self.shared.with(|streams| streams.balance())
    }

    /// Opens no more calls; the connection ends when those that are open have.
    pub fn drain(&self) {
        self.shared.with(Streams::drain);
    }

    /// Fails everything on the connection with `cause`, and has its driver end with `Ok`. The peer is told if it takes that
    /// at once. Nothing when it has ended already.
    pub fn end(&self, cause: Error) {
        self.shared.end_by_program(cause);
    }

    /// As [`Caller::end`]; calls are told that the connection was closed.
    pub fn close(&self) {
        self.end(closed());
    }

    /// Waits until the driver has ended, or was dropped.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has changed nothing.
    pub async fn ended(&self) {
        self.shared.wait_gone().await;
    }
}

/// Drains or ends a connection whose driver runs elsewhere. Clones are the same.
#[derive(Clone)]
pub struct Drain(Caller);

impl Drain {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(Caller::new(shared))
    }

    /// Asks the peer for no more calls, or makes no more: the driver ends with `Ok` when those are over that are open, the
    /// ones included that come before the peer has heard of it.
    pub fn drain(&self) {
        self.0.drain();
    }

    /// Ends the connection at once, whatever goes on; see [`Caller::end`].
    pub fn close(&self) {
        self.0.close();
    }

    /// Waits until the driver has ended, or was dropped.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has changed nothing.
    pub async fn ended(&self) {
        self.0.ended().await;
    }

    /// Whether it drains: whoever asked for it.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.shared.with(|streams| streams.is_draining())
    }

    /// Calls that are not over.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.0.shared.with(|streams| streams.open_calls())
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the connection was closed")
}

/// Milliseconds on the wire, of which 0 means no limit.
fn time_left(timeout: Option<Duration>) -> u32 {
    timeout.map_or(0, |timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1))
}
