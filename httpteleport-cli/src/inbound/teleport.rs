//! An input that speaks teleport, over TCP or TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use httpteleport::codec::framed::Protocol;
use httpteleport::stream::{Context, Incoming, StreamHandler};
use httpteleport::{CollectError, Error, ErrorKind, Limits, Server, prepare_tcp};
use tokio::time::{Instant, timeout_at};

use super::Parts;
use super::activity::Activity;
use super::bodiless;
use super::policy::{Current, Policy};
use crate::access_log::{self, AccessLog};
use crate::body::{Body, BoxError};
use crate::config::{self, Largest, MAX_REPLY_BODY};
use crate::counters::Counters;
use crate::endpoint::Scheme;
use crate::ends::Ends;
use crate::grpc;
use crate::headers;
use crate::listen::{Accepted, Client};
use crate::metrics::counted::Counted;
use crate::metrics::traffic::Input;
use crate::outbound::one_line;
use crate::refusal::{Caller, Reason, Refusal};
use crate::request::{BodyFault, RequestBody};
use crate::router::Routed;
use crate::shutdown::Shutdown;
use crate::spans::{self, Traces};
use crate::tls;

/// So many more handlers than requests may run: the process refuses requests, with a counter and a line, before the library does it
/// in its own way. A thread has one at most that is about to be refused, and there are no more threads than that.
const HANDLERS_AHEAD: usize = 1024;

/// What every connection of the input shares.
pub(super) struct Shared {
    server: Server,
    answer: Arc<Answer>,
    ends: Ends,
    counters: Arc<Counters>,
    /// For a hello.
    patience: Duration,
    shutdown: Shutdown,
}

impl Shared {
    /// What the connections of an input with these settings share.
    ///
    /// # Errors
    ///
    /// A setting is unusable.
    pub(super) fn new(
        settings: &config::Listener,
        parts: Parts,
        own_address: Option<SocketAddr>,
        policy: Current,
        traffic: Arc<Input>,
        shutdown: Shutdown,
    ) -> anyhow::Result<Shared> {
        let (teleport, timeouts) = (settings.teleport, &settings.timeouts);
        let mut server = Server::builder(limits(&settings.limits, parts.largest))
            .wire(teleport.wire)
            .compression(settings.compress.classic)
            .framed_compression(settings.compress.framed)
            .context_memory(parts.contexts)
            .compress_alone(teleport.compress_alone)
            .ping(teleport.ping)
            .max_age(teleport.max_age)
            .max_collected(MAX_REPLY_BODY)
            .batch_delay(settings.delay)
            .concurrency(parts.concurrency + HANDLERS_AHEAD)
            .handshake_timeout(timeouts.teleport_handshake)
            .body_pause(timeouts.body)
            .read_timeout(timeouts.body)
            .write_timeout(timeouts.teleport_write)
            .idle_timeout(timeouts.idle);
        if let Some(tls) = parts.tls {
            server = server.tls(tls);
        }
        let answer = Arc::new(Answer {
            policy,
            traffic,
            access_log: parts.access_log,
            traces: Traces { begin: settings.begin_traces, spans: parts.spans },
            own_address,
            input: settings.endpoint.scheme,
        });
        let (ends, patience) = (Ends::default(), timeouts.teleport_handshake);
        Ok(Shared { server: server.build()?, answer, ends, counters: parts.counters, patience, shutdown })
    }

    /// Serves one connection to its end.
    pub(super) async fn accepted(&self, accepted: Accepted, activity: &Activity) {
        // Whoever speaks teleport keeps its connections for calls of many.
        let _busy = activity.hold();
        let began = Instant::now();
        let answer = Arc::clone(&self.answer);
        let (peer, ended) = match accepted {
            Accepted::Tcp(stream, peer) => {
                if let Err(error) = prepare_tcp(&stream) {
                    return tracing::debug!("connection of {}: {error}", peer.remote);
                }
                let stream = Counted::new(stream, Arc::clone(&answer.traffic));
                let connection = self.server.serve_streams_connection(stream, Some(peer.remote), answer);
                (Client::Tcp(peer.remote), self.to_its_end(connection).await)
            }
            Accepted::Unix(stream) => {
                let stream = Counted::new(stream, Arc::clone(&answer.traffic));
                (Client::Unix, self.server.serve_streams_connection(stream, None, answer).await)
            }
        };
        match ended {
            Ok(()) => tracing::debug!("teleport connection of {peer} ended"),
            Err(error) if tls::refuses(peer, &error, &self.counters) => {}
            Err(error) if error.is_unfinished() => {
                self.counters.slow_body.note("teleport connection", peer, format_args!("closed: {}", one_line(&error)));
            }
            Err(error) if error.kind() == ErrorKind::Protocol => {
                self.counters.malformed.note("teleport connection", peer, format_args!("closed: {}", one_line(&error)));
            }
            Err(error) if error.kind() == ErrorKind::Handshake => self.note_bad_hello(peer, &error, began.elapsed()),
            Err(error) => self.ends.note(peer, error.kind(), &one_line(&error)),
        }
    }

    /// Counts and logs why a connection was not opened. Who looks whether this port is there, and says nothing, is no news.
    fn note_bad_hello(&self, peer: Client, error: &Error, took: Duration) {
        let (counters, why) = (&self.counters, one_line(error));
        let refused = if took >= self.patience {
            &counters.slow_handshake
        } else if tls::cause::<rustls::Error>(error).is_some() {
            &counters.failed_handshake
        } else if tls::cause::<io::Error>(error).is_some() {
            return tracing::debug!("teleport connection of {peer}: {why}");
        } else {
            &counters.bad_hello
        };
        refused.note("teleport connection", peer, format_args!("closed: {why}"));
    }

    /// What serves them.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Drives a connection, which ends when what has begun on it is done once draining has begun.
    async fn to_its_end(&self, connection: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        let mut connection = pin!(connection);
        tokio::select! {
            ended = &mut connection => return ended,
            // Who says hello in the last moment may have calls for this connection, and is told to drain once it is open.
            () = self.shutdown.parting() => self.server.shutdown(),
        }
        connection.await
    }
}

/// Requests are held to the input's limits; replies are sent as long as a group lets them in.
fn limits(limits: &config::Limits, largest: Largest) -> Limits {
    let default = Limits::default();
    default
        .with_max_headers(limits.max_headers.unwrap_or(default.max_headers()))
        .with_max_head(limits.max_header_size)
        .with_max_body(limits.max_body_size)
        .with_peer_max_head(largest.reply_head)
}

/// Hands requests to the router and brings replies back.
struct Answer {
    policy: Current,
    /// What goes through the input.
    traffic: Arc<Input>,
    access_log: Option<Arc<AccessLog>>,
    traces: Traces,
    /// Stands in for the `Host` that an HTTP/1.0 request may lack.
    own_address: Option<SocketAddr>,
    /// The scheme of the input.
    input: Scheme,
}

impl StreamHandler for Answer {
    type Body = Body;

    async fn call(&self, mut request: Request<Incoming>, context: Context) -> Response<Body> {
        let peer = context.peer_addr().map_or(Client::Unix, Client::Tcp);
        let (start, method) = (Instant::now(), request.method().clone());
        self.traffic.requests.started();
        let mut span = self.traces.begin(&mut request, self.caller(peer));
        let mut logged = self.access_log.as_ref().map(|log| log.begin(&request, peer));
        let (caller, routed) = self.admit(request, peer);
        if let Some(exchange) = &mut logged {
            exchange.of(caller.client);
        }
        if let Some(span) = &mut span {
            span.of(caller.client);
        }
        let (mut reply, deadline) = match routed {
            Ok(Routed { request, proxy, slot, after }) => {
                let mut reply = proxy.forward(request, caller, slot, span.as_ref()).await;
                let deadline = start + proxy.timeout();
                after.apply(&mut reply);
                (reply, deadline)
            }
            // It is at hand.
            Err(reply) => (reply, start),
        };
        if reply.extensions().get::<Protocol>().is_none() {
            bodiless::take_body(&method, &mut reply);
        }
        if !context.is_streaming() {
            reply = whole(reply, deadline, caller).await;
        } else if reply.extensions_mut().remove::<Protocol>().is_some() {
            *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        self.traffic.requests.replied(reply.status());
        let status = reply.status();
        access_log::answered(logged, status, reply.body_mut());
        spans::answered(span, status, reply.body_mut());
        reply
    }

    fn refused(&self, peer: Option<SocketAddr>, status: StatusCode, why: &str) {
        let client = peer.map_or(Client::Unix, Client::Tcp);
        let why = why.strip_prefix("request: ").unwrap_or(why);
        let became = format_args!("refused with {}: {why}", status.as_u16());
        Reason::of_head(status).note(&self.policy.load().gate.counters, client, became);
        if let Some(log) = &self.access_log {
            log.unread(client, status, b"");
        }
    }
}

impl Answer {
    fn caller(&self, client: Client) -> Caller {
        Caller { client, input: self.input, to: self.own_address, grpc: None }
    }

    /// Whose request it is, and its way, or the reply to one that may not go on.
    fn admit(&self, request: Request<Incoming>, peer: Client) -> (Caller, Result<Routed, Response<Body>>) {
        let policy = self.policy.load();
        let client = policy.gate.client(request.headers(), peer);
        let caller = Caller { grpc: grpc::reply_type(&request), ..self.caller(client) };
        let routed = self.prepare(&policy, request, peer, client);
        (caller, routed.map_err(|refusal| caller.turn_away(&refusal, &policy.gate.counters)))
    }

    fn prepare(
        &self,
        policy: &Policy,
        request: Request<Incoming>,
        peer: Client,
        client: Client,
    ) -> Result<Routed, Refusal> {
        let load = policy.gate.admit(request.method(), request.headers(), client)?;
        let most = policy.bodies.most;
        // What is said in another protocol is no body: it goes on for as long as both sides like.
        let upgrades = request.extensions().get::<Protocol>().is_some();
        let (parts, body) = request.into_parts();
        let (body, length) = match body.into_whole() {
            Ok(bytes) if bytes.len() > most && !upgrades => return Err(BodyFault::TooLarge.refusal()),
            Ok(bytes) => {
                let length = bytes.len() as u64;
                (bytes.into(), Some(length))
            }
            Err(stream) => {
                let length = stream.size_hint().exact();
                let left = (!upgrades).then_some(most);
                if length.zip(left).is_some_and(|(length, left)| length > left as u64) {
                    return Err(BodyFault::TooLarge.refusal());
                }
                let counters = Arc::clone(&policy.gate.counters);
                (RequestBody::stream(Passing { stream, left, counters, client }), length)
            }
        };
        let mut request = Request::from_parts(parts, body);
        let own_address = || {
            let text = self.own_address.map_or_else(|| "localhost".to_owned(), |address| address.to_string());
            HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("localhost"))
        };
        headers::prepare_request(&mut request, own_address, length)?;
        policy.gate.tell(&mut request, peer, client);
        policy.router.route(Box::new(request), load)
    }
}

/// On the classic wire a reply travels whole, so the time for it is over when its last byte has not come: there is no sense
/// in reading on for a node that has given up as well.
async fn whole(reply: Response<Body>, deadline: Instant, caller: Caller) -> Response<Body> {
    match timeout_at(deadline, collect(reply)).await {
        Ok(Ok(reply)) => reply,
        Ok(Err((told, why))) => give_up(caller, StatusCode::BAD_GATEWAY, told, &why),
        Err(_) => {
            let told = "the reply did not end in time";
            give_up(caller, StatusCode::GATEWAY_TIMEOUT, told, told)
        }
    }
}

/// The answer to a request whose reply began and could not be brought whole.
fn give_up(caller: Caller, status: StatusCode, told: &str, why: &str) -> Response<Body> {
    tracing::debug!("request of {}: {why}", caller.client);
    caller.refuse(status, told)
}

/// Reads the body of a reply to its end; or what clients are told, and the log, of why it has none.
async fn collect(reply: Response<Body>) -> Result<Response<Body>, (&'static str, String)> {
    let (parts, body) = reply.into_parts();
    match httpteleport::Body::collect_from(body, MAX_REPLY_BODY).await {
        Ok(body) => Ok(Response::from_parts(parts, body.into_bytes().into())),
        Err(CollectError::TooLarge { limit }) => {
            let told = "the reply's body is too large";
            Err((told, format!("{told}: it is over the {limit} bytes that the classic wire carries")))
        }
        Err(CollectError::Body(error)) => {
            let told = "the reply ended early";
            Err((told, format!("{told}: {}", one_line(&*error))))
        }
    }
}

/// Whose fault it is that a body has ended early. A node that lost its client breaks off in the middle of it.
fn fault(error: &Error) -> BodyFault {
    match error.kind() {
        ErrorKind::Timeout => BodyFault::Slow,
        ErrorKind::Protocol | ErrorKind::Refused => BodyFault::Broken,
        _ => BodyFault::Gone,
    }
}

/// The body of a request on its way through.
struct Passing {
    stream: Incoming,
    /// How many more bytes it may have; no limit for a stream that was upgraded.
    left: Option<usize>,
    counters: Arc<Counters>,
    client: Client,
}

impl Passing {
    fn broken_off(&self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        fault.note(self.client, &self.counters);
        Poll::Ready(Some(Err(fault.into())))
    }
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(frame) = ready!(Pin::new(&mut self.stream).poll_frame(cx)) else { return Poll::Ready(None) };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return self.broken_off(fault(&error)),
        };
        if let Some(left) = self.left {
            match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(rest) => self.left = Some(rest),
                None => return self.broken_off(BodyFault::TooLarge),
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.size_hint()
    }
}
