//! Whole messages on the framed wire.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use fastrpc::ErrorKind;
use fastrpc::internals::{FramedCall, caught};
use fastrpc::stream::{NotFramed, SendBody};
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode, request};
use tokio::time::{Instant, timeout_at};

use crate::client::whole_reply;
use crate::codec::error::{CodecError, Fault, MessageKind};
use crate::codec::framed;
use crate::heads::Framed;
use crate::stream::answer::{PANICKED, answer, permitted, refuse};
use crate::stream::{FramedClient, Incoming};
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

enum Step<'a, H: Heads> {
    New(H::Request),
    Running(Pin<Box<dyn Future<Output = Outcome<H>> + Send + 'a>>),
    Done(Option<H::Request>),
}

/// The response; or why there is none, and the request.
type Outcome<H> = Result<<H as Heads>::Response, (Error, Option<<H as Heads>::Request>)>;

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
        if let Step::New(_) = self.step
            && let Step::New(request) = std::mem::replace(&mut self.step, Step::Done(None))
        {
            self.step = Step::Running(Box::pin(run(self.client, request, self.resolve())));
        }
        let Step::Running(running) = &mut self.step else { panic!("a call was polled after its end") };
        let outcome = ready!(running.as_mut().poll(cx));
        Poll::Ready(outcome.map_err(|(error, request)| {
            self.step = Step::Done(request);
            error
        }))
    }
}

async fn run<H: Heads>(client: &Client<H>, request: H::Request, deadline: Instant) -> Outcome<H> {
    let (Some((framed, _attempt)), Some(types)) = (client.attempt(), H::framed()) else {
        return classic(client, request, deadline).await;
    };
    let (parts, body) = (types.into_request)(request).into_parts();
    let body = body.into_bytes();
    let mut again = true;
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
    let response = framed.response(parts, reply);
    let collected = timeout_at(deadline, collect(response, &parts.method, &framed.limits)).await;
    collected.unwrap_or_else(|_| Err(fastrpc::Error::stalled("no reply before the deadline").into()))
}

async fn collect(response: Response<Incoming>, asked: &Method, limits: &Limits) -> Result<Response<Body>, Error> {
    let (mut parts, body) = response.into_parts();
    if *asked != Method::HEAD {
        parts.headers.remove(CONTENT_LENGTH); // The body knows its length.
    }
    match Body::collect_from(body, limits.max_body()).await {
        Ok(body) => Ok(Response::from_parts(parts, body)),
        Err(CollectError::Body(error)) => Err(error),
        Err(CollectError::TooLarge { limit }) => {
            let error = CodecError::new(MessageKind::Reply, Fault::BodyTooLarge { limit });
            Err(fastrpc::Error::refused_reply(error).into())
        }
    }
}

/// Answers a call of the framed wire by a handler of whole messages.
pub(crate) async fn answer_whole<C, H, Fut>(
    call: FramedCall<'_, C>,
    types: Framed<H>,
    limits: &Limits,
    pause: Duration,
    handler: impl FnOnce(H::Request, Option<std::net::SocketAddr>) -> Fut,
) where
    H: Heads,
    Fut: Future<Output = H::Response>,
{
    let Some((call, _permit)) = permitted(call, limits) else { return };
    let parts = match framed::decode_request(&call.head, limits) {
        Ok(parts) => parts,
        Err(error) => return refuse(call.responder, error.status(), &error.to_string(), limits),
    };
    let asked = parts.method.clone();
    let request = match receive(parts, call.body, limits, pause).await {
        Ok(request) => request,
        Err(None) => return, // Its caller knows.
        Err(Some(error)) => return refuse(call.responder, error.status(), &error.to_string(), limits),
    };
    let answered = caught(handler((types.request)(request), call.peer)).await;
    match answered {
        Some(response) => {
            answer(call.responder, call.counters, &asked, (types.into_response)(response), *limits).await;
        }
        None => {
            call.counters.count(false);
            refuse(call.responder, StatusCode::INTERNAL_SERVER_ERROR, PANICKED, limits);
        }
    }
}

/// A request with all of its body.
async fn receive(
    mut parts: request::Parts,
    body: fastrpc::stream::BodyReader,
    limits: &Limits,
    pause: Duration,
) -> Result<Request<Body>, Option<CodecError>> {
    let body = Incoming::new(body, MessageKind::Request, &parts.headers, false, *limits, Some(pause));
    match Body::collect_from(body, limits.max_body()).await {
        Ok(body) => {
            parts.headers.remove(CONTENT_LENGTH); // The body knows its length.
            Ok(Request::from_parts(parts, body))
        }
        Err(CollectError::TooLarge { limit }) => {
            Err(Some(CodecError::new(MessageKind::Request, Fault::BodyTooLarge { limit })))
        }
        Err(CollectError::Body(error)) => Err(error.codec().copied()),
    }
}
