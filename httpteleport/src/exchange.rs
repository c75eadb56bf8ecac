//! Whole messages on the framed wire.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use fastrpc::ErrorKind;
use fastrpc::internals::{Attempt, FramedCall, caught_here, made};
use fastrpc::stream::{Answer, BodyReader, NotFramed, Reply, SendBody};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Request, Response, StatusCode, request, response};
use tokio::time::{Instant, timeout_at};

use crate::client::whole_reply;
use crate::codec::error::{CodecError, Fault, MessageKind};
use crate::codec::framed;
use crate::heads::Framed;
use crate::stream::answer::{PANICKED, answer, answer_at_once, permitted, refuse};
use crate::stream::{FramedClient, HeadsOf, Incoming, said_length};
use crate::{Body, Client, CollectError, Error, Heads, Limits};

/// A call of whole messages that takes the framed wire if the peer speaks that.
pub(crate) struct Exchanging<'a, H: Heads> {
    client: &'a Client<H>,
    /// What is asked for, but for what [`Step::Running`] has taken.
    asked: Option<Asked>,
    step: Step<'a, H>,
    limit: Option<Limit>,
}

/// A request, which stays where it is until its call is over.
struct Asked {
    parts: request::Parts,
    body: Bytes,
}

#[derive(Clone, Copy)]
enum Limit {
    After(Duration),
    At(Instant),
}

enum Step<'a, H: Heads> {
    New,
    /// It was begun at once.
    Begun {
        answer: Answer<HeadsOf>,
        deadline: Instant,
        _attempt: Attempt,
    },
    Running(Pin<Box<dyn Future<Output = Outcome<H>> + Send + 'a>>),
    Done,
}

/// The response; or why there is none, and the request.
type Outcome<H> = Result<<H as Heads>::Response, Failed<H>>;
type Failed<H> = (Error, Option<<H as Heads>::Request>);

impl<'a, H: Heads> Exchanging<'a, H> {
    #[inline]
    pub(crate) fn new(client: &'a Client<H>, request: H::Request) -> Self {
        Self { client, asked: Some(apart::<H>(request)), step: Step::New, limit: None }
    }

    #[inline]
    pub(crate) fn set_timeout(&mut self, limit: Duration) {
        self.limit = Some(Limit::After(limit));
    }

    #[inline]
    pub(crate) fn set_deadline(&mut self, at: Instant) {
        self.limit = Some(Limit::At(at));
    }

    pub(crate) fn take_request(&mut self) -> Option<H::Request> {
        self.asked.take_if(|_| matches!(self.step, Step::Done)).map(again::<H>)
    }

    fn resolve(&self) -> Instant {
        match self.limit {
            Some(Limit::At(at)) => at,
            Some(Limit::After(limit)) => Instant::now().checked_add(limit).unwrap_or_else(|| self.client.deadline()),
            None => self.client.deadline(),
        }
    }

    /// Begins the call, on a connection that is open if there is one.
    fn begin(&mut self, waker: &Waker) -> Result<(), Error> {
        let (client, deadline) = (self.client, self.resolve());
        if let (Some((framed, attempt)), Some(Asked { parts, body })) = (client.attempt(), &self.asked)
            && let Some(begun) = framed.calls.call_at_once(deadline, parts, body, waker)
        {
            self.step = Step::Begun { answer: begun?, deadline, _attempt: attempt };
            return Ok(());
        }
        self.run(deadline, true);
        Ok(())
    }

    /// Makes the call, whatever it has to wait for. `again`: see [`run`].
    fn run(&mut self, deadline: Instant, again: bool) {
        let asked = self.asked.take().expect("it is there until the call is over");
        self.step = Step::Running(Box::pin(run(self.client, self::again::<H>(asked), deadline, again)));
    }

    /// What comes of a call that was begun at once, when its reply has come: its response, if all of it has.
    fn replied(
        &mut self,
        deadline: Instant,
        reply: Result<Reply<response::Parts>, fastrpc::Error>,
    ) -> Option<Result<H::Response, Error>> {
        let (Some(framed), Some(Asked { parts, .. })) = (self.client.framed(), &self.asked) else {
            unreachable!("it was begun there")
        };
        let mut reply = match reply {
            Ok(reply) => reply,
            Err(error) if error.kind() == ErrorKind::Connection && error.may_retry() => {
                self.run(deadline, false); // It never left.
                return None;
            }
            Err(error) => return Some(Err(error.into())),
        };
        if let Some(body) = framed.whole(parts, &mut reply) {
            self.client.route().went_framed();
            return Some(Ok((types::<H>().response)(collected(reply.head, body.into(), &parts.method))));
        }
        let response = match framed.response(parts, reply) {
            Ok(response) => response,
            Err(error) => return Some(Err(error)),
        };
        let asked = self.asked.take().expect("it was just there");
        self.step = Step::Running(Box::pin(collect_begun(self.client, framed, asked, deadline, response)));
        None
    }
}

// What is polled in it is boxed.
impl<H: Heads> Unpin for Exchanging<'_, H> {}

impl<H: Heads> Future for Exchanging<'_, H> {
    type Output = Result<H::Response, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let outcome = match &mut this.step {
                Step::New => match this.begin(cx.waker()) {
                    // Its reply wakes this task from now on.
                    Ok(()) if matches!(this.step, Step::Begun { .. }) => return Poll::Pending,
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
                Step::Begun { answer, deadline, .. } => {
                    let (reply, deadline) = (ready!(Pin::new(answer).poll(cx)), *deadline);
                    match this.replied(deadline, reply) {
                        Some(outcome) => outcome,
                        None => continue,
                    }
                }
                Step::Running(running) => ready!(running.as_mut().poll(cx)).map_err(|(error, request)| {
                    this.asked = request.map(apart::<H>);
                    error
                }),
                Step::Done => panic!("a call was polled after its end"),
            };
            if outcome.is_ok() {
                this.asked = None;
            }
            this.step = Step::Done;
            return Poll::Ready(outcome);
        }
    }
}

/// Reads on what comes of a response.
async fn collect_begun<H: Heads>(
    client: &Client<H>,
    framed: &FramedClient,
    asked: Asked,
    deadline: Instant,
    response: Response<Incoming>,
) -> Outcome<H> {
    match collect_before(deadline, response, &asked.parts.method, &framed.limits).await {
        Ok(response) => {
            client.route().went_framed();
            Ok((types::<H>().response)(response))
        }
        Err(error) => Err((error, Some(again::<H>(asked)))),
    }
}

/// The types of whoever may speak the framed wire.
fn types<H: Heads>() -> Framed<H> {
    H::FRAMED.expect("other types are those of the classic wire alone")
}

#[inline]
fn apart<H: Heads>(request: H::Request) -> Asked {
    let (parts, body) = (types::<H>().into_request)(request).into_parts();
    Asked { parts, body: body.into_bytes() }
}

/// The request of before.
fn again<H: Heads>(asked: Asked) -> H::Request {
    (types::<H>().request)(Request::from_parts(asked.parts, Body::from(asked.body)))
}

/// `again`: it may be made once more where its connection has ended before it left.
async fn run<H: Heads>(client: &Client<H>, request: H::Request, deadline: Instant, mut again: bool) -> Outcome<H> {
    let Some((framed, _attempt)) = client.attempt() else {
        return classic(client, request, deadline).await;
    };
    let asked = apart::<H>(request);
    let error = loop {
        match exchange(framed, &asked.parts, asked.body.clone(), deadline).await {
            Ok(response) => {
                client.route().went_framed();
                return Ok((types::<H>().response)(response));
            }
            Err(error) if again && error.kind() == ErrorKind::Connection && error.may_retry() => again = false,
            Err(error) => break error,
        }
    };
    let request = self::again::<H>(asked);
    match NotFramed::of(error.transport()).filter(|_| client.route().may_fall_back()) {
        Some(NotFramed::Classic) => {
            client.route().went_classic();
            classic(client, request, deadline).await
        }
        Some(NotFramed::NoTls) => {
            let outcome = classic(client, request, deadline).await;
            client.note_fallback(outcome.as_ref().err().map(|(error, _)| error));
            outcome
        }
        None => Err((error, Some(request))),
    }
}

async fn classic<H: Heads>(client: &Client<H>, request: H::Request, deadline: Instant) -> Outcome<H> {
    let asked = H::method(&request).clone();
    let mut call = client.classic().call(request).deadline(deadline);
    match (&mut call).await {
        Ok(reply) => whole_reply::<H>(&asked, reply).map_err(|error| (error, None)),
        Err(error) => Err((error.into(), call.take_request())),
    }
}

/// One call whose response is collected, within the time of the call.
async fn exchange(
    framed: &FramedClient,
    parts: &request::Parts,
    body: Bytes,
    deadline: Instant,
) -> Result<Response<Body>, Error> {
    let (answer, _) = framed.calls.call_before(deadline, parts, SendBody::Whole(body)).await?;
    let reply = answer.await?;
    let response = framed.response(parts, reply)?;
    collect_before(deadline, response, &parts.method, &framed.limits).await
}

async fn collect_before(
    deadline: Instant,
    response: Response<Incoming>,
    asked: &Method,
    limits: &Limits,
) -> Result<Response<Body>, Error> {
    let (parts, body) = response.into_parts();
    match timeout_at(deadline, Body::collect_from(body, limits.max_body())).await {
        Ok(Ok(body)) => Ok(collected(parts, body, asked)),
        Ok(Err(CollectError::Body(error))) => Err(error),
        Ok(Err(CollectError::TooLarge { limit })) => Err(too_large(limit)),
        Err(_) => Err(fastrpc::Error::stalled("no reply before the deadline").into()),
    }
}

fn collected(mut parts: response::Parts, body: Body, asked: &Method) -> Response<Body> {
    if *asked != Method::HEAD {
        parts.headers.remove(CONTENT_LENGTH); // The body knows its length.
    }
    Response::from_parts(parts, body)
}

fn too_large(limit: usize) -> Error {
    fastrpc::Error::refused_reply(CodecError::new(MessageKind::Reply, Fault::BodyTooLarge { limit })).into()
}

/// Answers a call of the framed wire by a handler of whole messages.
pub(crate) async fn answer_whole<C, H, Fut>(
    call: &mut Option<FramedCall<'_, C>>,
    limits: &Limits,
    pause: Duration,
    handler: impl FnOnce(H::Request, Option<std::net::SocketAddr>) -> Fut,
) where
    H: Heads,
    Fut: Future<Output = H::Response>,
{
    let Some(call) = call.take() else { return };
    let FramedCall { head, mut body, responder, peer, permit, counters, .. } = call;
    let Some((responder, _permit)) = permitted(permit, responder, counters, limits) else { return };
    let mut request = Request::new(Body::empty());
    if let Err(error) = framed::read_request(&head, limits, &mut request) {
        return refuse(responder, error.status(), &error.to_string(), limits);
    }
    drop(head);
    let asked = request.method().clone();
    *request.body_mut() = match whole_of(&mut body, request.headers(), limits) {
        Some(body) => body,
        None => match collect_request(request.headers(), body, limits, pause).await {
            Ok(body) => body,
            Err(None) => return, // Its caller knows.
            Err(Some((status, why))) => return refuse(responder, status, &why, limits),
        },
    };
    request.headers_mut().remove(CONTENT_LENGTH); // The body knows its length.
    let answered = match made(|| handler((types::<H>().request)(request), peer)) {
        Some(handling) => caught_here(pin!(handling)).await,
        None => None,
    };
    let response = match answered {
        Some(response) => (types::<H>().into_response)(response),
        None => {
            counters.count(false);
            return refuse(responder, StatusCode::INTERNAL_SERVER_ERROR, PANICKED, limits);
        }
    };
    if let Err((responder, response)) = answer_at_once(responder, counters, &asked, response, limits) {
        Box::pin(answer(responder, counters, &asked, response, *limits)).await;
    }
}

/// The body of a request that came whole, if it is as long as it says and within the limit.
fn whole_of(body: &mut BodyReader, headers: &HeaderMap, limits: &Limits) -> Option<Body> {
    let length = body.whole_len().filter(|length| *length <= limits.max_body())?;
    said_length(headers, false).is_none_or(|said| said == length as u64).then(|| body.take_whole().into())
}

/// The body of a request that comes in pieces, or is not as it should be.
///
/// # Errors
///
/// What its caller is answered; nothing where that knows.
async fn collect_request(
    headers: &HeaderMap,
    body: BodyReader,
    limits: &Limits,
    pause: Duration,
) -> Result<Body, Option<(StatusCode, String)>> {
    let body = Incoming::new(body, MessageKind::Request, headers, false, *limits, Some(pause));
    let refused = |error: CodecError| (error.status(), error.to_string());
    Body::collect_from(body, limits.max_body()).await.map_err(|error| match error {
        CollectError::TooLarge { limit } => {
            Some(refused(CodecError::new(MessageKind::Request, Fault::BodyTooLarge { limit })))
        }
        CollectError::Body(error) if error.is_timeout() => Some((StatusCode::REQUEST_TIMEOUT, error.to_string())),
        CollectError::Body(error) => error.codec().copied().map(refused),
    })
}
