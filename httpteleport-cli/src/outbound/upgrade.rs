//! Requests for another protocol, as HTTP/1.1 has them, each on a connection of its own. Upstreams of HTTP/2 over TLS get them so as
//! well; those without TLS as HTTP/2 has them (`upgrade_http2.rs`).

use std::io::Cursor;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, SEC_WEBSOCKET_KEY, TE, UPGRADE};
use http::{Method, Request, Response, StatusCode, request, response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use httpteleport::codec::framed::Protocol;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Chain, ReadHalf, split};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::again;
use super::http::{HttpUpstream, whose};
use super::{Failure, FailureKind, one_line};
use crate::balance::Load;
use crate::body::{Body, BoxError};
use crate::headers;
use crate::io::Pieces;
use crate::request::{Outgoing, RequestBody};
use crate::retry::is_idempotent;
use crate::websocket;

/// What the other protocol occupies: one of the upstream's connections, which counts as open, or of the requests on one.
type Held = (OwnedSemaphorePermit, Load);

impl HttpUpstream {
    /// A call whose request asks for another protocol. The reply to it has the [`Protocol`] as well if the upstream agrees;
    /// then its body is what the upstream says in that protocol, and the request's body is what it hears.
    pub(super) async fn upgrade(
        &self,
        request: Outgoing,
        protocol: &Protocol,
        deadline: Instant,
    ) -> Result<Response<Body>, Failure> {
        let permit = self.permit(deadline).await?;
        if self.multiplexed.is_certain() {
            return self.upgrade_multiplexed(request, protocol, deadline, permit).await;
        }
        let dial = self.dialer.dial_one(whose(&request));
        let (connection, request) = self.connect(request, deadline, dial).await?;
        let (head, said) = request.into_parts();
        let mut asked = head.clone();
        let key = ask(&mut asked, protocol);
        let asked = Box::new(Request::from_parts(asked, RequestBody::default()));
        let (mut reply, connection) = match self.exchange(connection, asked, deadline).await {
            Ok(replied) => replied,
            Err((failure, lost)) => return Err(with_whole(failure, Request::from_parts(head, said), lost)),
        };
        if reply.status() != StatusCode::SWITCHING_PROTOCOLS {
            return self.finish(reply, connection, permit, None);
        }
        check(reply.headers_mut(), protocol, key.as_deref())
            .map_err(|reason| Failure::new(FailureKind::Broken, reason))?;
        let lost = || Failure::new(FailureKind::Broken, "it closed the connection when it had switched protocols");
        let stream = timeout_at(deadline, connection.into_stream()).await;
        let (stream, unread, open) = stream.ok().flatten().ok_or_else(lost)?;
        headers::prepare_reply(&mut reply).map_err(Failure::broken)?;
        Ok(self.switched(reply.into_parts().0, protocol, said, (TokioIo::new(stream), unread), (permit, open)))
    }

    /// The reply of an upstream that speaks the other protocol from now on, on a stream of which this was read already.
    pub(super) fn switched(
        &self,
        mut head: response::Parts,
        protocol: &Protocol,
        said: RequestBody,
        (stream, unread): (impl AsyncRead + AsyncWrite + Send + 'static, Bytes),
        held: Held,
    ) -> Response<Body> {
        let held = Arc::new(held);
        let (reader, writer) = split(stream);
        self.shutdown.spawn(hear(said, writer, Arc::clone(&held)));
        head.status = StatusCode::OK;
        head.extensions.insert(protocol.clone());
        let says = Says { pieces: Pieces::new(Cursor::new(unread).chain(reader)), _held: held };
        Response::from_parts(head, Body::boxed(says.boxed_unsync()))
    }
}

/// The failure with the request that can go elsewhere: what its client sent, of which nothing but the head has been said. Where it may have
/// left that needs a connection that was `lost`, and a method that may be repeated.
pub(super) fn with_whole(mut failure: Failure, mut request: Request<RequestBody>, lost: bool) -> Failure {
    if let Some(asked) = &failure.unsent {
        again::pass_on(asked.extensions(), request.extensions_mut());
        failure.unsent(Box::new(request))
    } else {
        failure.harmless = (lost && is_idempotent(request.method())).then(|| Box::new(request));
        failure
    }
}

/// Makes the request one of HTTP/1.1. The key that it had to be given, because its client came another way, is returned.
fn ask(head: &mut request::Parts, protocol: &Protocol) -> Option<String> {
    head.extensions.clear();
    head.headers.remove(CONTENT_LENGTH);
    head.headers.remove(TE);
    head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Ok(name) = HeaderValue::from_str(protocol.as_str()) {
        head.headers.insert(UPGRADE, name);
    }
    if head.method != Method::CONNECT {
        return None;
    }
    head.method = Method::GET;
    let key = is_websocket(protocol).then(websocket::key)?;
    websocket::ask(&mut head.headers, &key);
    Some(key)
}

/// Whether a reply of 101 is to this request. Fields that only HTTP/1.1 has go.
fn check(headers: &mut HeaderMap, protocol: &Protocol, key: Option<&str>) -> Result<(), &'static str> {
    let wanted = protocol.as_str();
    let switched = headers.get(UPGRADE).is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(wanted.as_bytes()));
    if !switched {
        return Err("it switched to another protocol than it was asked for");
    }
    headers.remove(SEC_WEBSOCKET_KEY);
    match key {
        Some(key) if !websocket::take_answer(headers, key) => Err("its answer to the key of the WebSocket is wrong"),
        _ => Ok(()),
    }
}

pub(super) fn is_websocket(protocol: &Protocol) -> bool {
    protocol.as_str().eq_ignore_ascii_case("websocket")
}

/// Writes to the upstream what the client says, to its end.
async fn hear(mut said: RequestBody, mut writer: impl AsyncWrite + Unpin, held: Arc<Held>) {
    let result: Result<(), BoxError> = async {
        while let Some(frame) = said.frame().await.transpose()? {
            if let Ok(data) = frame.into_data() {
                writer.write_all(&data).await?;
                writer.flush().await?;
            }
        }
        Ok(())
    }
    .await;
    if let Err(error) = result {
        tracing::debug!("in another protocol: {}", one_line(&*error));
    }
    let _ = writer.shutdown().await;
    drop(held);
}

/// What the upstream says in the other protocol, as the body of its reply.
struct Says<S> {
    pieces: Pieces<Chain<Cursor<Bytes>, ReadHalf<S>>>,
    _held: Arc<Held>,
}

impl<S: AsyncRead> http_body::Body for Says<S> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let piece = ready!(self.pieces.poll_next(cx));
        Poll::Ready(piece.map_err(Into::into).transpose().map(|piece| piece.map(Frame::data)))
    }
}
