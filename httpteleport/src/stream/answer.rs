//! Answers calls whose bodies stream, over whichever wire.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use fastrpc::internals::session::{InterimSender, Responder};
use fastrpc::internals::{FramedCall, PermitHere, Tally};
use fastrpc::stream::{ResetCode, SendBody};
use fastrpc::{BoxError, Call};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, response};

use super::incoming::{Incoming, is_bare};
use super::outgoing::{Sender, Start, WHOLE, pump};
use crate::codec::classic::{has_no_body, refusal};
use crate::codec::error::MessageKind;
use crate::codec::framed::{self, Protocol};
use crate::forward::Bodies;
use crate::{Body, ClassicCodec, CollectError, Error, Limits, Reply, lazy};

/// Answers requests whose bodies stream. Any `Fn(Request<Incoming>) -> impl Future<Output = Response<B>>` is one, where `B` is
/// any [`http_body::Body`].
///
/// The future, and later the body of its response, is dropped when nobody waits for it any more. A panic costs this call alone;
/// the caller gets a 500.
pub trait StreamHandler: Send + Sync + 'static {
    /// The body of its responses.
    type Body: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static;

    /// Answers one request.
    fn call(&self, request: Request<Incoming>, context: Context) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Is told of a request that is answered without it, with this status, for what is wrong with its head or its length: over a limit, or no
    /// HTTP. `peer` is the other end of the connection, where the transport has addresses. It runs where the connection is driven and must not wait.
    fn refused(&self, peer: Option<SocketAddr>, status: StatusCode, why: &str) {
        let _ = (peer, status, why);
    }
}

impl<F, Fut, B> StreamHandler for F
where
    F: Fn(Request<Incoming>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response<B>> + Send,
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;

    fn call(&self, request: Request<Incoming>, _: Context) -> impl Future<Output = Response<B>> + Send {
        self(request)
    }
}

/// What a handler can know of a call beside the request.
pub struct Context {
    peer: Option<SocketAddr>,
    early: Option<InterimSender>,
    limits: Limits,
}

impl Context {
    /// The other end of the connection, where the transport has addresses: the node that teleports, not its client.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether bodies stream on the wire of this call. On the classic wire they are collected first.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.early.is_some()
    }

    /// Sends a head ahead of the response: a 103 with what the client should load, for instance. The classic wire has none, and
    /// nothing happens there.
    ///
    /// # Errors
    ///
    /// It cannot be sent: its status is not 1xx, or is 101, or it is longer than the peer takes.
    pub fn interim(&self, head: &response::Parts) -> Result<(), Error> {
        let Some(early) = &self.early else { return Ok(()) };
        let sent = early.send(|out| framed::encode_interim(head, &self.limits, out).map_err(BoxError::from));
        Ok(sent?)
    }
}

/// A [`StreamHandler`] as fastrpc runs it.
pub(crate) struct AnsweringStreams<F> {
    pub(crate) handler: Arc<F>,
    pub(crate) limits: Limits,
    pub(crate) bodies: Bodies,
}

type Codec = ClassicCodec<lazy::Request, Reply>;

impl<F: StreamHandler> fastrpc::Handler<Codec> for AnsweringStreams<F> {
    async fn call(&self, call: Call<lazy::Request>) -> Reply {
        let peer = call.peer_addr();
        let request = match call.into_request().into_http() {
            Ok(request) => request.map(Incoming::from),
            Err(fault) => {
                let reply = refusal(fault);
                self.tell_refused(&reply, peer);
                return reply;
            }
        };
        let asked = request.method().clone();
        let context = Context { peer, early: None, limits: self.limits };
        let (parts, body) = self.handler.call(request, context).await.into_parts();
        match Body::collect_from(body, self.bodies.max_collected).await {
            Ok(body) => Reply::answering(&asked, Response::from_parts(parts, body)),
            Err(error) => unsendable(&asked, &error),
        }
    }

    async fn answer(&self, call: &mut Option<FramedCall<'_, Codec>>) {
        let Some(call) = call.take() else { return };
        let FramedCall { head, body, responder, peer, permit, counters, .. } = call;
        let Some((mut responder, _permit)) = permitted(permit, responder, counters, &self.limits) else { return };
        let parts = match framed::decode_request(&head, &self.limits) {
            Ok(parts) => parts,
            Err(error) => {
                let why = error.to_string();
                self.handler.refused(peer, error.status(), &why);
                return refuse(responder, error.status(), &why, &self.limits);
            }
        };
        let upgrade = parts.extensions.get::<Protocol>().is_some();
        let pause = Some(self.bodies.pause).filter(|_| !upgrade);
        let body = Incoming::new(body, MessageKind::Request, &parts.headers, false, self.limits, pause);
        if let Some(error) = body.contradiction() {
            let why = error.to_string();
            self.handler.refused(peer, error.status(), &why);
            return responder.fail(ResetCode::Malformed, why);
        }
        let asked = parts.method.clone();
        let context = Context { peer, early: Some(responder.interims()), limits: self.limits };
        let answering = pin!(self.handler.call(Request::from_parts(parts, body), context));
        let answered = fastrpc::internals::caught_here(answering).await;
        let unasked = |response: &Response<_>| response.status() == StatusCode::SWITCHING_PROTOCOLS && !upgrade;
        match answered {
            Some(response) if unasked(&response) => {
                counters.count(false);
                let why = "the handler agreed to another protocol, which the request does not ask for";
                refuse(responder, StatusCode::INTERNAL_SERVER_ERROR, why, &self.limits);
            }
            Some(response) => answer(responder, counters, &asked, response, self.limits).await,
            None => {
                counters.count(false);
                refuse(responder, StatusCode::INTERNAL_SERVER_ERROR, PANICKED, &self.limits);
            }
        }
    }

    fn refused(&self, reply: &Reply, peer: Option<SocketAddr>) {
        self.tell_refused(reply, peer);
    }
}

impl<F: StreamHandler> AnsweringStreams<F> {
    /// Tells the handler of a request of the classic wire that got this reply instead.
    fn tell_refused(&self, reply: &Reply, peer: Option<SocketAddr>) {
        let response = reply.response();
        self.handler.refused(peer, response.status(), &String::from_utf8_lossy(response.body().as_bytes()));
    }
}

pub(crate) const PANICKED: &str = "the request's handler panicked";

/// Leave to run a call's handler; otherwise the call is answered.
pub(crate) fn permitted<'a>(
    permit: Result<PermitHere<'a>, usize>,
    responder: Responder,
    counters: Tally<'_>,
    limits: &Limits,
) -> Option<(Responder, PermitHere<'a>)> {
    match permit {
        Ok(permit) => Some((responder, permit)),
        Err(limit) => {
            counters.overload();
            // The very text of the Go server: operators have alerts on it.
            let why = format!(
                "concurrency limit exceeded: {limit}. Increase Server.Concurrency or decrease load on the server"
            );
            refuse(responder, StatusCode::TOO_MANY_REQUESTS, &why, limits);
            None
        }
    }
}

/// The answer to a request whose response's body could not be had whole.
fn unsendable<E: Into<BoxError>>(asked: &Method, error: &CollectError<E>) -> Reply {
    let mut response = Response::new(Body::from(format!("the reply could not be sent: {error}\n")));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    Reply::answering(asked, response)
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Sends a response, and its body piece by piece.
pub(crate) async fn answer<B>(
    mut responder: Responder,
    counters: Tally<'_>,
    asked: &Method,
    response: Response<B>,
    limits: Limits,
) where
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let (mut parts, body) = response.into_parts();
    if *asked == Method::HEAD {
        tell_length(&mut parts, &body);
    }
    let mut body = pin!(body);
    let start = if is_bare(asked, parts.status) { Start::Whole(Bytes::new()) } else { Start::of(body.as_mut()) };
    let (send, first) = start.split();
    let sent = responder.reply(|out| encode(&parts, &limits, out), send);
    counters.count(sent.is_ok());
    match sent {
        Ok(Some(writer)) => {
            let sender = Sender::of(MessageKind::Reply, &parts.headers, limits);
            pump(body, first, writer, sender).await;
        }
        Ok(None) => {}
        Err(error) => not_sent(responder, &error, &limits),
    }
}

/// Sends a response with a short body; another comes back.
#[allow(clippy::result_large_err, reason = "it is moved once, either way")]
pub(crate) fn answer_at_once(
    mut responder: Responder,
    counters: Tally<'_>,
    asked: &Method,
    response: Response<Body>,
    limits: &Limits,
) -> Result<(), (Responder, Response<Body>)> {
    if *asked == Method::HEAD || response.body().len() > WHOLE {
        return Err((responder, response));
    }
    let (parts, body) = response.into_parts();
    let body = if is_bare(asked, parts.status) { Bytes::new() } else { body.into_bytes() };
    let sent = responder.reply(|out| encode(&parts, limits, out), SendBody::Whole(body));
    counters.count(sent.is_ok());
    if let Err(error) = sent {
        not_sent(responder, &error, limits);
    }
    Ok(())
}

fn not_sent(responder: Responder, error: &fastrpc::Error, limits: &Limits) {
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    refuse(responder, StatusCode::BAD_GATEWAY, &format!("the reply could not be sent: {cause}"), limits);
}

/// A response to `HEAD` tells how long the body is that it does not bring.
fn tell_length(parts: &mut response::Parts, body: &impl http_body::Body) {
    // An empty body without a word about its length is a server's that does not know it.
    let known = body.size_hint().exact().filter(|length| *length > 0 && !has_no_body(parts.status));
    if let Some(length) = known
        && !parts.headers.contains_key(CONTENT_LENGTH)
    {
        parts.headers.insert(CONTENT_LENGTH, length.into());
    }
}

/// Answers with a sentence in the place of what was wanted.
pub(crate) fn refuse(mut responder: Responder, status: StatusCode, why: &str, limits: &Limits) {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    let (parts, ()) = response.into_parts();
    let body = SendBody::Whole(Bytes::from(format!("{why}\n")));
    // A head of this size fits any limit that a peer may set; if not, dropping the responder tells it as much.
    let _ = responder.reply(|out| encode(&parts, limits, out), body);
}

fn encode(parts: &response::Parts, limits: &Limits, out: &mut Vec<u8>) -> Result<(), BoxError> {
    framed::encode_reply(parts, limits, out).map_err(BoxError::from)
}
