//! Requests for another protocol, as HTTP/2 has them: each is a stream (RFC 8441).

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_KEY, TE};
use http::{Method, Request, Response, StatusCode};
use httpteleport::codec::framed::Protocol;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::again::{self, Again};
use super::http::HttpUpstream;
use super::multiplexed::{Got, Lent};
use super::upgrade::{is_websocket, with_whole};
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
        let (head, said) = request.into_parts();
        let mut asked = head.clone();
        let key = asked.headers.remove(SEC_WEBSOCKET_KEY);
        asked.headers.remove(CONTENT_LENGTH);
        asked.headers.remove(TE);
        asked.method = Method::CONNECT;
        asked.extensions.clear();
        asked.extensions.insert(hyper::ext::Protocol::from(protocol.as_str()));
        again::pass_on(&head.extensions, &mut asked.extensions);
        let asked = Box::new(Request::from_parts(asked, RequestBody::default()));
        let (mut reply, running) = match self.extended_connect(asked, deadline).await {
            Ok(replied) => replied,
            Err(failure) => {
                let lost = failure.kind == FailureKind::Broken;
                return Err(with_whole(failure, Request::from_parts(head, said), lost));
            }
        };
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

    /// Sends the request for another protocol, which is nothing but a head, to an upstream that has said that it takes such, as long as it
    /// has not taken it and may have it again.
    async fn extended_connect(
        &self,
        mut asked: Outgoing,
        deadline: Instant,
    ) -> Result<(Response<Incoming>, Load), Failure> {
        let mut again = Again::new(deadline);
        loop {
            let (lent, sendable) = self.lent(asked, deadline, again.spreads()).await?;
            if !lent.given.may_be_for_another_protocol(deadline).await {
                lent.given.untaken(false);
                return Err(refused("it has not said that it can (SETTINGS_ENABLE_CONNECT_PROTOCOL)"));
            }
            match self.multiplexed.exchange(lent, sendable, deadline, self.patience).await {
                Err(failure) => {
                    self.multiplexed.note(&failure);
                    asked = again.after(failure).await?;
                }
                reply => return reply,
            }
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
