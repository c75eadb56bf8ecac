//! Requests for another protocol, as HTTP/2 has them: each is a stream (RFC 8441).

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_KEY, TE};
use http::{Method, Request, Response, StatusCode};
use httpteleport::codec::framed::Protocol;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::again::Again;
use super::http::HttpUpstream;
use super::multiplexed::{Got, Lent};
use super::upgrade::is_websocket;
use super::{Failure, FailureKind};
use crate::balance::Load;
use crate::body::Body;
use crate::request::{Outgoing, RequestBody};
use crate::websocket;

impl HttpUpstream {
    /// See [`HttpUpstream::upgrade`].
    pub(super) async fn upgrade_multiplexed(
        &self,
        request: Outgoing,
        protocol: &Protocol,
        deadline: Instant,
        permit: OwnedSemaphorePermit,
    ) -> Result<Response<Body>, Failure> {
        let (mut head, said) = request.into_parts();
        let key = head.headers.remove(SEC_WEBSOCKET_KEY);
        head.headers.remove(CONTENT_LENGTH);
        head.headers.remove(TE);
        head.method = Method::CONNECT;
        head.extensions.clear();
        head.extensions.insert(hyper::ext::Protocol::from(protocol.as_str()));
        let asked = Box::new(Request::from_parts(head, RequestBody::default()));
        let (mut reply, running) = self.extended_connect(asked, deadline).await?;
        self.prepare_multiplexed(&mut reply)?;
        if !reply.status().is_success() {
            let held = (permit, running);
            return Ok(reply.map(|incoming| Body::multiplexed(incoming, held, self.held_to())));
        }
        // It says nothing of a stream (RFC 9110, 8.6).
        reply.headers_mut().remove(CONTENT_LENGTH);
        if let Some(key) = key.filter(|_| is_websocket(protocol)) {
            websocket::answer(reply.headers_mut(), key.as_bytes());
        }
        let lost = || Failure::new(FailureKind::Broken, "it ended the stream when it had switched protocols");
        let stream = timeout_at(deadline, hyper::upgrade::on(&mut reply)).await;
        let stream = stream.ok().and_then(Result::ok).ok_or_else(lost)?;
        Ok(self.switched(reply.into_parts().0, protocol, said, (TokioIo::new(stream), Bytes::new()), (permit, running)))
    }

    /// Sends the request for another protocol, which is nothing but a head, until the upstream takes it.
    async fn extended_connect(
        &self,
        mut asked: Outgoing,
        deadline: Instant,
    ) -> Result<(Response<Incoming>, Load), Failure> {
        let mut again = Again::only_here(deadline);
        loop {
            let (lent, sendable) = self.lent(asked, deadline, again.spreads()).await?;
            let exchanged = self.multiplexed.exchange(lent, sendable, deadline, self.patience).await;
            let failure = match exchanged {
                // It has not said that it can do this, so nothing was sent.
                Err(failure) if failure.unsent.is_none() && failure.kind == FailureKind::Broken => {
                    return Err(refused(&failure.reason));
                }
                Err(failure) => failure,
                reply => return reply,
            };
            let sent = again.after(failure).await;
            asked = sent.map_err(|failure| Failure { unsent: None, harmless: None, untaken: None, ..failure })?;
        }
    }

    /// A connection of HTTP/2 for a request.
    async fn lent(&self, asked: Outgoing, deadline: Instant, spread: bool) -> Result<(Lent, Outgoing), Failure> {
        let dial = self.multiplexed.get(&self.dialer, spread);
        match self.connect(asked, deadline, dial).await? {
            (Got::Two(lent), asked) => Ok((lent, asked)),
            (Got::One(_), _) => Err(refused("it does not speak HTTP/2")),
        }
    }
}

fn refused(why: &str) -> Failure {
    let told = "no other protocol over HTTP/2";
    Failure::logged(FailureKind::Refused(StatusCode::NOT_IMPLEMENTED), told, format!("{told}: {why}"))
}
