//! Calls as a server's program answers them.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use super::body::{BodyReader, BodyWriter};
use super::caller::SendBody;
use super::held::Held;
use super::refused::NotEncoded;
use super::shared::Shared;
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
    to: To,
    one_way: bool,
    done: bool,
}

/// Where an answer goes.
enum To {
    Stream(Held),
    /// Nothing was kept of the call when it came.
    Passing(Arc<Shared>, u32),
    /// It was answered.
    Nobody,
}

impl Responder {
    pub(super) fn new(held: Held, one_way: bool) -> Self {
        Self { to: To::Stream(held), one_way, done: one_way }
    }

    /// Answers a call that passes.
    pub(super) fn passing(shared: Arc<Shared>, id: u32) -> Self {
        Self { to: To::Passing(shared, id), one_way: false, done: false }
    }

    /// The call's stream, which it becomes if it was none.
    fn stream(&mut self) -> Option<&mut Held> {
        if let To::Passing(shared, id) = &self.to {
            let key = shared.claim(*id);
            self.to = key.map_or(To::Nobody, |key| To::Stream(Held::new(shared.clone(), key)));
        }
        if let To::Stream(held) = &mut self.to { Some(held) } else { None }
    }

    /// What sends heads ahead of the reply, apart from this.
    #[must_use]
    pub fn interims(&mut self) -> InterimSender {
        let one_way = self.one_way;
        InterimSender { held: self.stream().map(|held| held.again()), one_way }
    }

    /// Sends a head ahead of the reply; nothing when nobody waits for it.
    ///
    /// # Errors
    ///
    /// `encode` failed, or the head is longer than the peer takes.
    pub fn interim(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError>) -> Result<(), Error> {
        if self.done {
            return Ok(());
        }
        self.stream().map_or(Ok(()), |held| interim(held, encode))
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
        let encode = |out: &mut Vec<u8>| encode(out).map_err(NotEncoded);
        let body = match body {
            SendBody::Whole(body) => body,
            SendBody::Pieces => return self.begin(encode, &Bytes::new(), true),
        };
        let To::Passing(shared, id) = &self.to else { return self.begin(encode, &body, false) };
        match shared.answer_alone(*id, encode, &body) {
            Ok(answered) => {
                answered.map_err(|error| Error::encode(error.0))?;
                self.done = true;
                Ok(None)
            }
            Err(encode) => self.begin(encode, &body, false),
        }
    }

    /// Begins the reply on the call's stream; with `more`, pieces follow.
    fn begin(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), NotEncoded>,
        body: &Bytes,
        more: bool,
    ) -> Result<Option<BodyWriter>, Error> {
        let Some(held) = self.stream() else { return Ok(None) };
        let reply = |streams: &mut Streams<Tag>, key| {
            if let Some(Tag::Serving(serving)) = streams.tag_mut(key) {
                serving.deadline = None; // It holds until the reply begins.
            }
            streams.reply(key, encode, body, more)
        };
        let begun = held.with_last(reply, |begun| begun.is_ok() && !more);
        begun.map_err(|error| Error::encode(error.0))?;
        let writer = more.then(|| BodyWriter::new(held.again()));
        self.done = true;
        Ok(writer)
    }

    /// Breaks the call off, for a reason that its caller is told.
    pub fn fail(mut self, code: ResetCode, text: String) {
        self.break_off(code, text);
    }

    fn break_off(&mut self, code: ResetCode, text: String) {
        self.done = true;
        match &self.to {
            To::Stream(held) => held.with(|streams, key| streams.reset(key, code, text)),
            To::Passing(shared, id) => shared.fail_passing(*id, code, text),
            To::Nobody => {}
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.done {
            self.break_off(ResetCode::Failed, "its handler ended without a reply".to_owned());
        }
    }
}

/// Sends heads ahead of the reply to one call, as long as that has not begun.
pub struct InterimSender {
    held: Option<Held>,
    one_way: bool,
}

impl InterimSender {
    /// As [`Responder::interim`].
    ///
    /// # Errors
    ///
    /// `encode` failed, or the head is longer than the peer takes.
    pub fn send(&self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError>) -> Result<(), Error> {
        match &self.held {
            Some(held) if !self.one_way => interim(held, encode),
            _ => Ok(()),
        }
    }
}

fn interim(held: &Held, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError>) -> Result<(), Error> {
    let sent = held.with(|streams, key| streams.interim(key, |out| encode(out).map_err(NotEncoded)));
    sent.map_err(|error| Error::encode(error.0))
}
