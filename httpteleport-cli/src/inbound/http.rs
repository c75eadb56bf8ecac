//! An input that speaks HTTP/1.1: over TCP, TLS or a unix socket.

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::mem;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::Inputs;
use super::rest::{self, Activity, ClientIo, Watch};
use crate::balance::Load;
use crate::body::Body;
use crate::headers::{self, BadHead};
use crate::listen::{Accepted, Client};
use crate::outbound::{Buffered, one_line};
use crate::proxy::Proxy;
use crate::shutdown::Shutdown;
use crate::timer::HeadTimer;

/// A client may take this long to send a head, or to begin its next request.
const LONGEST_HEAD: Duration = Duration::from_secs(120);
/// A client may pause this long inside a body.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// A TLS handshake may take this long.
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(10);
/// What a client still sends of a body that was refused is read this long, and this far, so that it sees the reply
/// instead of a reset connection.
const REFUSED_TAIL: (Duration, usize) = (Duration::from_secs(1), 16 * 1024 * 1024);
/// hyper's read buffer; heads have a limit of their own.
const READ_BUFFER: usize = 64 * 1024;

/// What every connection of the input shares.
struct Shared {
    http: http1::Builder,
    tls: Option<TlsAcceptor>,
    proxy: Arc<Proxy>,
    max_body: usize,
    shutdown: Shutdown,
}

/// Where a connection comes from and went to.
#[derive(Clone, Copy)]
struct Ends {
    client: Client,
    /// None for a unix socket.
    local: Option<SocketAddr>,
}

/// See [`serve`](super::serve).
pub(super) async fn serve(inputs: Inputs<'_>) {
    let Inputs { listener, tls, settings, proxy, shutdown } = inputs;
    let connections = Arc::new(Semaphore::new(settings.concurrency));
    let settings = &settings.input;
    let mut http = http1::Builder::new();
    http.header_read_timeout(LONGEST_HEAD)
        .max_header_size(settings.max_header_size)
        .max_buf_size(READ_BUFFER.max(settings.max_header_size))
        .title_case_headers(true);
    let tls = tls.map(TlsAcceptor::from);
    let shared = Arc::new(Shared { http, tls, proxy, max_body: settings.max_body_size, shutdown });
    let accept = async {
        loop {
            // The system queues what comes beyond the limit.
            let permit = Arc::clone(&connections).acquire_owned().await;
            let accepted = listener.accept().await;
            let connection = Arc::clone(&shared);
            shared.shutdown.spawn(async move {
                connection.accepted(accepted).await;
                drop(permit);
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = shared.shutdown.begun() => {}
    }
}

impl Shared {
    async fn accepted(self: Arc<Self>, accepted: Accepted) {
        match accepted {
            Accepted::Unix(stream) => self.connection(stream, Ends { client: Client::Unix, local: None }).await,
            Accepted::Tcp(stream, peer) => {
                let ends = Ends { client: Client::Tcp(peer.remote), local: Some(peer.local) };
                match &self.tls {
                    None => Arc::clone(&self).connection(stream, ends).await,
                    // Larger, and not a part of every connection.
                    Some(acceptor) => Box::pin(Arc::clone(&self).tls_connection(acceptor, stream, ends)).await,
                }
            }
        }
    }

    async fn tls_connection(self: Arc<Self>, acceptor: &TlsAcceptor, stream: TcpStream, ends: Ends) {
        let handshake = timeout(LONGEST_HANDSHAKE, acceptor.accept(stream));
        let result = tokio::select! {
            result = handshake => result,
            () = self.shutdown.begun() => return,
        };
        match result {
            Ok(Ok(stream)) => self.connection(stream, ends).await,
            Ok(Err(error)) => tracing::debug!("TLS handshake with {}: {}", ends.client, one_line(&error)),
            Err(_) => tracing::debug!("TLS handshake with {}: timed out", ends.client),
        }
    }

    /// Serves one connection to its end; once draining has begun, to the end of the request that runs.
    async fn connection<S>(self: Arc<Self>, mut stream: S, ends: Ends)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::<Activity>::default();
        let heads = HeadTimer::default();
        let mut first = Bytes::new();
        loop {
            let (left, unread) = match self.awake(stream, first, &activity, &heads, ends).await {
                Ok(Some(resting)) => resting,
                Ok(None) => return,
                Err(error) => return tracing::debug!("connection of {}: {}", ends.client, one_line(&error)),
            };
            (stream, first) = (left, unread);
            if first.is_empty() {
                let next = tokio::select! {
                    next = rest::next_byte(&mut stream, heads.deadline()) => next,
                    () = self.shutdown.begun() => None,
                };
                let Some(byte) = next else { return };
                first = byte;
            }
            heads.go_on();
        }
    }

    /// Serves one connection to its end, or until it has nothing to do: then the stream comes back, and what was read of
    /// a head that is not complete.
    async fn awake<S>(
        self: &Arc<Self>,
        stream: S,
        first: Bytes,
        activity: &Arc<Activity>,
        heads: &HeadTimer,
        ends: Ends,
    ) -> hyper::Result<Option<(S, Bytes)>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // hyper keeps room for this future as long as the connection lives; boxed, it is a pointer's.
        let service = service_fn(|request| Box::pin(Arc::clone(self).answer(request, ends, activity.begin())));
        let mut http = self.http.clone();
        http.timer(heads.clone());
        let io = ClientIo::new(stream, first, Arc::clone(activity));
        let mut connection = Box::new(http.serve_connection(io, service));
        let mut watch = Watch::new(Arc::clone(activity));
        let mut begun = pin!(self.shutdown.begun());
        // Once polled it wakes this task when draining begins; to poll it each time would take a lock each time.
        let mut listening = false;
        let mut draining = false;
        let resting = poll_fn(|cx| {
            if !mem::replace(&mut listening, true) {
                let _ = begun.as_mut().poll(cx);
            }
            if !draining && self.shutdown.has_begun() {
                draining = true;
                Pin::new(&mut *connection).graceful_shutdown();
            }
            if let Poll::Ready(result) = Pin::new(&mut *connection).poll(cx) {
                return Poll::Ready(result.map(|()| false));
            }
            if draining { Poll::Pending } else { watch.poll_tired(cx).map(|()| Ok(true)) }
        })
        .await?;
        if !resting {
            return Ok(None);
        }
        let parts = connection.into_parts();
        Ok(Some((parts.io.into_inner(), parts.read_buf)))
    }

    /// The reply holds on to `running`.
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        ends: Ends,
        running: Option<Load>,
    ) -> Result<Response<Body>, Infallible> {
        let reply = match self.read(request, ends).await {
            Ok(request) => self.proxy.forward(request, ends.client).await,
            Err(BadHead(status, why)) => {
                let mut reply = self.proxy.refuse(status, why);
                reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                reply
            }
        };
        Ok(reply.map(|body| body.of_caller(running)))
    }

    /// Reads the body and makes the request one for an upstream.
    async fn read(&self, request: Request<Incoming>, ends: Ends) -> Result<Buffered, BadHead> {
        let too_large = BadHead(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too large");
        let (parts, mut body) = request.into_parts();
        // hyper makes the bytes after a CONNECT head part of its body: there is nothing to wait for.
        let announced = if parts.method == Method::CONNECT { 0 } else { body.size_hint().lower() };
        let bytes = if parts.method == Method::CONNECT {
            Bytes::new()
        } else if announced > self.max_body as u64 {
            if !parts.headers.contains_key(EXPECT) {
                swallow(&mut body).await;
            }
            return Err(too_large);
        } else {
            match read_body(&mut body, self.max_body).await {
                Ok(bytes) => bytes,
                Err(BodyError::TooLarge) => {
                    swallow(&mut body).await;
                    return Err(too_large);
                }
                Err(BodyError::Slow) => return Err(BadHead(StatusCode::REQUEST_TIMEOUT, "the request's body stopped")),
                Err(BodyError::Broken) => return Err(BadHead(StatusCode::BAD_REQUEST, "the request's body is broken")),
            }
        };
        let length = bytes.len();
        let mut request = Request::from_parts(parts, bytes);
        headers::prepare_request(&mut request, || ends.own_address(), length)?;
        // What hyper noted about this connection is of no use on the next one.
        request.extensions_mut().clear();
        Ok(Box::new(request))
    }
}

impl Ends {
    fn own_address(self) -> HeaderValue {
        let text = self.local.map_or_else(|| "localhost".to_owned(), |address| address.to_string());
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("localhost"))
    }
}

enum BodyError {
    TooLarge,
    Slow,
    Broken,
}

/// Reads a body of at most `limit` bytes.
async fn read_body(body: &mut Incoming, limit: usize) -> Result<Bytes, BodyError> {
    let mut first: Option<Bytes> = None;
    let mut rest = Vec::new();
    loop {
        if body.is_end_stream() {
            break;
        }
        let frame = match timeout(LONGEST_PAUSE, body.frame()).await {
            Err(_) => return Err(BodyError::Slow),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers end here: the next hop gets a body with a length.
        let Ok(data) = frame.into_data() else { continue };
        let so_far = first.as_ref().map_or(0, Bytes::len) + rest.len();
        if so_far + data.len() > limit {
            return Err(BodyError::TooLarge);
        }
        match &first {
            // Most bodies come in one piece, which is kept as it is.
            None => first = Some(data),
            Some(_) => rest.extend_from_slice(&data),
        }
    }
    let first = first.unwrap_or_default();
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = Vec::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.into())
}

/// Reads what the client still sends of a body that is refused.
async fn swallow(body: &mut Incoming) {
    let (time, bytes) = REFUSED_TAIL;
    let mut rest = Limited::new(body, bytes);
    let _ = timeout(time, async { while let Some(Ok(_)) = rest.frame().await {} }).await;
}
