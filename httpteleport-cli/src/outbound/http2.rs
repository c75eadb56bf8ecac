//! Requests on connections of HTTP/2, many at a time.

use std::error::Error as _;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::uri::{Authority, Parts, Scheme};
use http::{Request, Response, StatusCode, Uri, Version, request};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, timeout_at};

use super::http::told;
use super::multiplexed::{Lent, Multiplexed};
use super::stream::{Heard, Stream};
use super::undialled::Undialled;
use super::untaken::{Given, Streams};
use super::{Failure, FailureKind, one_line};
use crate::balance::Load;
use crate::headers::BEYOND;
use crate::request::{Held, Outgoing, RequestBody};
use crate::retry::is_idempotent;

/// What an upstream may send ahead of what is read of one reply, and of all of a connection: so much more, that replies whose
/// clients do not read leave room for others. There are no pings: servers of gRPC take them for an attack, and limits of time
/// find a peer that is gone.
const WINDOWS: (u32, u32) = (512 * 1024, 1024 * 1024 * 1024);
/// Requests that one connection carries at most, whatever the upstream would take: if nobody reads their replies, these fill no more than their own
/// windows. Some of the connection's is left for what is under way of replies that were given up.
const MOST_RUNNING: usize = (WINDOWS.1 / WINDOWS.0) as usize - 48;
/// What is written ahead of what an upstream reads, for each request.
const SEND_BUFFER: usize = 64 * 1024;

/// Sends requests on one connection.
pub(super) type Sender = SendRequest<RequestBody>;

/// A new connection.
pub(super) struct Two {
    pub(super) sender: Sender,
    /// Has room for as many requests as the upstream has said that it takes, within limits.
    pub(super) streams: Arc<Streams>,
    pub(super) heard: Heard,
    /// Carries requests until nobody can send on it or the upstream takes no more; what runs then goes on.
    pub(super) driver: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Opens HTTP/2 on a stream. Nothing is sent there before its driver has a task.
pub(super) async fn handshake(stream: Stream, max_head: usize, open: Load) -> Result<Two, Undialled> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.max_header_list_size(u32::try_from(max_head).unwrap_or(u32::MAX).saturating_add(BEYOND))
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1);
    let (heard, takes_others) = (stream.heard(), stream.takes_others());
    let opened = http.handshake(stream).await;
    let (sender, mut connection) = opened.map_err(|error| Undialled::new("no HTTP/2", one_line(&error)))?;
    let streams = Streams::new(connection.current_max_send_streams().min(MOST_RUNNING), takes_others);
    let noted = Arc::clone(&streams);
    let driver = Box::pin(async move {
        let ended = poll_fn(|cx| {
            let ended = Pin::new(&mut connection).poll(cx);
            noted.set_room(connection.current_max_send_streams().min(MOST_RUNNING));
            ended
        });
        if let Err(error) = ended.await {
            tracing::debug!("HTTP/2 connection to an upstream ended: {}", one_line(&error));
        }
        drop(open);
    });
    Ok(Two { sender, streams, heard, driver })
}

impl Multiplexed {
    /// Sends a request and waits for the head of its reply; see [`Upstream::call`](super::Upstream::call).
    ///
    /// What the upstream has not taken comes back in the failure, if its body is whole or what was taken of it is kept: the connection
    /// took no more, or the upstream has said so (`GOAWAY` that leaves it out, `REFUSED_STREAM`).
    pub(super) async fn exchange(
        &self,
        lent: Lent,
        request: Outgoing,
        mut deadline: Instant,
        patience: Duration,
    ) -> Result<(Response<Incoming>, Load), Failure> {
        let Lent { mut sender, running, lease, heard, given } = lent;
        let progress = request.body().progress();
        let (request, spare) = Spare::of(*request);
        let mut reply = pin!(sender.try_send_request(self.framed(request)?));
        // A request that is sent while the connection ends comes back when nobody can send there any more.
        drop(sender);
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
                    return Err(failed(&error, spare, &heard, given));
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
            Failure::new(FailureKind::Refused(status), "the request's host or target cannot be said in HTTP/2")
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

/// A request, to send it again.
struct Spare {
    head: request::Parts,
    body: Held,
}

impl Spare {
    /// The request that is sent, and what is kept of it.
    fn of(request: Request<RequestBody>) -> (Request<RequestBody>, Spare) {
        let (head, body) = request.into_parts();
        let (body, held) = body.held();
        (Request::from_parts(head.clone(), body), Spare { head, body: held })
    }

    /// The request, if its body is whole or can begin again.
    fn take(self) -> Option<Outgoing> {
        let Spare { head, body } = self;
        body.take().map(|body| Box::new(Request::from_parts(head, body)))
    }
}

/// The failure of a request that `heard` may say more of: where a write fails h2 itself says nothing but that.
fn failed(error: &TrySendError<Request<RequestBody>>, spare: Spare, heard: &Heard, given: Given) -> Failure {
    let alert = heard.as_ref().and_then(|heard| heard.get());
    let failure =
        Failure::lost(words(error.error()), alert.map_or_else(|| one_line(error.error()), ToString::to_string));
    let harmless = spare.body.is_whole() && is_idempotent(&spare.head.method);
    // With its message comes what was never put on the connection.
    let left = error.message().is_none();
    let untaken = !left
        || never_processed(error.error())
        || (never_opened(error.error()) && (harmless || spare.body.has_not_begun()));
    match spare.take() {
        Some(request) if untaken => {
            failure.untaken(request, given.untaken(cause(error.error()).is_some_and(h2::Error::is_reset)))
        }
        Some(request) if harmless => failure.harmless(Some(request)),
        _ => failure,
    }
}

/// What clients are told of an error before the reply.
fn words(error: &hyper::Error) -> &'static str {
    match cause(error).filter(|cause| cause.is_remote()) {
        Some(cause) if cause.is_go_away() => "it ended the connection before it took the request",
        Some(cause) if cause.reason() == Some(h2::Reason::REFUSED_STREAM) => "it refused to take the request",
        Some(cause) if cause.is_reset() => "it broke the request off before its reply",
        _ => told(error),
    }
}

/// Whether the upstream has said that it did nothing with the request (RFC 9113, sections 6.8 and 8.7).
fn never_processed(error: &hyper::Error) -> bool {
    let Some(cause) = cause(error).filter(|cause| cause.is_remote()) else { return false };
    cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM)
}

/// Whether the connection ended while the request waited for its turn among those that may run. Its head may just have left, but nothing of its
/// body: a request that is nothing but a head is safe only if it may be made twice.
fn never_opened(error: &hyper::Error) -> bool {
    // Nothing of ours goes wrong with a request here but that what carries it is gone.
    error.is_user()
}

fn cause(error: &hyper::Error) -> Option<&h2::Error> {
    error.source().and_then(|cause| cause.downcast_ref())
}
