//! A call whose bodies stream, over whichever wire.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use fastrpc::BoxError;
use fastrpc::stream::NotFramed;
use http::{Request, Response, request, response};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, timeout_at};

use super::framed::Early;
use super::incoming::Incoming;
use super::outgoing::{Next, Start};
use crate::client::whole_reply;
use crate::codec::error::Fault;
use crate::codec::framed::Protocol;
use crate::{Body, Client, CodecError, CollectError, Eager, Error};

/// A call that was made with [`Client::stream`](crate::Client::stream): await it for the response.
///
/// # Cancel safety
///
/// Dropping it cancels the call, on the framed wire at the server too.
#[must_use = "a call is made when it is first polled"]
pub struct Streaming<'a, B> {
    step: Step<'a, B>,
}

enum Step<'a, B> {
    New(New<'a, B>),
    Running(Running<'a, B>),
    Done(Option<Kept<B>>),
}

/// What is left of a request whose call failed: its body too, if nothing has left.
struct Kept<B> {
    head: request::Parts,
    body: Option<Unsent<B>>,
}

struct New<'a, B> {
    client: &'a Client,
    request: Request<B>,
    deadline: Option<Instant>,
    early: Option<Early>,
}

type Running<'a, B> = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Failure<B>>> + Send + 'a>>;
type Failure<B> = (Error, Option<Kept<B>>);

impl<'a, B> Streaming<'a, B> {
    pub(crate) fn new(client: &'a Client, request: Request<B>) -> Self {
        Self { step: Step::New(New { client, request, deadline: None, early: None }) }
    }

    /// Gives up when the response's head has not come after `limit`, counted from now; on the classic wire, the whole response.
    pub fn timeout(self, limit: Duration) -> Self {
        let now = Instant::now();
        match now.checked_add(limit) {
            Some(at) => self.deadline(at),
            None => self,
        }
    }

    /// Gives up when the response's head has not come at `at`; on the classic wire, the whole response.
    pub fn deadline(mut self, at: Instant) -> Self {
        if let Step::New(new) = &mut self.step {
            new.deadline = Some(at);
        }
        self
    }

    /// Has `hear` called with each head that comes ahead of the response, a 103 for instance. The classic wire has none.
    pub fn on_interim(mut self, hear: impl FnMut(response::Parts) + Send + 'static) -> Self {
        if let Step::New(new) = &mut self.step {
            new.early = Some(Box::new(hear));
        }
        self
    }

    /// The request, after the call failed and if nothing of it has left: to make it again elsewhere.
    ///
    /// `None` before the end, after a response, and when it was taken already.
    pub fn take_unsent(&mut self) -> Option<Request<Unsent<B>>> {
        let Step::Done(kept) = &mut self.step else { return None };
        let kept = kept.take_if(|kept| kept.body.is_some())?;
        kept.body.map(|body| Request::from_parts(kept.head, body))
    }

    /// The head of the request, after the call failed and although some of it may have left: to make it again elsewhere, if its
    /// method allows that and its body is at hand.
    ///
    /// `None` before the end, after a response, when it was taken already, and on the classic wire if the request could not be sent
    /// at all: its body was not to be had whole, or it asks for another protocol.
    pub fn take_head(&mut self) -> Option<request::Parts> {
        if let Step::Done(kept) = &mut self.step { kept.take().map(|kept| kept.head) } else { None }
    }
}

impl<B> Future for Streaming<'_, B>
where
    B: http_body::Body<Data: Send> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Incoming>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Step::New(_) = this.step
            && let Step::New(new) = std::mem::replace(&mut this.step, Step::Done(None))
        {
            this.step = Step::Running(Box::pin(new.run()));
        }
        let Step::Running(running) = &mut this.step else { panic!("a call was polled after its end") };
        let outcome = ready!(running.as_mut().poll(cx));
        Poll::Ready(outcome.map_err(|(error, kept)| {
            this.step = Step::Done(kept);
            error
        }))
    }
}

// What is polled in it is boxed.
impl<B> Unpin for Streaming<'_, B> {}

impl<B> New<'_, B>
where
    B: http_body::Body<Data: Send> + Send + 'static,
    B::Error: Into<BoxError>,
{
    async fn run(self) -> Result<Response<Incoming>, Failure<B>> {
        let Self { client, request, deadline, mut early } = self;
        let (parts, body) = request.into_parts();
        let mut body = Box::pin(body);
        let deadline = deadline.unwrap_or_else(|| client.deadline());
        let Some((framed, _attempt)) = client.attempt() else {
            return whole(client, parts, Unsent { first: None, rest: Some(body) }, deadline).await;
        };
        let first = Start::of_request(body.as_mut());
        let (error, unsent) = match framed.call(&parts, first, body, deadline, &mut early).await {
            Ok(response) => {
                client.route().went_framed();
                return Ok(response);
            }
            Err(failed) => failed,
        };
        let unsent = unsent.map(|(first, rest)| Unsent { first: Some(first), rest: Some(rest) });
        match (NotFramed::of(error.transport()).filter(|_| client.route().may_fall_back()), unsent) {
            (Some(NotFramed::Classic), Some(body)) => {
                client.route().went_classic();
                whole(client, parts, body, deadline).await
            }
            (Some(NotFramed::NoTls), Some(body)) => {
                let outcome = whole(client, parts, body, deadline).await;
                client.note_fallback(outcome.as_ref().err().map(|(error, _)| error));
                outcome
            }
            (_, body) => Err((error, Some(Kept { head: parts, body }))),
        }
    }
}

/// Calls on the classic wire, with a body that is collected first.
async fn whole<B>(
    client: &Client,
    parts: request::Parts,
    body: Unsent<B>,
    deadline: Instant,
) -> Result<Response<Incoming>, Failure<B>>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    if parts.extensions.get::<Protocol>().is_some() {
        let error = CodecError::request(Fault::NoStreams);
        return Err((fastrpc::Error::unsendable(error).into(), None));
    }
    let body = match timeout_at(deadline, Body::collect_from(body, client.max_collected())).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return Err((Error::unsendable(error), None)),
        Err(_) => {
            let late = fastrpc::Error::stalled("the request's body was not whole before the deadline");
            return Err((late.into(), None));
        }
    };
    let asked = parts.method.clone();
    let mut call = client.classic().call(Request::from_parts(parts, body)).deadline(deadline);
    match (&mut call).await {
        Ok(reply) => match whole_reply::<Eager>(&asked, reply) {
            Ok(response) => Ok(response.map(Incoming::from)),
            Err(error) => Err((error, None)),
        },
        Err(error) => {
            let kept = call.take_request().map(|request| {
                let (head, body) = request.into_parts();
                Kept { head, body: error.may_retry().then(|| Unsent::whole(body)) }
            });
            Err((error.into(), kept))
        }
    }
}

/// The body of a request that never left: what was taken of it, and the rest.
pub struct Unsent<B> {
    first: Option<Next>,
    rest: Option<Pin<Box<B>>>,
}

impl<B> Unsent<B> {
    fn whole(body: Body) -> Self {
        Self { first: Some(Next::Whole(body.into_bytes())), rest: None }
    }

    /// The body as it was given, if nothing was taken of it.
    ///
    /// # Errors
    ///
    /// Something was: this comes back.
    pub fn into_untouched(self) -> Result<B, Self>
    where
        B: Unpin,
    {
        match self {
            Self { first: None, rest: Some(rest) } => Ok(*Pin::into_inner(rest)),
            Self { first: Some(Next::Piece(piece)), rest: Some(rest) } if piece.is_empty() => {
                Ok(*Pin::into_inner(rest))
            }
            touched => Err(touched),
        }
    }

    /// All of it, if it is at hand.
    pub fn as_whole(&self) -> Option<&Bytes> {
        if let Some(Next::Whole(body)) = &self.first { Some(body) } else { None }
    }
}

impl<B: http_body::Body<Error: Into<BoxError>>> http_body::Body for Unsent<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.first.take() {
            Some(Next::Whole(body)) => {
                self.rest = None;
                return Poll::Ready(Some(body).filter(|body| !body.is_empty()).map(|body| Ok(Frame::data(body))));
            }
            Some(Next::Piece(piece)) if !piece.is_empty() => return Poll::Ready(Some(Ok(Frame::data(piece)))),
            Some(Next::End(trailers)) => {
                self.rest = None;
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            }
            Some(Next::Broken(error)) => {
                self.rest = None;
                return Poll::Ready(Some(Err(error)));
            }
            Some(Next::Piece(_) | Next::Gone) | None => {}
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let Some(frame) = ready!(rest.as_mut().poll_frame(cx)) else { return Poll::Ready(None) };
        let bytes = |frame: Frame<B::Data>| frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
        Poll::Ready(Some(frame.map(bytes).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.first {
            Some(Next::Whole(body)) => body.is_empty(),
            Some(Next::Piece(piece)) if !piece.is_empty() => false,
            Some(Next::End(trailers)) => trailers.is_none(),
            Some(Next::Broken(_)) => false,
            _ => self.rest.as_ref().is_none_or(http_body::Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.first {
            Some(Next::Whole(body)) => SizeHint::with_exact(body.len() as u64),
            Some(Next::End(_)) => SizeHint::with_exact(0),
            Some(Next::Piece(piece)) if !piece.is_empty() => {
                let mut hint = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint);
                let (lower, upper) = (hint.lower(), hint.upper());
                if let Some(upper) = upper.and_then(|upper| upper.checked_add(piece.len() as u64)) {
                    hint.set_upper(upper);
                }
                hint.set_lower(lower + piece.len() as u64);
                hint
            }
            _ => self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint),
        }
    }
}

impl<B> fmt::Debug for Unsent<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsent").finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for Streaming<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").finish_non_exhaustive()
    }
}

impl Error {
    /// The body of a request could not be had whole.
    fn unsendable(error: CollectError<BoxError>) -> Self {
        match error {
            CollectError::TooLarge { limit } => {
                fastrpc::Error::unsendable(CodecError::request(Fault::BodyTooLarge { limit })).into()
            }
            CollectError::Body(error) => fastrpc::Error::unsendable(error).into(),
        }
    }
}
