//! HTTP calls on the framed wire.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use fastrpc::stream::{self, Answer, ResetCode, SendBody};
use fastrpc::{BoxError, ErrorKind};
use http::{Response, StatusCode, request, response};
use http_body::Body;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::heads::HeadsOf;
use super::incoming::{Incoming, is_bare, said_length};
use super::outgoing::{Next, Sender, Start, pump_once_sent};
use crate::codec::error::{CodecError, Fault, MessageKind};
use crate::codec::framed::{self, Protocol};
use crate::{Error, Limits};

/// What hears the heads that come ahead of a response.
pub(super) type Early = Box<dyn FnMut(response::Parts) + Send>;

/// The half of a client that speaks the framed wire.
pub(crate) struct FramedClient {
    pub(crate) calls: stream::Client<HeadsOf>,
    pub(crate) limits: Limits,
    /// The longest pause between two pieces of a body.
    pub(crate) pause: Duration,
}

impl Clone for FramedClient {
    fn clone(&self) -> Self {
        Self { calls: self.calls.clone(), limits: self.limits, pause: self.pause }
    }
}

/// A call that failed, and the body that was to be sent, where nothing of it has left.
pub(super) type Failed<B> = (Error, Option<(Next, Pin<Box<B>>)>);

impl FramedClient {
    /// The same with connections of its own.
    pub(crate) fn apart(&self) -> Result<Self, fastrpc::Error> {
        Ok(Self { calls: self.calls.apart()?, ..*self })
    }

    /// Calls with a body that streams; the response is there when its head is. `first` is what was taken of the body already.
    /// A call that never left is made once more on another connection.
    pub(super) async fn call<B>(
        &self,
        parts: &request::Parts,
        mut first: Start,
        mut body: Pin<Box<B>>,
        deadline: Instant,
        early: &mut Option<Early>,
    ) -> Result<Response<Incoming>, Failed<B>>
    where
        B: Body<Data: Send> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut again = true;
        loop {
            let (error, unsent) = match self.try_call(parts, first, body, deadline, early).await {
                Err((error, Some(unsent))) => (error, unsent),
                outcome => return outcome,
            };
            if !again || error.kind() != ErrorKind::Connection {
                return Err((error, Some(unsent)));
            }
            again = false;
            body = unsent.1;
            first = Start::again(unsent.0);
        }
    }

    async fn try_call<B>(
        &self,
        parts: &request::Parts,
        first: Start,
        body: Pin<Box<B>>,
        deadline: Instant,
        early: &mut Option<Early>,
    ) -> Result<Response<Incoming>, Failed<B>>
    where
        B: Body<Data: Send> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (send, first) = first.split();
        let whole = if let SendBody::Whole(bytes) = &send { Some(bytes.clone()) } else { None };
        let (mut answer, writer) = match self.calls.call_before(deadline, parts, send).await {
            Ok(begun) => begun,
            Err(error) => return Err((error.into(), Some((held(whole, first), body)))),
        };
        let sender = || Sender::of(MessageKind::Request, &parts.headers, self.limits);
        // The rest of the body is sent meanwhile, by a task of its own.
        let (rest, body) = match writer {
            Some(writer) => (Some(sent_apart(pump_once_sent(body, first, writer, sender()))), None),
            None => (None, Some((held(whole, first), body))),
        };
        self.hear(&mut answer, early).await;
        match answer.await {
            Ok(reply) => self.response(parts, reply).map_err(|error| (error, None)),
            Err(error) if error.may_retry() => {
                let unsent = match rest {
                    Some(rest) => rest.await.ok().flatten(),
                    None => body,
                };
                Err((error.into(), unsent))
            }
            Err(error) => Err((error.into(), None)),
        }
    }

    /// Gives heads that come ahead of the response to whoever wants them.
    async fn hear(&self, answer: &mut Answer<HeadsOf>, early: &mut Option<Early>) {
        let Some(early) = early else { return };
        while let Some(head) = answer.interim().await {
            if let Ok(head) = framed::decode_interim(&head, &self.limits) {
                early(head);
            }
        }
    }

    /// The body of a reply of which nothing more is to come, if nothing else has to be said about it than that. Otherwise the
    /// reply is as before.
    pub(crate) fn whole(&self, asked: &request::Parts, reply: &mut stream::Reply<response::Parts>) -> Option<Bytes> {
        let length = reply.body.whole_len().filter(|length| *length <= self.limits.max_body())?;
        if reply.head.status == StatusCode::SWITCHING_PROTOCOLS {
            return None;
        }
        let bare = is_bare(&asked.method, reply.head.status);
        let fits = said_length(&reply.head.headers, bare).is_none_or(|said| said == length as u64);
        fits.then(|| reply.body.take_whole())
    }

    /// A reply as its caller gets it.
    ///
    /// # Errors
    ///
    /// It agrees to another protocol, which nobody has asked for.
    pub(crate) fn response(
        &self,
        asked: &request::Parts,
        reply: stream::Reply<response::Parts>,
    ) -> Result<Response<Incoming>, Error> {
        let stream::Reply { head, mut body } = reply;
        let upgraded = head.status == StatusCode::SWITCHING_PROTOCOLS;
        if upgraded && asked.extensions.get::<Protocol>().is_none() {
            let error = CodecError::reply(Fault::Interim(head.status));
            body.refuse(ResetCode::Malformed, error.to_string());
            return Err(fastrpc::Error::refused_reply(error).into());
        }
        let bare = is_bare(&asked.method, head.status);
        let pause = Some(self.pause).filter(|_| !upgraded);
        let body = Incoming::new(body, MessageKind::Reply, &head.headers, bare, self.limits, pause);
        if let Some(error) = body.contradiction() {
            return Err(fastrpc::Error::refused_reply(error).into());
        }
        Ok(Response::from_parts(head, body))
    }
}

/// What was to be sent first.
fn held(whole: Option<Bytes>, first: Next) -> Next {
    whole.map_or(first, Next::Whole)
}

/// Runs `pump` in a task, for what it gives.
fn sent_apart<T: Send + 'static>(pump: impl Future<Output = T> + Send + 'static) -> oneshot::Receiver<T> {
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let _ = tell.send(pump.await); // Nobody may wait for it.
    });
    told
}
