//! An upstream that speaks HTTP, /1.1 or /2.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TE, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode};
use httpteleport::codec::framed::Protocol;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::again::Again;
use super::connection::{Connection, Unanswered};
use super::dial::Dialer;
use super::introduce::Introduced;
use super::multiplexed::{Got, Multiplexed};
use super::options::ConnectOptions;
use super::place::Place;
use super::pool::{Lease, Pool};
use super::undialled::Undialled;
use super::{Failure, FailureKind, one_line};
use crate::body::{Body, HeldTo};
use crate::endpoint::Scheme;
use crate::headers::{self, size_of_fields};
use crate::interims::{self, Interims};
use crate::metrics::traffic::Output;
use crate::request::{BodyFault, Outgoing, Progress, RequestBody};
use crate::retry::is_idempotent;
use crate::shutdown::Shutdown;
use crate::tls;

/// Fields in a head: hyper's own limit, which it keeps on the stack.
const MOST_FIELDS: usize = 100;

/// An HTTP upstream and its connections.
pub(crate) struct HttpUpstream {
    pub(super) dialer: Dialer,
    /// Its HTTP/1.1 connections.
    pool: Arc<Pool>,
    /// Its HTTP/2 connections.
    pub(super) multiplexed: Multiplexed,
    /// One permit a connection of HTTP/1.1, or a request of HTTP/2.
    connections: Arc<Semaphore>,
    /// How many permits there are.
    share: Mutex<usize>,
    max_head: usize,
    /// How its connections are made, and how long they may take.
    pub(super) options: ConnectOptions,
    /// The longest wait for a step of a request whose body streams.
    pub(super) patience: Duration,
    /// Runs what is no HTTP any more.
    pub(super) shutdown: Shutdown,
    /// Counts those that end here.
    pub(super) interims: Interims,
}

impl HttpUpstream {
    /// An upstream that refuses replies whose head is over `max_head` bytes, and has `patience` for each step of a request
    /// whose body streams; over HTTP/2 it has `multiplexed` connections. It has no connection before it gets its [share](HttpUpstream::set_share) of them.
    ///
    /// # Errors
    ///
    /// The endpoint's host cannot be the name of a certificate.
    pub(crate) fn new(
        place: &Place,
        tls: Option<tls::Client>,
        multiplexed: usize,
        max_head: usize,
        patience: Duration,
        shutdown: Shutdown,
        interims: Interims,
    ) -> anyhow::Result<HttpUpstream> {
        let scheme = place.endpoint.scheme;
        Ok(HttpUpstream {
            multiplexed: Multiplexed::new(multiplexed, scheme.is_tls(), scheme == Scheme::H2c),
            dialer: Dialer::new(place, tls, max_head)?,
            pool: Arc::new(Pool::new(ConnectOptions::default().idle)),
            connections: Arc::new(Semaphore::new(0)),
            share: Mutex::new(0),
            max_head,
            options: ConnectOptions::default(),
            patience,
            shutdown,
            interims,
        })
    }

    /// The same with other options of its connections. Where each of them has to be told whose it is, none is shared or used again.
    pub(crate) fn connecting(mut self, options: ConnectOptions) -> HttpUpstream {
        let alone = options.introduce.is_some();
        if alone {
            self.multiplexed = Multiplexed::new(1, false, false);
        }
        self.pool = Arc::new(Pool::new(if alone { Duration::ZERO } else { options.idle }));
        self.dialer.introducing(options.introduce);
        self.options = options;
        self
    }

    /// See [`Upstream::call`](super::Upstream::call).
    pub(super) async fn call(&self, request: Outgoing, deadline: Instant) -> Result<Response<Body>, Failure> {
        if let Some(protocol) = request.extensions().get::<Protocol>() {
            let protocol = protocol.clone();
            return Box::pin(self.upgrade(request, &protocol, deadline)).await;
        }
        let permit = self.permit(deadline).await?;
        if self.multiplexed.is_possible() {
            return Box::pin(self.call_multiplexed(request, deadline, permit)).await;
        }
        let progress = request.body().progress();
        let request = match self.pool.take() {
            None => request,
            Some(idle) => match self.try_idle(idle, request, deadline).await {
                Idle::Done(result) => {
                    return result.and_then(|(reply, used)| self.finish(reply, used, permit, progress));
                }
                Idle::Stale(request) => request,
            },
        };
        // Rare, and much larger than the rest: not a part of every request's future.
        let dial = self.dialer.dial_one(whose(&request));
        let (connection, request) = Box::pin(self.connect(request, deadline, dial)).await?;
        self.call_on(connection, request, deadline, permit).await
    }

    /// A call on a new connection.
    async fn call_on(
        &self,
        connection: Box<Connection>,
        request: Outgoing,
        deadline: Instant,
        permit: OwnedSemaphorePermit,
    ) -> Result<Response<Body>, Failure> {
        let (spare, progress) = (spare(&request), request.body().progress());
        let exchanged = self.exchange(connection, request, deadline).await;
        let (reply, used) = exchanged.map_err(|(failure, lost)| failure.harmless(spare.filter(|_| lost)))?;
        self.finish(reply, used, permit, progress)
    }

    /// A call to an upstream that speaks HTTP/2, or whose first connection will show what it speaks.
    async fn call_multiplexed(
        &self,
        mut request: Outgoing,
        deadline: Instant,
        permit: OwnedSemaphorePermit,
    ) -> Result<Response<Body>, Failure> {
        let mut again = Again::new(deadline);
        loop {
            let dial = self.multiplexed.get(&self.dialer, again.spreads());
            let (got, sendable) = self.connect(request, deadline, dial).await?;
            let lent = match got {
                Got::One(connection) => return self.call_on(connection, sendable, deadline, permit).await,
                Got::Two(lent) => lent,
            };
            match self.multiplexed.exchange(lent, sendable, deadline, self.patience).await {
                Ok((mut reply, running)) => {
                    self.prepare_multiplexed(&mut reply)?;
                    let held = (permit, running);
                    return Ok(reply.map(|incoming| Body::multiplexed(incoming, held, self.held_to())));
                }
                // The connection has ended, or is about to: another one is as good.
                Err(failure) => {
                    self.multiplexed.note(&failure);
                    request = again.after(failure).await?;
                }
            }
        }
    }

    /// Makes the head of a reply over HTTP/2 one for a client.
    pub(super) fn prepare_multiplexed(&self, reply: &mut Response<Incoming>) -> Result<(), Failure> {
        if size_of_fields(reply.headers()) > self.max_head {
            return Err(Failure::logged(FailureKind::Broken, LARGE_HEAD, self.explain_large_head()));
        }
        headers::prepare_reply(reply).map_err(Failure::broken)
    }

    /// What the bodies of its replies are held to.
    pub(super) fn held_to(&self) -> HeldTo {
        HeldTo { pause: self.options.pause, trailers: self.max_head }
    }

    /// At most so many connections from now on. Those that are in use above that go on.
    pub(super) fn set_share(&self, most: usize) {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        let mut share = self.share.lock().unwrap_or_else(PoisonError::into_inner);
        if most > *share {
            self.connections.add_permits(most - *share);
            *share = most;
        } else {
            *share -= self.connections.forget_permits(*share - most);
        }
    }

    /// What its connections carry on the network.
    pub(super) fn output(&self) -> &Output {
        self.dialer.output()
    }

    /// Connections that are open.
    pub(super) fn connections(&self) -> u64 {
        self.dialer.open() as u64
    }

    /// How often it has not taken a request.
    pub(super) fn untaken(&self) -> u64 {
        self.multiplexed.untaken()
    }

    /// Leave to use a connection.
    pub(super) async fn permit(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Failure> {
        if let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() {
            return Ok(permit);
        }
        match Box::pin(timeout_at(deadline, Arc::clone(&self.connections).acquire_owned())).await {
            Ok(permit) => Ok(permit.expect("this semaphore is never closed")),
            Err(_) => Err(Failure::new(FailureKind::Busy, "all its connections are busy")),
        }
    }

    /// Tries a connection that may have been closed meanwhile. The request comes back when it certainly had no effect,
    /// or when repeating it is harmless (RFC 9110, section 9.2.2).
    async fn try_idle(&self, idle: Box<Connection>, request: Outgoing, deadline: Instant) -> Idle {
        let spare = spare(&request);
        match self.exchange(idle, request, deadline).await {
            Ok(done) => Idle::Done(Ok(done)),
            Err((failure, lost)) => match (failure.unsent, spare) {
                (Some(request), _) => Idle::Stale(request),
                (None, Some(request)) if lost => Idle::Stale(request),
                (unsent, _) => Idle::Done(Err(Failure { unsent, ..failure })),
            },
        }
    }

    /// Waits for a connection as long as there is sense in it.
    pub(super) async fn connect<C>(
        &self,
        request: Outgoing,
        deadline: Instant,
        dial: impl Future<Output = Result<C, Undialled>>,
    ) -> Result<(C, Outgoing), Failure> {
        // Half of what is left: should it take longer, another upstream still has a chance.
        let now = Instant::now();
        let half = deadline.saturating_duration_since(now) / 2;
        let limit = now + self.options.connect.map_or(half, |longest| longest.min(half));
        match timeout_at(limit, dial).await {
            Ok(Ok(connection)) => Ok((connection, request)),
            Ok(Err(undialled)) => Err(undialled.failure(Some(request))),
            Err(_) => Err(Failure::new(FailureKind::Unreachable, "connecting timed out").unsent(request)),
        }
    }

    /// One request and the head of its reply. A failure also tells whether the connection was lost.
    pub(super) async fn exchange(
        &self,
        mut connection: Box<Connection>,
        request: Outgoing,
        deadline: Instant,
    ) -> Result<(Response<Incoming>, Box<Connection>), (Failure, bool)> {
        match connection.exchange(framed(*request), &self.interims, deadline, self.patience).await {
            Ok(reply) => Ok((reply, connection)),
            Err(Unanswered::Failed(mut error)) => {
                if let Some(fault) = BodyFault::of(error.error()) {
                    return Err((Failure::of_request(fault), false));
                }
                let lost = is_lost(error.error());
                let failure = Failure::lost(told(error.error()), self.explain(error.error()));
                Err(match error.take_message() {
                    Some(request) => (failure.unsent(Box::new(request)), true),
                    None => (failure, lost),
                })
            }
            Err(Unanswered::Flooded) => Err((Failure::new(FailureKind::Broken, interims::FLOODED), false)),
            Err(Unanswered::Late) => Err((Failure::new(FailureKind::Timeout, "no reply in time"), false)),
        }
    }

    pub(super) fn finish(
        &self,
        mut reply: Response<Incoming>,
        connection: Box<Connection>,
        permit: OwnedSemaphorePermit,
        progress: Option<Arc<Progress>>,
    ) -> Result<Response<Body>, Failure> {
        if reply.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Failure::new(FailureKind::Broken, "it switched protocols without being asked to"));
        }
        headers::prepare_reply(&mut reply).map_err(Failure::broken)?;
        let lease = Lease { connection, pool: Arc::clone(&self.pool), permit };
        let early = progress.is_some_and(|progress| !progress.is_over());
        let (head, incoming) = reply.into_parts();
        match Body::stream(incoming, lease, early, self.held_to()) {
            Ok(body) => Ok(Response::from_parts(head, body)),
            Err(error) => Err(Failure::logged(FailureKind::Broken, "its reply is no good HTTP", one_line(&*error))),
        }
    }

    fn explain(&self, error: &hyper::Error) -> String {
        if error.is_parse_too_large() {
            return self.explain_large_head();
        }
        if error.is_incomplete_message() { told(error).to_owned() } else { one_line(error) }
    }

    fn explain_large_head(&self) -> String {
        format!("the head of its reply has more than {} bytes or {MOST_FIELDS} fields", self.max_head)
    }
}

/// What clients are told where the head of the reply is over the limit.
const LARGE_HEAD: &str = "the head of its reply is too large";

/// What clients are told of an error before the reply.
pub(super) fn told(error: &hyper::Error) -> &'static str {
    if error.is_parse_too_large() {
        LARGE_HEAD
    } else if error.is_incomplete_message() {
        "it closed the connection before its reply"
    } else if error.is_parse() {
        "its reply is no good HTTP"
    } else {
        "the connection to it was lost before its reply"
    }
}

/// Whose request it is, if the upstream is to be told.
pub(super) fn whose(request: &Outgoing) -> Option<Introduced> {
    request.extensions().get().copied()
}

/// Whether the connection was lost before a reply.
fn is_lost(error: &hyper::Error) -> bool {
    let broke = || error.source().is_some_and(<dyn StdError>::is::<io::Error>);
    error.is_incomplete_message() || error.is_closed() || (!error.is_parse() && broke())
}

/// What came of a try on an idle connection.
enum Idle {
    Done(Result<(Response<Incoming>, Box<Connection>), Failure>),
    Stale(Outgoing),
}

/// The request as it is on an HTTP/1.1 connection.
fn framed(mut request: Request<RequestBody>) -> Request<RequestBody> {
    // hyper takes a GET without a length for one without a body.
    if request.body().progress().is_some() && !request.headers().contains_key(CONTENT_LENGTH) {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if request.headers().contains_key(TE) {
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("te"));
    }
    request
}

/// The same request once more, if that does no harm and its body is at hand.
fn spare(request: &Outgoing) -> Option<Outgoing> {
    if is_idempotent(request.method()) { copy(request) } else { None }
}

/// The same request once more, if its body is at hand.
fn copy(request: &Outgoing) -> Option<Outgoing> {
    let mut copy = Request::new(request.body().copy()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(Box::new(copy))
}
