//! Requests on connections of HTTP/2, many at a time.

use std::error::Error as _;
use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::HOST;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, timeout_at};

use super::http::copy;
use super::multiplexed::{Lent, Multiplexed};
use super::stream::Stream;
use super::undialled::Undialled;
use super::{Failure, FailureKind, one_line};
use crate::balance::Load;
use crate::request::{Outgoing, RequestBody};
use crate::retry::is_idempotent;

/// What an upstream may send ahead of what is read of one reply, and of all of a connection: so many more, that replies whose
/// clients do not read leave room for others. There are no pings: servers of gRPC take them for an attack, and limits of time
/// find a peer that is gone.
const WINDOWS: (u32, u32) = (512 * 1024, 64 * 1024 * 1024);
/// What is written ahead of what an upstream reads, for each request.
const SEND_BUFFER: usize = 64 * 1024;

/// Sends requests on one connection.
pub(super) type Sender = SendRequest<RequestBody>;

/// A new connection.
#[derive(Clone)]
pub(super) struct Two {
    pub(super) sender: Sender,
    /// How many requests at a time the upstream takes on it, as far as it has said so.
    pub(super) room: Arc<AtomicUsize>,
}

/// Opens HTTP/2 on a stream. The connection has a task of its own, which ends when nobody can send on it and all is done.
pub(super) async fn handshake(stream: Stream, max_head: usize, open: Load) -> Result<Two, Undialled> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.max_header_list_size(u32::try_from(max_head).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1);
    let opened = http.handshake(stream).await;
    let (sender, mut connection) = opened.map_err(|error| Undialled::new("no HTTP/2", one_line(&error)))?;
    let room = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
    let noted = Arc::clone(&room);
    tokio::spawn(async move {
        let ended = poll_fn(|cx| {
            let ended = Pin::new(&mut connection).poll(cx);
            noted.store(connection.current_max_send_streams(), Ordering::Relaxed);
            ended
        });
        if let Err(error) = ended.await {
            tracing::debug!("HTTP/2 connection to an upstream ended: {}", one_line(&error));
        }
        drop(open);
    });
    Ok(Two { sender, room })
}

impl Multiplexed {
    /// Sends a request and waits for the head of its reply; see [`Upstream::call`](super::Upstream::call).
    ///
    /// What never reached the upstream comes back in the failure: the connection had ended, or the upstream has said so (`GOAWAY` that
    /// leaves it out, `REFUSED_STREAM`).
    pub(super) async fn exchange(
        &self,
        lent: Lent,
        request: Outgoing,
        mut deadline: Instant,
        patience: Duration,
    ) -> Result<(Response<Incoming>, Load), Failure> {
        let Lent { mut sender, running, lease } = lent;
        let (spare, progress) = (copy(&request), request.body().progress());
        let mut reply = pin!(sender.try_send_request(self.framed(*request)?));
        loop {
            match timeout_at(deadline, reply.as_mut()).await {
                Ok(Ok(reply)) => return Ok((reply, running)),
                Ok(Err(error)) => {
                    if let Some(fault) = progress.and_then(|progress| progress.fault()) {
                        return Err(Failure::of_request(fault));
                    }
                    // What befell one stream says nothing of the others.
                    if !cause(error.error()).is_some_and(h2::Error::is_reset) {
                        self.forget(&lease);
                    }
                    return Err(failed(error, spare));
                }
                Err(_) if progress.as_ref().is_some_and(|progress| progress.goes_on()) => {
                    deadline = Instant::now() + patience;
                }
                Err(_) => return Err(Failure::new(FailureKind::Timeout, "no reply in time")),
            }
        }
    }

    /// The request as it is in HTTP/2: with its scheme and host in the target.
    fn framed(&self, mut request: Request<RequestBody>) -> Result<Request<RequestBody>, Failure> {
        let wrong = || {
            let status = StatusCode::BAD_REQUEST;
            Failure::new(FailureKind::Request(status), "the request's host or target cannot be said in HTTP/2")
        };
        let host = request.headers_mut().remove(HOST).ok_or_else(wrong)?;
        let mut parts = Parts::default();
        parts.scheme = Some(if self.is_tls() { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_| wrong())?);
        parts.path_and_query = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| wrong())?;
        *request.version_mut() = Version::HTTP_2;
        Ok(request)
    }
}

fn failed(mut error: TrySendError<Request<RequestBody>>, spare: Option<Outgoing>) -> Failure {
    let failure = Failure::new(FailureKind::Broken, one_line(error.error()));
    match error.take_message() {
        Some(request) => failure.unsent(Box::new(unframed(request))),
        None => match spare {
            Some(spare) if never_processed(error.error()) => failure.unsent(spare),
            spare => failure.harmless(spare.filter(|spare| is_idempotent(spare.method()))),
        },
    }
}

/// The request as it was before it was made one of HTTP/2.
fn unframed(mut request: Request<RequestBody>) -> Request<RequestBody> {
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    let mut parts = Parts::default();
    parts.path_and_query = Some(request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_else(|_| Uri::from_static("/"));
    *request.version_mut() = Version::HTTP_11;
    request
}

/// Whether the upstream has said that it did nothing with the request (RFC 9113, sections 6.8 and 8.7).
fn never_processed(error: &hyper::Error) -> bool {
    let Some(cause) = cause(error).filter(|cause| cause.is_remote()) else { return false };
    cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM)
}

fn cause(error: &hyper::Error) -> Option<&h2::Error> {
    error.source().and_then(|cause| cause.downcast_ref())
}
