//! HTTP calls on one framed connection.

use std::time::Duration;

use fastrpc::BoxError;
use fastrpc::internals::session::Caller;
use fastrpc::wire::framed::frame::ResetCode;
use http::{Request, Response};
use http_body::Body;

use super::incoming::{Incoming, is_bare};
use super::outgoing::{Sender, Start, pump};
use crate::codec::error::MessageKind;
use crate::codec::framed;
use crate::{Error, Limits};

/// Makes HTTP calls whose bodies stream.
#[derive(Clone)]
pub struct StreamClient {
    caller: Caller,
    limits: Limits,
}

impl StreamClient {
    /// A client on an open connection.
    #[must_use]
    pub fn new(caller: Caller, limits: Limits) -> Self {
        Self { caller, limits }
    }

    /// Calls the server. The response is there when its head is; its body comes piece by piece. The request's body is sent
    /// meanwhile, by a task of its own unless it is short and there. `timeout` holds until the head of the response.
    ///
    /// # Errors
    ///
    /// The request cannot be sent, the connection or the stream broke, the time is over, or the response is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call, at the server too.
    pub async fn call<B>(&self, request: Request<B>, timeout: Option<Duration>) -> Result<Response<Incoming>, Error>
    where
        B: Body<Data: Send> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let mut body = Box::pin(body);
        let (send, first) = Start::of(body.as_mut()).split();
        let encode = |out: &mut Vec<u8>| framed::encode_request(&parts, &self.limits, out).map_err(BoxError::from);
        let (reply, writer) = self.caller.call(encode, send, timeout)?;
        if let Some(writer) = writer {
            let sender = Sender::of(MessageKind::Request, &parts.headers, self.limits);
            tokio::spawn(pump(body, first, writer, sender));
        }
        let mut reply = reply.await?;
        let head = framed::decode_reply(&reply.head, &self.limits).map_err(|error| {
            reply.body.refuse(ResetCode::Malformed, error.to_string());
            fastrpc::Error::refused_reply(error)
        })?;
        let bare = is_bare(&parts.method, head.status);
        let body = Incoming::new(reply.body, MessageKind::Reply, &head.headers, bare, self.limits);
        Ok(Response::from_parts(head, body))
    }

    /// Opens no more calls; the connection ends when those that are open have.
    pub fn drain(&self) {
        self.caller.drain();
    }
}
