//! Requests to an upstream that speaks HTTP/2: many at a time on each of a few connections.

use std::error::Error as _;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::HOST;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::dial::{Dialer, Spoken};
use super::http::copy;
use super::stream::Stream;
use super::{Failure, FailureKind, one_line};
use crate::balance::Load;
use crate::request::{Outgoing, RequestBody};
use crate::retry::is_idempotent;

/// An upstream that is silent while requests run is asked so often whether it is still there, and has so long to say so.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// What is written ahead of what an upstream reads, for each request.
const SEND_BUFFER: usize = 64 * 1024;

/// One request, ready to be sent and sent again.
pub(super) type Sender = SendRequest<RequestBody>;

/// What the upstream is known to speak.
const UNKNOWN: u8 = 0;
const HTTP_1: u8 = 1;
const HTTP_2: u8 = 2;

/// The HTTP/2 connections of one upstream.
pub(super) struct Multiplexed {
    places: Box<[Place]>,
    turn: AtomicUsize,
    known: AtomicU8,
    /// Whether its URLs are `https`.
    tls: bool,
}

#[derive(Default)]
struct Place {
    current: Mutex<Current>,
    /// Held by who dials.
    dialling: tokio::sync::Mutex<()>,
}

/// The connection that a place has.
#[derive(Default)]
struct Current {
    sender: Option<Sender>,
    /// How many there were before.
    number: u64,
}

/// A connection that is to carry a request.
pub(super) struct Lent {
    pub(super) sender: Sender,
    place: usize,
    number: u64,
}

/// Opens HTTP/2 on a stream. The connection has a task of its own, which ends when nobody can send on it and all is done.
pub(super) async fn handshake(stream: Stream, max_head: usize, open: Load) -> Result<Sender, String> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(max_head).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER)
        .adaptive_window(true)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    let (sender, connection) = http.handshake(stream).await.map_err(|error| one_line(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("HTTP/2 connection to an upstream ended: {}", one_line(&error));
        }
        drop(open);
    });
    Ok(sender)
}

/// A connection for a request.
pub(super) enum Got {
    Two(Lent),
    /// The upstream speaks HTTP/1.1 alone.
    One(Box<Connection>),
}

impl Multiplexed {
    /// So many connections at most; `tls` if URLs are `https`, so that it has to be found out what the upstream speaks; without TLS it speaks
    /// HTTP/2 or HTTP/1.1 as `two` says.
    pub(super) fn new(connections: usize, tls: bool, two: bool) -> Multiplexed {
        let known = match (tls, two) {
            (true, _) => UNKNOWN,
            (false, true) => HTTP_2,
            (false, false) => HTTP_1,
        };
        let places = (0..connections.max(1)).map(|_| Place::default()).collect();
        Multiplexed { places, turn: AtomicUsize::new(0), known: AtomicU8::new(known), tls }
    }

    /// Whether the upstream may speak HTTP/2.
    pub(super) fn is_possible(&self) -> bool {
        self.known.load(Ordering::Relaxed) != HTTP_1
    }

    /// Whether it speaks HTTP/2 and nothing else.
    pub(super) fn is_certain(&self) -> bool {
        !self.tls && self.is_possible()
    }

    /// A connection: one that is open at the place whose turn it is, or a new one there.
    pub(super) async fn get(&self, dialer: &Dialer) -> Result<Got, String> {
        let place = self.turn.fetch_add(1, Ordering::Relaxed) % self.places.len();
        if let Some(lent) = self.lend(place) {
            return Ok(Got::Two(lent));
        }
        // One dials, so that there are no more connections than places; the others find what it has made.
        let dialling = self.places[place].dialling.lock().await;
        if let Some(lent) = self.lend(place) {
            return Ok(Got::Two(lent));
        }
        if !self.is_possible() {
            drop(dialling);
            return dialer.dial_one(None).await.map(Got::One);
        }
        let spoken = dialer.dial().await?;
        let known = if matches!(spoken, Spoken::Two(_)) { HTTP_2 } else { HTTP_1 };
        self.known.store(known, Ordering::Relaxed);
        Ok(match spoken {
            Spoken::One(connection) => Got::One(connection),
            Spoken::Two(sender) => {
                let mut current = self.lock(place);
                current.number += 1;
                current.sender = Some(sender.clone());
                Got::Two(Lent { sender, place, number: current.number })
            }
        })
    }

    /// The connection at a place, if it takes requests.
    fn lend(&self, place: usize) -> Option<Lent> {
        let current = self.lock(place);
        let sender = current.sender.as_ref().filter(|sender| !sender.is_closed()).cloned()?;
        Some(Lent { sender, place, number: current.number })
    }

    /// That connection takes no more requests, though it may not know yet.
    fn forget(&self, place: usize, number: u64) {
        let mut current = self.lock(place);
        if current.number == number {
            current.sender = None;
        }
    }

    fn lock(&self, place: usize) -> MutexGuard<'_, Current> {
        self.places[place].current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of its own, for one request.
    pub(super) fn alone(sender: Sender) -> Lent {
        Lent { sender, place: 0, number: 0 }
    }

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
    ) -> Result<Response<Incoming>, Failure> {
        let Lent { mut sender, place, number } = lent;
        let (spare, progress) = (copy(&request), request.body().progress());
        let mut reply = pin!(sender.try_send_request(self.framed(*request)?));
        loop {
            match timeout_at(deadline, reply.as_mut()).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(error)) => {
                    if let Some(fault) = progress.and_then(|progress| progress.fault()) {
                        return Err(Failure::of_request(fault));
                    }
                    // What befell one stream says nothing of the others.
                    if !cause(error.error()).is_some_and(h2::Error::is_reset) {
                        self.forget(place, number);
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
        parts.scheme = Some(if self.tls { Scheme::HTTPS } else { Scheme::HTTP });
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
