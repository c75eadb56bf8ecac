//! Answers calls whose bodies stream.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::HeadCodec;
use super::messages::caught;
use crate::codec::Codec;
use crate::error::Error;
use crate::mux::session::{self, BodyReader, BodyWriter, Incoming, SendBody, Serve};
use crate::server::{Handler, PermitHere, Service};
use crate::stats::{Counters, add};
use crate::wire::framed::frame::ResetCode;

/// A call as its handler gets it.
pub struct Call<C: HeadCodec> {
    head: C::Request,
    body: BodyReader,
    peer: Option<SocketAddr>,
    responder: Responder<C>,
}

impl<C: HeadCodec> Call<C> {
    /// Its head.
    pub fn head(&self) -> &C::Request {
        &self.head
    }

    /// The address of the client's end of the connection, where the transport has one.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Its head, its body, and what answers it.
    pub fn into_parts(self) -> (C::Request, BodyReader, Responder<C>) {
        (self.head, self.body, self.responder)
    }
}

/// Answers one call. Dropping it without a reply breaks the call off.
pub struct Responder<C: HeadCodec> {
    codec: Arc<C>,
    inner: session::Responder,
}

impl<C: HeadCodec> Responder<C> {
    /// Sends a head ahead of the reply; nothing when nobody waits for it.
    ///
    /// # Errors
    ///
    /// It cannot be encoded, or is longer than the peer takes.
    pub fn interim(&mut self, head: &C::Reply) -> Result<(), Error> {
        let codec = &self.codec;
        self.inner.interim(|out| codec.encode_reply(head, out))
    }

    /// Sends the reply. Where the body goes in pieces, they are given to the writer that comes back; there is none when nobody
    /// waits for the reply.
    ///
    /// # Errors
    ///
    /// It cannot be encoded, or is longer than the peer takes. Another reply may be made.
    pub fn reply(&mut self, head: &C::Reply, body: SendBody) -> Result<Option<BodyWriter>, Error> {
        let codec = &self.codec;
        self.inner.reply(|out| codec.encode_reply(head, out), body)
    }

    /// Breaks the call off, for a reason that its caller is told.
    pub fn fail(self, code: ResetCode, text: impl Into<String>) {
        self.inner.fail(code, text.into());
    }
}

/// Answers calls whose bodies stream. Any `Fn(Call<C>) -> impl Future<Output = ()>` is one.
///
/// The future is dropped when nobody waits for it any more: its caller has cancelled, its time is over, or the connection has
/// ended. A panic in it breaks its call off.
pub trait StreamHandler<C: HeadCodec>: Send + Sync + 'static {
    /// Answers one call by its responder.
    fn call(&self, call: Call<C>) -> impl Future<Output = ()> + Send;
}

impl<C, F, Fut> StreamHandler<C> for F
where
    C: HeadCodec,
    F: Fn(Call<C>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    fn call(&self, call: Call<C>) -> impl Future<Output = ()> + Send {
        self(call)
    }
}

/// A call of the framed wire that a handler of [`Server::serve`](crate::Server::serve) gets as it came.
#[doc(hidden)]
pub struct FramedCall<'a, C> {
    pub codec: &'a C,
    pub head: Bytes,
    pub body: BodyReader,
    pub one_way: bool,
    pub responder: session::Responder,
    pub peer: Option<SocketAddr>,
    /// Leave to run, or the limit that is met.
    pub permit: Result<PermitHere<'a>, usize>,
    /// Most bytes of a whole message.
    pub most: usize,
    /// The longest pause between two pieces of one.
    pub pause: Duration,
    pub counters: Tally<'a>,
}

/// Counts what becomes of calls.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Tally<'a>(&'a Counters);

impl Tally<'_> {
    /// It was refused at the limit.
    pub fn overload(&self) {
        add(&self.0.overloads, 1);
    }

    /// It was answered by its handler; or not, as that panicked or its answer cannot be sent.
    pub fn count(&self, answered: bool) {
        add(if answered { &self.0.replies } else { &self.0.errors }, 1);
    }
}

/// Has a handler of whole messages answer the calls of a framed connection.
pub(crate) struct Answering<C, H> {
    pub(crate) service: Arc<Service<C, H>>,
    pub(crate) peer: Option<SocketAddr>,
}

impl<C: Codec, H: Handler<C>> Serve for Answering<C, H> {
    fn serve(&self, call: Incoming) -> impl Future<Output = ()> + Send + 'static {
        let (service, peer) = (self.service.clone(), self.peer);
        async move {
            let Incoming { head, body, one_way, responder } = call;
            let (codec, counters, link) = (service.codec(), Tally(service.counters()), service.link());
            let (most, pause) = (link.max_undecoded, link.read_timeout);
            let permit = service.admit_here().ok_or_else(|| service.concurrency());
            let call = FramedCall { codec, head, body, one_way, responder, peer, permit, most, pause, counters };
            service.handler().answer(&mut Some(call)).await;
        }
    }
}

/// Has a handler of streams answer the calls of a connection.
pub(crate) struct Streaming<C, H> {
    pub(crate) service: Arc<Service<C, H>>,
    pub(crate) peer: Option<SocketAddr>,
}

impl<C: HeadCodec, H: StreamHandler<C>> Serve for Streaming<C, H> {
    fn serve(&self, call: Incoming) -> impl Future<Output = ()> + Send + 'static {
        let (service, peer) = (self.service.clone(), self.peer);
        async move {
            let Incoming { head, body, responder, .. } = call;
            let counters = service.counters();
            let Some(_permit) = service.admit_here() else {
                add(&counters.overloads, 1);
                let text = format!("{} handlers run, as many as may", service.concurrency());
                return responder.fail(ResetCode::Refused, text);
            };
            let head = match service.codec().decode_request(&head) {
                Ok(head) => head,
                Err(error) => return responder.fail(ResetCode::Malformed, error.to_string()),
            };
            let responder = Responder { codec: service.shared_codec(), inner: responder };
            let answered = caught(service.handler().call(Call { head, body, peer, responder })).await;
            Tally(counters).count(answered.is_some());
        }
    }
}
