//! Clients that ask for another protocol on their connection, such as WebSocket: by the `Upgrade` of HTTP/1.1, or the
//! extended CONNECT of HTTP/2 (RFC 8441).
//!
//! To an upstream that is a request with a [`Protocol`] whose body is what the client says in that protocol. A reply that
//! agrees has the `Protocol` as well, and its body is what the client hears.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode, Version, request};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use httpteleport::codec::framed::Protocol;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use crate::body::{Body, BoxError};
use crate::headers::carries_requests;
use crate::io::Pieces;
use crate::outbound::one_line;
use crate::refusal::{Reason, Refusal};
use crate::request::{BodyFault, RequestBody};
use crate::timer::poll_late;

/// When one side has ended, the other may be silent for this long.
const LONGEST_SILENCE: Duration = Duration::from_secs(120);

type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// A request for another protocol that has no reply yet.
pub(super) struct Asked {
    extended: bool,
    reader: oneshot::Sender<Reader>,
    client_over: CancellationToken,
    upstream_over: CancellationToken,
}

/// What goes on on the connection when the reply that agrees is sent.
pub(super) struct Agreed {
    /// What the client hears.
    body: Body,
    /// Takes to the request's body what the client says.
    reader: oneshot::Sender<Reader>,
    client_over: CancellationToken,
    upstream_over: DropGuard,
}

/// Where an agreement waits for its connection or stream to be free of HTTP.
#[derive(Default)]
pub(super) struct Next(Mutex<Option<Box<Agreed>>>);

impl Next {
    pub(super) fn set(&self, agreed: Box<Agreed>) {
        *self.lock() = Some(agreed);
    }

    pub(super) fn take(&self) -> Option<Box<Agreed>> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Agreed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    /// The protocol that a request asks for, if it does so in a way that is passed on.
    pub(super) fn protocol(request: &Request<Incoming>) -> Option<Protocol> {
        if request.version() == Version::HTTP_2 {
            let protocol = request.extensions().get::<hyper::ext::Protocol>()?;
            return Protocol::new(protocol.as_str()).ok();
        }
        let headers = request.headers();
        if !headers.contains_key(UPGRADE) || request.version() != Version::HTTP_11 {
            return None;
        }
        // The body would come before the protocol: asking for both is legal, and so is not to agree.
        let plain = request.method() != Method::CONNECT && request.body().is_end_stream();
        let wanted = headers.get(UPGRADE)?.to_str().ok()?.split(',').next()?.trim();
        let passed = plain && connection_upgrades(headers) && !carries_requests(wanted);
        passed.then(|| Protocol::new(wanted).ok()).flatten()
    }

    /// The request's body, and what remains to be done.
    pub(super) fn new(head: &request::Parts) -> (RequestBody, Asked) {
        let (sender, reader) = oneshot::channel();
        let (client_over, upstream_over) = (CancellationToken::new(), CancellationToken::new());
        let said = Said {
            source: Source::Awaited(reader),
            upstream_over: Box::pin(upstream_over.clone().cancelled_owned()),
            silence: None,
            _over: client_over.clone().drop_guard(),
        };
        let extended = head.method == Method::CONNECT;
        (RequestBody::stream(said), Asked { extended, reader: sender, client_over, upstream_over })
    }

    /// The reply for the client, and what has to follow it.
    pub(super) fn answered(
        self,
        mut reply: Response<Body>,
        refuse: impl FnOnce(&Refusal) -> Response<Body>,
    ) -> (Response<Body>, Option<Box<Agreed>>) {
        let Some(protocol) = reply.extensions_mut().remove::<Protocol>() else {
            // To HTTP/2 any success agrees.
            let lost = self.extended && reply.status().is_success();
            let refusal =
                Refusal::new(Reason::Unsupported, "the upstream has not agreed to the protocol that is asked for");
            return (if lost { refuse(&refusal) } else { reply }, None);
        };
        let headers = reply.headers_mut();
        headers.remove(CONTENT_LENGTH);
        if self.extended {
            *reply.status_mut() = StatusCode::OK;
        } else {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            if let Ok(name) = HeaderValue::from_str(protocol.as_str()) {
                headers.insert(UPGRADE, name);
            }
            *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        let (parts, mut body) = reply.into_parts();
        body.breaks_at_once();
        let (reader, client_over) = (self.reader, self.client_over);
        let agreed = Agreed { body, reader, client_over, upstream_over: self.upstream_over.drop_guard() };
        (Response::from_parts(parts, Body::from(Bytes::new())), Some(Box::new(agreed)))
    }
}

fn connection_upgrades(headers: &HeaderMap) -> bool {
    let words = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    words.map(<[u8]>::trim_ascii).any(|word| word.eq_ignore_ascii_case(b"upgrade"))
}

impl Agreed {
    /// What the client hears.
    pub(super) fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Carries bytes both ways once hyper has let go of the connection or stream.
    pub(super) async fn carry_when(self: Box<Self>, switched: OnUpgrade) {
        match switched.await {
            Ok(stream) => self.carry(TokioIo::new(stream), Bytes::new()).await,
            Err(error) => tracing::debug!("a client that asked for another protocol: {}", one_line(&error)),
        }
    }

    /// Carries bytes both ways, of which `unread` come first from the client, until both have ended.
    pub(super) async fn carry<S>(self: Box<Self>, stream: S, unread: Bytes)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Agreed { mut body, reader, client_over, upstream_over } = *self;
        let (from_client, mut to_client) = split(stream);
        // Nobody takes it if the upstream is gone; what it said first is still of use.
        let _ = reader.send(Box::new(io::Cursor::new(unread).chain(from_client)));
        if let Err(error) = hear(&mut body, &mut to_client, &client_over).await {
            tracing::debug!("in another protocol: {}", one_line(&*error));
        }
        let _ = to_client.shutdown().await;
        drop(upstream_over);
        client_over.cancelled().await;
    }
}

/// Writes to the client what the upstream says, to its end.
async fn hear(
    body: &mut Body,
    to_client: &mut (impl AsyncWrite + Unpin),
    client_over: &CancellationToken,
) -> Result<(), BoxError> {
    loop {
        let silence = async {
            client_over.cancelled().await;
            sleep(LONGEST_SILENCE).await;
        };
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = silence => return Err("the upstream went on silently".into()),
        };
        let Some(frame) = frame.transpose()? else { return Ok(()) };
        if let Ok(data) = frame.into_data() {
            to_client.write_all(&data).await?;
            to_client.flush().await?;
        }
    }
}

/// What a client says in the other protocol, as the body of its request.
struct Said {
    source: Source,
    upstream_over: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Runs when the upstream has ended.
    silence: Option<Pin<Box<Sleep>>>,
    _over: DropGuard,
}

enum Source {
    /// The client still speaks HTTP.
    Awaited(oneshot::Receiver<Reader>),
    Read(Pieces<Reader>),
}

impl http_body::Body for Said {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Source::Awaited(reader) = &mut this.source {
            match ready!(Pin::new(reader).poll(cx)) {
                Ok(reader) => this.source = Source::Read(Pieces::new(reader)),
                Err(_) => return Poll::Ready(Some(Err(BodyFault::Gone.into()))),
            }
        }
        if let Source::Read(pieces) = &mut this.source
            && let Poll::Ready(piece) = pieces.poll_next(cx)
        {
            this.silence = None;
            return Poll::Ready(piece.map_err(Into::into).transpose().map(|piece| piece.map(Frame::data)));
        }
        if this.silence.is_none() {
            ready!(this.upstream_over.as_mut().poll(cx));
        }
        let silence = this.silence.get_or_insert_with(|| Box::pin(sleep(LONGEST_SILENCE)));
        ready!(poll_late(silence, cx));
        Poll::Ready(Some(Err(BodyFault::Slow.into())))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio::time::Instant;

    use super::*;

    /// A request, and its reply that agrees, whose body is this.
    fn agree(body: Body) -> (RequestBody, Box<Agreed>) {
        let (head, ()) = Request::get("/").body(()).expect("a request").into_parts();
        let protocol = Protocol::new("x").expect("a name");
        let (said, asked) = Asked::new(&head);
        let mut reply = Response::new(body);
        reply.extensions_mut().insert(protocol);
        let (reply, agreed) = asked.answered(reply, |_| unreachable!("it agrees"));
        assert_eq!(reply.status(), StatusCode::SWITCHING_PROTOCOLS);
        (said, agreed.expect("an agreement"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_be_silent_for_ever_but_not_when_its_upstream_has_ended() {
        let (mut said, agreed) = agree(Body::from(Bytes::new()));
        let (mut client, stream) = duplex(100);
        let carried = tokio::spawn(agreed.carry(stream, Bytes::from_static(b"first ")));
        let start = Instant::now();
        assert_eq!(said.frame().await.expect("a frame").expect("data").into_data().expect("data"), "first ");
        assert_eq!(client.read(&mut [0]).await.expect("readable"), 0, "the upstream's end arrives");
        client.write_all(b"then").await.expect("sent");
        assert_eq!(said.frame().await.expect("a frame").expect("data").into_data().expect("data"), "then");
        let error = said.frame().await.expect("a frame").expect_err("silence");
        assert_eq!((BodyFault::of(&*error), start.elapsed().as_secs()), (Some(BodyFault::Slow), 120));
        drop(said);
        carried.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_may_be_silent_for_ever_but_not_when_its_client_has_ended() {
        struct Silent;
        impl http_body::Body for Silent {
            type Data = Bytes;
            type Error = BoxError;
            fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
                Poll::Pending
            }
        }
        let (mut said, agreed) = agree(Body::boxed(Silent.boxed_unsync()));
        let (client, stream) = duplex(100);
        let mut carried = tokio::spawn(agreed.carry(stream, Bytes::new()));
        let quiet = tokio::time::timeout(Duration::from_secs(86_400), &mut carried).await;
        assert!(quiet.is_err(), "nobody has ended");
        let start = Instant::now();
        drop(client);
        assert!(said.frame().await.is_none());
        drop(said);
        carried.await.expect("no panic");
        assert_eq!(start.elapsed().as_secs(), 120);
    }

    #[tokio::test]
    async fn a_request_whose_client_never_switches_is_broken_off() {
        let (mut said, agreed) = agree(Body::from(Bytes::new()));
        drop(agreed);
        let error = said.frame().await.expect("a frame").expect_err("no client");
        assert_eq!(BodyFault::of(&*error), Some(BodyFault::Gone));
    }
}
