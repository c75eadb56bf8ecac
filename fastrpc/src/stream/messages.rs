//! Whole messages of a [`Codec`] as calls on the framed wire: a message of up to 16 KiB is a head, a longer one the body behind
//! an empty head.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::channel::{Begun, Channel};
use super::server::FramedCall;
use crate::codec::{BoxError, Codec, Decoded, Failure};
use crate::error::Error;
use crate::mux::conn::Deadline;
use crate::mux::session::{BodyReader, Reply, Responder, SendBody};
use crate::server::{Call, Handler};
use crate::wire::framed::frame::ResetCode;

/// Longer messages take turns with other bodies.
pub(crate) const IN_HEAD: usize = 16 * 1024;

/// A request as it travels: encoded while nothing of the connection is locked, for a call that has to wait for one.
///
/// # Errors
///
/// What the codec says.
pub(crate) fn encoded<C: Codec>(codec: &C, request: &C::Request) -> Result<Bytes, Error> {
    let mut message = Vec::new();
    codec.encode_request(request, &mut message).map_err(Error::encode)?;
    Ok(message.into())
}

/// Begins a call once there is a connection.
///
/// # Errors
///
/// As [`Channel::try_begin`].
pub(crate) async fn begin(channel: &Channel, message: Bytes, deadline: Deadline) -> Result<Exchange, Error> {
    let (head, body) = apart(message);
    let encode = |out: &mut Vec<u8>| {
        out.extend_from_slice(&head);
        Ok(())
    };
    let (begun, _) = channel.try_begin(encode, SendBody::Whole(body), deadline).await?;
    Ok(Exchange::Waiting(begun))
}

/// Begins a call on a connection that is open; `None` when it has to wait for one, or for its turn.
pub(crate) fn begin_now<C: Codec>(
    codec: &C,
    channel: &Channel,
    request: &C::Request,
    at: Instant,
) -> Option<Result<Exchange, Error>> {
    let mut large = None;
    let encode = |out: &mut Vec<u8>| split(out, &mut large, |out| codec.encode_request(request, out));
    let begun = channel.begin_now(encode, SendBody::empty(), at)?;
    let begun = match (begun, large) {
        (Err(_), Some(message)) => channel.begin_now(|_| Ok(()), SendBody::Whole(message), at)?,
        (begun, _) => begun,
    };
    Some(begun.map(Exchange::Waiting))
}

/// A message as head and body.
pub(super) fn apart(message: Bytes) -> (Bytes, Bytes) {
    if message.len() <= IN_HEAD { (message, Bytes::new()) } else { (Bytes::new(), message) }
}

/// A call that was begun, up to its whole reply.
pub(crate) enum Exchange {
    /// For the reply's head.
    Waiting(Begun),
    /// For the rest of a reply.
    Reading(Reading),
}

impl Exchange {
    /// The reply; one over `most` bytes is refused.
    pub(crate) fn poll<C: Codec>(
        &mut self,
        cx: &mut Context<'_>,
        codec: &C,
        most: usize,
    ) -> Poll<Result<C::Reply, Error>> {
        if let Self::Waiting(begun) = self {
            let Reply { head, body } = ready!(begun.poll(cx))?;
            *self = Self::Reading(Reading { message: BytesMut::from(&head[..]), body });
        }
        let Self::Reading(reading) = self else { unreachable!("it was just set") };
        let message = ready!(reading.poll(cx, most))?;
        let decoded = message.and_then(|mut message| decode(&mut message, |p, input| codec.decode_reply(p, input)));
        Poll::Ready(match decoded {
            Ok(Decoded::Message(reply)) => Ok(reply),
            Ok(Decoded::Refused(error)) => Err(Error::refused_reply(error)),
            Err(error) => {
                reading.body.refuse(ResetCode::Malformed, error.to_string());
                Err(Error::refused_reply(error))
            }
        })
    }
}

/// A message whose body comes in pieces.
pub(crate) struct Reading {
    message: BytesMut,
    body: BodyReader,
}

impl Reading {
    /// All bytes of it. The inner error: there are more than `most`.
    fn poll(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Result<Result<BytesMut, BoxError>, Error>> {
        while let Some(piece) = ready!(self.body.poll_piece(cx)) {
            let piece = piece?;
            if self.message.len() + piece.len() > most {
                return Poll::Ready(Ok(Err(format!("the message is over the limit of {most} bytes").into())));
            }
            self.message.extend_from_slice(&piece);
        }
        Poll::Ready(Ok(Ok(std::mem::take(&mut self.message))))
    }
}

/// Appends a message as a head, or takes it apart if it is too long for one: an error then, which says nothing.
fn split(
    out: &mut Vec<u8>,
    large: &mut Option<Bytes>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError>,
) -> Result<(), BoxError> {
    let start = out.len();
    encode(out)?;
    if out.len() - start <= IN_HEAD {
        return Ok(());
    }
    *large = Some(out.split_off(start).into());
    Err("it goes as a body".into())
}

/// Decodes a message that has to be whole, with nothing behind it.
fn decode<P: Default, M, R>(
    message: &mut BytesMut,
    decode: impl FnOnce(&mut P, &mut BytesMut) -> Result<Option<Decoded<M, R>>, BoxError>,
) -> Result<Decoded<M, R>, BoxError> {
    let decoded = decode(&mut P::default(), message)?.ok_or("the message ends too early")?;
    if message.is_empty() { Ok(decoded) } else { Err(format!("{} bytes lie behind the message", message.len()).into()) }
}

/// Answers a call by a handler of whole messages.
pub(crate) async fn answer<C: Codec, H: Handler<C> + ?Sized>(handler: &H, call: FramedCall<'_, C>) {
    let FramedCall { codec, head, body, one_way, mut responder, peer, permit, most, counters } = call;
    let _permit = match permit {
        Ok(permit) => permit,
        Err(limit) => {
            counters.overload();
            return reply(codec, &mut responder, || codec.failure(Failure::Overloaded { limit }));
        }
    };
    let mut reading = Reading { message: BytesMut::from(&head[..]), body };
    let Ok(message) = poll_fn(|cx| reading.poll(cx, most)).await else { return }; // Its caller knows.
    let request = match message.and_then(|mut message| decode(&mut message, |p, input| codec.decode_request(p, input)))
    {
        Ok(Decoded::Message(request)) => request,
        Ok(Decoded::Refused(refusal)) => return reply(codec, &mut responder, || refusal),
        Err(error) => return responder.fail(ResetCode::Malformed, error.to_string()),
    };
    match caught(handler.call(Call::new(request, peer, !one_way))).await {
        Some(answer) => {
            counters.count(true);
            reply(codec, &mut responder, || answer);
        }
        None => {
            counters.count(false);
            reply(codec, &mut responder, || codec.failure(Failure::Panicked));
        }
    }
}

/// Sends a reply, or what the codec makes in its stead if it cannot be encoded.
fn reply<C: Codec>(codec: &C, responder: &mut Responder, make: impl FnOnce() -> C::Reply) {
    let sent = catch_unwind(AssertUnwindSafe(|| {
        let answer = make();
        let Err(error) = send(codec, responder, &answer) else { return Ok(()) };
        let error: BoxError = error.into();
        send(codec, responder, &codec.failure(Failure::Unencodable(&error)))
    }));
    // Otherwise dropping the responder breaks the call off, which says as much.
    drop(sent);
}

fn send<C: Codec>(codec: &C, responder: &mut Responder, answer: &C::Reply) -> Result<(), Error> {
    let mut large = None;
    let sent = responder.reply(|out| split(out, &mut large, |out| codec.encode_reply(answer, out)), SendBody::empty());
    match (sent, large) {
        (Err(_), Some(message)) => responder.reply(|_| Ok(()), SendBody::Whole(message)).map(|_| ()),
        (sent, _) => sent.map(|_| ()),
    }
}

/// What a user's future gives, or `None` if it panics.
pub async fn caught<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        Err(payload) => {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))); // It may panic itself.
            Poll::Ready(None)
        }
    })
    .await
}
