//! Whole messages on the framed wire.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use fastrpc::ErrorKind;
use fastrpc::internals::{Attempt, FramedCall, caught};
use fastrpc::stream::{Answer, BodyReader, NotFramed, Reply, SendBody};
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode, request, response};
use tokio::time::{Instant, timeout_at};

use crate::client::whole_reply;
use crate::codec::error::{CodecError, Fault, MessageKind};
use crate::codec::framed;
use crate::heads::Framed;
use crate::stream::answer::{PANICKED, answer, answer_at_once, permitted, refuse};
use crate::stream::{FramedClient, HeadsOf, Incoming};
use crate::{Body, Client, CollectError, Error, Heads, Limits};

/// A call of whole messages that takes the framed wire if the peer speaks that.
pub(crate) struct Exchanging<'a, H: Heads> {
    client: &'a Client<H>,
    step: Step<'a, H>,
    limit: Option<Limit>,
}

#[derive(Clone, Copy)]
enum Limit {
    After(Duration),
    At(Instant),
}

#[allow(clippy::large_enum_variant, reason = "a box would cost each call an allocation")]
enum Step<'a, H: Heads> {
    New(H::Request),
    /// It was begun at once.
    Begun(Begun),
    Running(Pin<Box<dyn Future<Output = Outcome<H>> + Send + 'a>>),
    Done(Option<H::Request>),
}

/// A call that waits for its reply, and what it takes to make it again.
struct Begun {
    answer: Answer<HeadsOf>,
    parts: request::Parts,
    body: Bytes,
    deadline: Instant,
    _attempt: Attempt,
}

/// The response; or why there is none, and the request.
type Outcome<H> = Result<<H as Heads>::Response, Failed<H>>;
type Failed<H> = (Error, Option<<H as Heads>::Request>);

impl<'a, H: Heads> Exchanging<'a, H> {
    pub(crate) fn new(client: &'a Client<H>, request: H::Request) -> Self {
        Self { client, step: Step::New(request), limit: None }
    }

    pub(crate) fn timeout(self, limit: Duration) -> Self {
        Self { limit: Some(Limit::After(limit)), ..self }
    }

    pub(crate) fn deadline(self, at: Instant) -> Self {
        Self { limit: Some(Limit::At(at)), ..self }
    }

    pub(crate) fn take_request(&mut self) -> Option<H::Request> {
        if let Step::Done(request) = &mut self.step { request.take() } else { None }
    }

    fn resolve(&self) -> Instant {
        match self.limit {
            Some(Limit::At(at)) => at,
            Some(Limit::After(limit)) => Instant::now().checked_add(limit).unwrap_or_else(|| self.client.deadline()),
            None => self.client.deadline(),
        }
    }
}

// What is polled in it is boxed.
impl<H: Heads> Unpin for Exchanging<'_, H> {}

impl<H: Heads> Future for Exchanging<'_, H> {
    type Output = Result<H::Response, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let outcome = loop {
            match &mut this.step {
                Step::New(_) => {
                    let deadline = this.resolve();
                    let Step::New(request) = std::mem::replace(&mut this.step, Step::Done(None)) else {
                        unreachable!()
                    };
                    match begin(this.client, request, deadline, cx.waker()) {
                        Ok(step) => this.step = step,
                        Err(failed) => break Err(failed),
                    }
                    if matches!(this.step, Step::Begun(_)) {
                        return Poll::Pending; // Its reply wakes this task from now on.
                    }
                }
                Step::Begun(begun) => {
                    let reply = ready!(Pin::new(&mut begun.answer).poll(cx));
                    let unfinished = match response_of(this.client, begun, reply) {
                        Ok(response) => {
                            this.step = Step::Done(None);
                            break Ok(response);
                        }
                        Err(unfinished) => unfinished,
                    };
                    let Step::Begun(begun) = std::mem::replace(&mut this.step, Step::Done(None)) else {
                        unreachable!()
                    };
                    match go_on(this.client, begun, unfinished) {
                        Ok(step) => this.step = step,
                        Err(failed) => break Err(failed),
                    }
                }
                Step::Running(running) => break ready!(running.as_mut().poll(cx)),
                Step::Done(_) => panic!("a call was polled after its end"),
            }
        };
        Poll::Ready(outcome.map_err(|(error, request)| {
            self.step = Step::Done(request);
            error
        }))
    }
}

/// Begins a call, on a connection that is open if there is one.
fn begin<'a, H: Heads>(
    client: &'a Client<H>,
    request: H::Request,
    deadline: Instant,
    waker: &Waker,
) -> Result<Step<'a, H>, Failed<H>> {
    let running = |request| Ok(Step::Running(Box::pin(run(client, request, deadline, true))));
    let (Some((framed, attempt)), Some(types)) = (client.attempt(), H::framed()) else { return running(request) };
    let (parts, body) = (types.into_request)(request).into_parts();
    let body = body.into_bytes();
    match framed.calls.call_at_once(deadline, &parts, &body, waker) {
        Some(Ok(answer)) => Ok(Step::Begun(Begun { answer, parts, body, deadline, _attempt: attempt })),
        Some(Err(error)) => Err((error.into(), Some(again(&types, parts, body)))),
        None => {
            drop(attempt);
            running(again(&types, parts, body))
        }
    }
}

/// Why there is no response yet.
enum Unfinished {
    Failed(Error),
    /// It never left.
    Lost,
    /// More of its body is to come.
    Goes(Response<Incoming>),
}

/// The response to a call whose reply has come, if all of it has.
#[allow(clippy::result_large_err, reason = "it is hardly ever an error")]
fn response_of<H: Heads>(
    client: &Client<H>,
    begun: &Begun,
    reply: Result<Reply<response::Parts>, fastrpc::Error>,
) -> Result<H::Response, Unfinished> {
    let (Some(framed), Some(types)) = (client.framed(), H::framed()) else { unreachable!("it was begun there") };
    let reply = reply.map_err(|error| match error.kind() {
        ErrorKind::Connection if error.may_retry() => Unfinished::Lost,
        _ => Unfinished::Failed(error.into()),
    })?;
    let (parts, body) = framed.response(&begun.parts, reply).map_err(Unfinished::Failed)?.into_parts();
    match body.into_whole() {
        Ok(body) if body.len() <= framed.limits.max_body() => {
            client.route().went_framed();
            Ok((types.response)(collected(parts, body.into(), &begun.parts.method)))
        }
        Ok(_) => Err(Unfinished::Failed(too_large(framed.limits.max_body()))),
        Err(body) => Err(Unfinished::Goes(Response::from_parts(parts, body))),
    }
}

/// What becomes of a call that has no response yet.
fn go_on<'a, H: Heads>(client: &'a Client<H>, begun: Begun, why: Unfinished) -> Result<Step<'a, H>, Failed<H>> {
    let (Some(framed), Some(types)) = (client.framed(), H::framed()) else { unreachable!("it was begun there") };
    match why {
        Unfinished::Failed(error) => Err((error, Some(again(&types, begun.parts, begun.body)))),
        Unfinished::Lost => {
            let Begun { parts, body, deadline, .. } = begun;
            Ok(Step::Running(Box::pin(run(client, again(&types, parts, body), deadline, false))))
        }
        Unfinished::Goes(response) => Ok(Step::Running(Box::pin(collect_begun(client, framed, begun, response)))),
    }
}

/// Reads on what comes of a response.
async fn collect_begun<H: Heads>(
    client: &Client<H>,
    framed: &FramedClient,
    begun: Begun,
    response: Response<Incoming>,
) -> Outcome<H> {
    let Some(types) = H::framed() else { unreachable!("it was begun there") };
    match collect_before(begun.deadline, response, &begun.parts.method, &framed.limits).await {
        Ok(response) => {
            client.route().went_framed();
            Ok((types.response)(response))
        }
        Err(error) => Err((error, Some(again(&types, begun.parts, begun.body)))),
    }
}

/// The request of before.
fn again<H: Heads>(types: &Framed<H>, parts: request::Parts, body: Bytes) -> H::Request {
    (types.request)(Request::from_parts(parts, Body::from(body)))
}

/// `again`: it may be made once more where its connection has ended before it left.
async fn run<H: Heads>(client: &Client<H>, request: H::Request, deadline: Instant, mut again: bool) -> Outcome<H> {
    let (Some((framed, _attempt)), Some(types)) = (client.attempt(), H::framed()) else {
        return classic(client, request, deadline).await;
    };
    let (parts, body) = (types.into_request)(request).into_parts();
    let body = body.into_bytes();
    let error = loop {
        match exchange(framed, &parts, body.clone(), deadline).await {
            Ok(response) => {
                client.route().went_framed();
                return Ok((types.response)(response));
            }
            Err(error) if again && error.kind() == ErrorKind::Connection && error.may_retry() => again = false,
            Err(error) => break error,
        }
    };
    let request = (types.request)(Request::from_parts(parts, Body::from(body)));
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
    call: FramedCall<'_, C>,
    limits: &Limits,
    pause: Duration,
    handler: impl FnOnce(H::Request, Option<std::net::SocketAddr>) -> Fut,
) where
    H: Heads,
    Fut: Future<Output = H::Response>,
{
    let Some(types) = H::framed() else { return }; // A server of other types speaks the classic wire alone.
    let Some((call, _permit)) = permitted(call, limits) else { return };
    let FramedCall { head, mut body, responder, peer, counters, .. } = call;
    let mut parts = match framed::decode_request(&head, limits) {
        Ok(parts) => parts,
        Err(error) => return refuse(responder, error.status(), &error.to_string(), limits),
    };
    drop(head);
    let asked = parts.method.clone();
    let body = match whole_of(&mut body, &parts, limits) {
        Some(body) => Ok(body),
        None => collect_request(&parts, body, limits, pause).await,
    };
    let body = match body {
        Ok(body) => body,
        Err(None) => return, // Its caller knows.
        Err(Some(error)) => return refuse(responder, error.status(), &error.to_string(), limits),
    };
    parts.headers.remove(CONTENT_LENGTH); // The body knows its length.
    let answered = caught(handler((types.request)(Request::from_parts(parts, body)), peer)).await;
    let response = match answered {
        Some(response) => (types.into_response)(response),
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
fn whole_of(body: &mut BodyReader, parts: &request::Parts, limits: &Limits) -> Option<Body> {
    let length = body.whole_len().filter(|length| *length <= limits.max_body())?;
    let said = || parts.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok();
    said().is_none_or(|said| said == length as u64).then(|| body.take_whole().into())
}

/// The body of a request that comes in pieces, or is not as it should be.
async fn collect_request(
    parts: &request::Parts,
    body: BodyReader,
    limits: &Limits,
    pause: Duration,
) -> Result<Body, Option<CodecError>> {
    let body = Incoming::new(body, MessageKind::Request, &parts.headers, false, *limits, Some(pause));
    Body::collect_from(body, limits.max_body()).await.map_err(|error| match error {
        CollectError::TooLarge { limit } => Some(CodecError::new(MessageKind::Request, Fault::BodyTooLarge { limit })),
        CollectError::Body(error) => error.codec().copied(),
    })
}
