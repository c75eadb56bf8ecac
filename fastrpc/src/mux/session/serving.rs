//! Calls as a server's program answers them.

use std::future::Future;

use bytes::Bytes;

use super::body::{BodyReader, BodyWriter};
use super::caller::SendBody;
use super::held::Held;
use super::refused::NotEncoded;
use super::tag::Tag;
use crate::codec::BoxError;
use crate::error::Error;
use crate::mux::framed::Streams;
use crate::wire::framed::frame::ResetCode;

/// A call that has arrived.
pub struct Incoming {
    /// For the codec.
    pub head: Bytes,
    /// Its body.
    pub body: BodyReader,
    /// No reply is wanted.
    pub one_way: bool,
    /// Answers it.
    pub responder: Responder,
}

/// Answers calls.
pub trait Serve: Send + Sync + 'static {
    /// Answers a call by its responder. The future is dropped when nobody waits for it any more: its caller has
    /// cancelled, its time is over, or the connection has ended.
    fn serve(&self, call: Incoming) -> impl Future<Output = ()> + Send + 'static;
}

impl<F, S> Serve for S
where
    S: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    fn serve(&self, call: Incoming) -> impl Future<Output = ()> + Send + 'static {
        self(call)
    }
}

/// A client serves nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoCalls;

impl Serve for NoCalls {
    fn serve(&self, _call: Incoming) -> impl Future<Output = ()> + Send + 'static {
        std::future::ready(())
    }
}

/// Answers one call. Dropping it without a reply breaks the call off.
pub struct Responder {
    held: Held,
    one_way: bool,
    done: bool,
}

impl Responder {
    pub(super) fn new(held: Held, one_way: bool) -> Self {
        Self { held, one_way, done: one_way }
    }

    /// What sends heads ahead of the reply, apart from this.
    #[must_use]
    pub fn interims(&self) -> InterimSender {
        InterimSender { held: self.held.again(), one_way: self.one_way }
    }

    /// Sends a head ahead of the reply; nothing when nobody waits for it.
    ///
    /// # Errors
    ///
    /// `encode` failed, or the head is longer than the peer takes.
    pub fn interim(&self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError>) -> Result<(), Error> {
        if self.done {
            return Ok(());
        }
        let sent = self.held.with(|streams, key| streams.interim(key, |out| encode(out).map_err(NotEncoded)));
        sent.map_err(|error| Error::encode(error.0))
    }

    /// Sends the reply; nothing when nobody waits for it, or none is wanted. `encode` appends its head to what it is given, while the
    /// connection is locked.
    ///
    /// # Errors
    ///
    /// `encode` failed, or the head is longer than the peer takes. Another reply may be made; see [`Responder::fail`].
    pub fn reply(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError>,
        body: SendBody,
    ) -> Result<Option<BodyWriter>, Error> {
        if self.one_way || self.done {
            return Ok(None); // No answer is wanted, or it was given.
        }
        let (body, more) = match body {
            SendBody::Whole(body) => (body, false),
            SendBody::Pieces => (Bytes::new(), true),
        };
        let reply = |streams: &mut Streams<Tag>, key| {
            if let Some(Tag::Serving(serving)) = streams.tag_mut(key) {
                serving.deadline = None; // It holds until the reply begins.
            }
            streams.reply(key, |out| encode(out).map_err(NotEncoded), &body, more)
        };
        let begun = self.held.with_last(reply, |begun| begun.is_ok() && !more);
        begun.map_err(|error| Error::encode(error.0))?;
        self.done = true;
        Ok(more.then(|| BodyWriter::new(self.held.again())))
    }

    /// Breaks the call off, for a reason that its caller is told.
    pub fn fail(mut self, code: ResetCode, text: String) {
        self.done = true;
        self.held.with(|streams, key| streams.reset(key, code, text));
    }
}

/// Sends heads ahead of the reply to one call, as long as that has not begun.
pub struct InterimSender {
    held: Held,
    one_way: bool,
}

impl InterimSender {
    /// As [`Responder::interim`].
    ///
    /// # Errors
    ///
    /// `encode` failed, or the head is longer than the peer takes.
    pub fn send(&self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError>) -> Result<(), Error> {
        if self.one_way {
            return Ok(());
        }
        let sent = self.held.with(|streams, key| streams.interim(key, |out| encode(out).map_err(NotEncoded)));
        sent.map_err(|error| Error::encode(error.0))
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.done {
            self.held.with(|streams, key| streams.reset(key, ResetCode::Failed, "its handler ended without a reply"));
        }
    }
}
