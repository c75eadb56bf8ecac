//! Calls as a client's program makes them.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::body::{BodyReader, BodyWriter};
use super::shared::{Held, NotEncoded, Shared, Tag, Waiting};
use crate::codec::BoxError;
use crate::error::Error;
use crate::mux::framed::{Balance, Gone, Key, Role, Streams, remember};
use crate::wire::framed::frame::ResetCode;

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
        let begun = self.shared.with_deadline(deadline, |streams| {
            let tag = Tag::Waiting(Waiting { deadline, ..Waiting::default() });
            streams.open(tag, time_left(timeout), false, |out| encode(out).map_err(NotEncoded), body, more)
        })?;
        let key = begun.map_err(|error| Error::encode(error.0))?;
        let held = Held::new(&self.shared, key);
        let writer = more.then(|| BodyWriter::new(held.again()));
        Ok((ReplyFuture { held: Some(held) }, writer))
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
}

/// Milliseconds on the wire, of which 0 means no limit.
fn time_left(timeout: Option<Duration>) -> u32 {
    timeout.map_or(0, |timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1))
}

/// The head of a reply, as its codec wrote it, and what comes behind it.
pub struct Reply {
    /// For the codec.
    pub head: Bytes,
    /// The body.
    pub body: BodyReader,
}

/// Waits for the head of a reply. Dropping it cancels the call, at the server too.
#[must_use = "the call is cancelled when this is dropped"]
pub struct ReplyFuture {
    held: Option<Held>,
}

impl ReplyFuture {
    /// The next head that comes ahead of the reply, as its codec wrote it: 103 of HTTP, for instance. `None` once the call
    /// has its outcome, which awaiting the future then gives at once. Whoever does not ask finds the last 16 here.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has taken nothing.
    pub async fn interim(&mut self) -> Option<Bytes> {
        poll_fn(|cx| {
            let Some(held) = &self.held else { return Poll::Ready(None) };
            held.with(|streams, key| poll_interim(streams, key, cx))
        })
        .await
    }
}

fn poll_interim(streams: &mut Streams<Tag>, key: Key, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
    let over = streams.reset_of(key).is_some();
    let Some(Tag::Waiting(waiting)) = streams.tag_mut(key) else { return Poll::Ready(None) };
    if let Some(head) = waiting.interims.pop_front() {
        return Poll::Ready(Some(head));
    }
    if over || waiting.expired || waiting.reply.is_some() {
        return Poll::Ready(None);
    }
    let before = remember(&mut waiting.waker, cx.waker());
    streams.wake_later(before);
    Poll::Pending
}

impl Future for ReplyFuture {
    type Output = Result<Reply, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let held = self.held.as_mut().expect("it is polled until it ends");
        let whole = |outcome: &Outcome| matches!(outcome, Outcome::Reply(_, Some(_)));
        let outcome = held.with_last(|streams, key| poll_reply(streams, key, cx), whole);
        match outcome {
            Outcome::Waiting => Poll::Pending,
            Outcome::Reply(head, body) => {
                let held = self.held.take().expect("it was just used");
                let body = match body {
                    Some(body) => BodyReader::whole(body),
                    None => BodyReader::pieces(held, Role::Client),
                };
                Poll::Ready(Ok(Reply { head, body }))
            }
            Outcome::Expired { sent } => {
                self.held = None;
                Poll::Ready(Err(Error::timeout(None, sent)))
            }
            Outcome::Broken(gone, sent) => {
                let error = held.shared.explain(gone, !sent);
                self.held = None;
                Poll::Ready(Err(error))
            }
        }
    }
}

enum Outcome {
    Waiting,
    Reply(Bytes, Option<Bytes>),
    Expired { sent: bool },
    Broken(Gone, bool),
}

fn poll_reply(streams: &mut Streams<Tag>, key: Key, cx: &mut Context<'_>) -> Outcome {
    let sent = streams.is_sent(key);
    let reset = streams.reset_of(key).cloned();
    let Some(Tag::Waiting(waiting)) = streams.tag_mut(key) else { return Outcome::Broken(Gone(None), sent) };
    if let Some((head, body)) = waiting.reply.take() {
        streams.wave.arrived();
        return Outcome::Reply(head, body);
    }
    if waiting.expired {
        return Outcome::Expired { sent };
    }
    if reset.is_some() {
        return Outcome::Broken(Gone(reset), sent);
    }
    let before = remember(&mut waiting.waker, cx.waker());
    streams.wake_later(before);
    Outcome::Waiting
}

impl Drop for ReplyFuture {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            held.with(|streams, key| streams.reset(key, ResetCode::Cancelled, ""));
        }
    }
}

impl Caller {
    /// TEMP
    pub fn is_usable(&self) -> bool {
        self.shared.is_usable()
    }
    pub fn has_ended(&self) -> bool {
        self.shared.has_ended()
    }
    pub fn displace_oldest(&self) -> bool {
        false
    }
    pub fn unsent(&self) -> usize {
        self.shared.with(|streams| streams.waiting_heads())
    }
    pub fn close(&self, _cause: Error) {
        self.drain();
    }
    pub async fn ended(&self) {}
}

impl Caller {
    /// Sends a call that wants no answer.
    ///
    /// # Errors
    ///
    /// As [`Caller::call`].
    pub fn send(&self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError>, body: Bytes) -> Result<(), Error> {
        let begun = self.shared.with_deadline(None, |streams| {
            let tag = Tag::Waiting(Waiting::default());
            streams.open(tag, 0, true, |out| encode(out).map_err(NotEncoded), body, false)
        })?;
        let key = begun.map_err(|error| Error::encode(error.0))?;
        drop(Held::new(&self.shared, key)); // It goes on by itself.
        Ok(())
    }
}
