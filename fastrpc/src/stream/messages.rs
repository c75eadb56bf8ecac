//! Whole messages of a [`Codec`] as calls on the framed wire: a message of up to 16 KiB is a head, a longer one the body behind
//! an empty head.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, Sleep, sleep_until};

use super::begun::Begun;
use super::channel::Channel;
use super::scratch;
use super::server::FramedCall;
use crate::codec::{BoxError, Codec, Decoded, Failure};
use crate::error::{Error, ErrorKind, human};
use crate::mux::conn::Deadline;
use crate::mux::session::{BodyReader, Reply, Responder, SendBody, drop_quietly};
use crate::server::{Call, Handler};
use crate::wire::framed::frame::{ResetCode, TooLong};

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
pub(crate) async fn begin(channel: &Channel, message: Bytes, at: Instant) -> Result<Exchange<'_>, Error> {
    let (head, body) = apart(message);
    let encode = |out: &mut Vec<u8>| {
        out.extend_from_slice(&head);
        Ok(())
    };
    let (begun, _) = match Channel::try_begin(&channel, encode, SendBody::Whole(body), Deadline::At(at)).await {
        Err(error) if is_too_long(&error) && !head.is_empty() => {
            Channel::try_begin(&channel, |_| Ok(()), SendBody::Whole(head), Deadline::At(at)).await?
        }
        begun => begun?,
    };
    Ok(Exchange { begun, at, told: false, reading: None })
}

/// Begins a call on a connection that is open; `None` when it has to wait for one, or for its turn. `waker` is that of the task
/// that polls the exchange next, which it need not do before it is woken.
pub(crate) fn begin_now<'a, C: Codec>(
    codec: &C,
    channel: &'a Channel,
    request: &C::Request,
    at: Instant,
    waker: &Waker,
) -> Option<Result<Exchange<'a>, Error>> {
    let mut large = None;
    let encode = |out: &mut Vec<u8>| split(out, &mut large, |out| codec.encode_request(request, out));
    let begun = Channel::begin_now(channel, encode, &Bytes::new(), at, waker)?;
    let begun = match (begun, large) {
        (Err(_), Some(message)) => Channel::begin_now(channel, |_| Ok(()), &message, at, waker)?,
        (Err(error), None) if is_too_long(&error) => return None,
        (begun, _) => begun,
    };
    Some(begun.map(|begun| Exchange { begun, at, told: true, reading: None }))
}

/// Whether a message was longer than the heads that the peer takes; it goes as a body then.
pub(super) fn is_too_long(error: &Error) -> bool {
    error.kind() == ErrorKind::Encode && error.source().is_some_and(<dyn std::error::Error + 'static>::is::<TooLong>)
}

/// A message as head and body.
pub(super) fn apart(message: Bytes) -> (Bytes, Bytes) {
    if message.len() <= IN_HEAD { (message, Bytes::new()) } else { (Bytes::new(), message) }
}

/// A call that was begun, up to its whole reply.
pub(crate) struct Exchange<'a> {
    begun: Begun<&'a Channel>,
    at: Instant,
    /// The connection knows whom to wake: the first poll has nothing to do.
    told: bool,
    /// There while the reply's body comes in pieces.
    reading: Option<Box<Reading>>,
}

impl Exchange<'_> {
    /// The reply; one over `most` bytes is refused.
    pub(crate) fn poll<C: Codec>(
        &mut self,
        cx: &mut Context<'_>,
        codec: &C,
        most: usize,
    ) -> Poll<Result<C::Reply, Error>> {
        if std::mem::take(&mut self.told) {
            return Poll::Pending;
        }
        let reading = match &mut self.reading {
            Some(reading) => reading,
            none => {
                let Reply { head, body } = ready!(self.begun.poll(cx))?;
                if body.is_empty() {
                    let decode = |message: &mut BytesMut| decode(message, |p, input| codec.decode_reply(p, input));
                    let decoded = scratch::read(&head, decode);
                    return Poll::Ready(self.decoded(decoded));
                }
                none.insert(Box::new(Reading::new(&head, body, Patience::Until(self.at))))
            }
        };
        let message = match ready!(reading.poll(cx, most)) {
            Ok(message) => message,
            Err(Broken::Late) => {
                reading.body.refuse(ResetCode::Cancelled, String::new());
                return Poll::Ready(Err(self.begun.late()));
            }
            Err(Broken::Gone(error)) => return Poll::Ready(Err(self.begun.failed(error))),
        };
        let decoded = message.and_then(|mut message| decode(&mut message, |p, input| codec.decode_reply(p, input)));
        if let Err(error) = &decoded {
            reading.body.refuse(ResetCode::Malformed, error.to_string());
        }
        Poll::Ready(self.decoded(decoded))
    }

    fn decoded<R>(&self, decoded: Result<Decoded<R, BoxError>, BoxError>) -> Result<R, Error> {
        match decoded {
            Ok(Decoded::Message(reply)) => Ok(reply),
            Ok(Decoded::Refused(error)) | Err(error) => Err(self.begun.refused(error)),
        }
    }
}

/// A message whose body comes in pieces.
struct Reading {
    message: BytesMut,
    body: BodyReader,
    patience: Patience,
    /// Made when a piece is waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

/// How long a message may take to come.
enum Patience {
    /// All of it.
    Until(Instant),
    /// Each of its pieces.
    Pause(Duration),
}

/// Why a message did not come whole.
enum Broken {
    Gone(Error),
    Late,
}

impl Reading {
    fn new(head: &[u8], body: BodyReader, patience: Patience) -> Self {
        Self { message: BytesMut::from(head), body, patience, timer: None }
    }

    /// All bytes of it. The inner error: there are more than `most`.
    fn poll(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Result<Result<BytesMut, BoxError>, Broken>> {
        loop {
            let Poll::Ready(piece) = self.body.poll_piece(cx) else {
                ready!(self.poll_patience(cx));
                return Poll::Ready(Err(Broken::Late));
            };
            let Some(piece) = piece else { return Poll::Ready(Ok(Ok(std::mem::take(&mut self.message)))) };
            let piece = piece.map_err(Broken::Gone)?;
            if self.message.len() + piece.len() > most {
                return Poll::Ready(Ok(Err(format!("the message is over the limit of {most} bytes").into())));
            }
            self.message.extend_from_slice(&piece);
            if let (Some(timer), Patience::Pause(pause)) = (&mut self.timer, &self.patience) {
                timer.as_mut().reset(Instant::now() + *pause);
            }
        }
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = || match self.patience {
            Patience::Until(at) => at,
            Patience::Pause(pause) => Instant::now() + pause,
        };
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(until()))).as_mut().poll(cx)
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
pub(crate) async fn answer<C: Codec, H: Handler<C> + ?Sized>(handler: &H, call: &mut Option<FramedCall<'_, C>>) {
    let Some(call) = call.take() else { return };
    let FramedCall { codec, head, body, one_way, mut responder, peer, permit, most, pause, counters } = call;
    let _permit = match permit {
        Ok(permit) => permit,
        Err(limit) => {
            counters.overload();
            reply(codec, &mut responder, || codec.failure(Failure::Overloaded { limit }));
            return;
        }
    };
    let decode = |message: &mut BytesMut| decode(message, |p, input| codec.decode_request(p, input));
    let decoded = if body.is_empty() {
        scratch::read(&head, decode)
    } else {
        let mut reading = Reading::new(&head, body, Patience::Pause(pause));
        match poll_fn(|cx| reading.poll(cx, most)).await {
            Ok(message) => message.and_then(|mut message| decode(&mut message)),
            Err(Broken::Gone(_)) => return, // Its caller knows.
            Err(Broken::Late) => {
                let why = format!("nothing of the request came for {}", human(pause));
                return responder.fail(ResetCode::Late, why);
            }
        }
    };
    drop(head);
    let request = match decoded {
        Ok(Decoded::Message(request)) => request,
        Ok(Decoded::Refused(refusal)) => {
            reply(codec, &mut responder, || refusal);
            return;
        }
        Err(error) => return responder.fail(ResetCode::Malformed, error.to_string()),
    };
    let answered = match made(|| handler.call(Call::new(request, peer, !one_way))) {
        Some(answering) => caught_here(pin!(answering)).await,
        None => None,
    };
    match answered {
        Some(answer) => {
            let whole = reply(codec, &mut responder, || answer);
            counters.count(whole);
        }
        None => {
            counters.count(false);
            reply(codec, &mut responder, || codec.failure(Failure::Panicked));
        }
    }
}

/// Sends a reply (true), or what the codec makes in its stead if it cannot be encoded.
fn reply<C: Codec>(codec: &C, responder: &mut Responder, make: impl FnOnce() -> C::Reply) -> bool {
    let made = catch_unwind(AssertUnwindSafe(make));
    // Dropping the responder breaks the call off, which says as much.
    let Ok(answer) = made else { return false };
    let sent = catch_unwind(AssertUnwindSafe(|| send(codec, responder, &answer)));
    let why: BoxError = match sent {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error.into(),
        Err(_) => "the codec panicked while it encoded the reply".into(),
    };
    let failed = AssertUnwindSafe(|| send(codec, responder, &codec.failure(Failure::Unencodable(&why))));
    drop(catch_unwind(failed));
    false
}

fn send<C: Codec>(codec: &C, responder: &mut Responder, answer: &C::Reply) -> Result<(), Error> {
    let mut large = None;
    let sent = responder.reply(|out| split(out, &mut large, |out| codec.encode_reply(answer, out)), SendBody::empty());
    match (sent, large) {
        (Err(_), Some(message)) => responder.reply(|_| Ok(()), SendBody::Whole(message)).map(|_| ()),
        (Err(error), None) if is_too_long(&error) => {
            let mut message = Vec::new();
            codec.encode_reply(answer, &mut message).map_err(Error::encode)?;
            responder.reply(|_| Ok(()), SendBody::Whole(message.into())).map(|_| ())
        }
        (sent, _) => sent.map(|_| ()),
    }
}

/// A user's future, or `None` if making it panics.
pub fn made<F>(make: impl FnOnce() -> F) -> Option<F> {
    catch_unwind(AssertUnwindSafe(make)).map_err(drop_quietly).ok()
}

/// What a user's future gives, or `None` if it panics.
pub async fn caught<F: Future>(future: F) -> Option<F::Output> {
    caught_here(pin!(future)).await
}

/// The same of one that stays where it is.
pub fn caught_here<F: Future>(mut future: Pin<&mut F>) -> impl Future<Output = Option<F::Output>> {
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        Err(payload) => {
            drop_quietly(payload);
            Poll::Ready(None)
        }
    })
}
