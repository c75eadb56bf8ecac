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
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
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
use super::upload::Upload;
use crate::body::Body;
use crate::headers::{self, BadHead};
use crate::listen::{Accepted, Client};
use crate::outbound::one_line;
use crate::proxy::Proxy;
use crate::request::Outgoing;
use crate::shutdown::Shutdown;
use crate::timer::HeadTimer;

/// A client may take this long to send a head, or to begin its next request.
const LONGEST_HEAD: Duration = Duration::from_secs(120);
/// A TLS handshake may take this long.
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(10);
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
        let service = service_fn(|request| Box::pin(Arc::clone(self).answer(request, ends, activity)));
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

    /// The reply, and the body as long as it comes, keep the connection busy.
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        ends: Ends,
        activity: &Activity,
    ) -> Result<Response<Body>, Infallible> {
        let running = activity.begin();
        let reply = match self.read(request, ends, activity).await {
            Ok(request) => self.proxy.forward(request, ends.client).await,
            Err(BadHead(status, why)) => {
                let mut reply = self.proxy.refuse(status, why);
                reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                reply
            }
        };
        Ok(reply.map(|body| body.of_caller(running)))
    }

    /// Makes the request one for an upstream. Small bodies are read whole first.
    async fn read(&self, request: Request<Incoming>, ends: Ends, activity: &Activity) -> Result<Outgoing, BadHead> {
        let (parts, body) = request.into_parts();
        let running = if body.is_end_stream() { None } else { activity.hold() };
        let mut upload = Upload::new(body, &parts, self.max_body, running);
        upload.read_ahead().await.map_err(|fault| BadHead(fault.status(), fault.why()))?;
        let (body, length) = upload.into_body();
        let mut request = Request::from_parts(parts, body);
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
