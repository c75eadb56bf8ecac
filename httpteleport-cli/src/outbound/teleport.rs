//! An upstream that speaks teleport, over TCP or TLS.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use http::header::{HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use httpteleport::codec::framed::Protocol;
use httpteleport::stream::{Incoming, Streaming};
use httpteleport::{AtLimit, Client, ClientBuilder, ContextMemory, Error, ErrorKind, Limits, Stats, Wire, prepare_tcp};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::place::Place;
use super::undialled::Undialled;
use super::{Failure, FailureKind, Ill, one_line};
use crate::config::{Group, Largest, MAX_REPLY_BODY};
use crate::endpoint::Address;
use crate::ends::Ends;
use crate::headers;
use crate::interims::Interims;
use crate::metrics::counted::Counted;
use crate::metrics::traffic::Output;
use crate::request::{Outgoing, Progress, RequestBody};
use crate::retry::is_idempotent;
use crate::tls;

/// Hellos and TLS may take this long; peers give up on them just as soon.
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(3);

/// Most bytes of a request's body that are held in memory, which the classic wire needs.
const MAX_COLLECTED: usize = 1 << 30;

/// Groups of requests at a time, each with connections of its own.
const MOST_GROUPS: usize = 1024;

/// A request whose body goes on for longer than this is given up.
const LONGEST_UPLOAD: Duration = Duration::from_secs(24 * 60 * 60);

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A teleport upstream and its connections.
pub(crate) struct TeleportUpstream {
    client: Client,
    /// How long it may take to reply to a request that has come whole.
    patience: Duration,
    /// Requests whose values of this header differ share no connection.
    group_by: Option<HeaderName>,
    /// Counts those that end here.
    interims: Interims,
    /// Makes a connection that nothing else uses.
    prober: Box<Prober>,
    output: Arc<Output>,
}

struct Prober {
    builder: ClientBuilder,
    address: (String, u16),
    place: Address,
    wire: Wire,
}

impl TeleportUpstream {
    /// An upstream with the compression, batch delay, connections and limits of its group, for requests as large as they come
    /// and so many at a time. Nothing is dialled yet.
    ///
    /// # Errors
    ///
    /// The address cannot be one of a teleport node: one line that names the option.
    pub(crate) fn new(
        place: &Place,
        tls: Option<tls::Client>,
        output: &Group,
        largest: Largest,
        concurrency: usize,
        contexts: ContextMemory,
        interims: Interims,
    ) -> anyhow::Result<TeleportUpstream> {
        let Address::Tcp { host, port } = &place.endpoint.address else {
            bail!("--out {place}: teleport needs a host and a port");
        };
        let teleport = output.teleport;
        let mut client = Client::builder(limits(output, largest))
            .wire(teleport.wire)
            .compression(output.compress.classic)
            .framed_compression(output.compress.framed)
            .context_memory(contexts)
            .compress_alone(teleport.compress_alone)
            .ping(teleport.ping)
            .max_age(teleport.max_age)
            .max_collected(largest.request_body.min(MAX_COLLECTED))
            .batch_delay(output.delay)
            .connections(output.conns_per_addr)
            .max_pending(concurrency)
            .max_groups(MOST_GROUPS)
            .at_limit(AtLimit::Fail)
            .timeout(output.timeout)
            // Half of the time a request has, so that another upstream still gets a chance; also when this one accepts
            // connections and then says nothing.
            .dial_timeout(output.connect.connect.map_or(output.timeout / 2, |longest| longest.min(output.timeout / 2)))
            .body_pause(output.connect.pause)
            .handshake_timeout(LONGEST_HANDSHAKE.min(output.timeout / 2));
        if let Some(tls) = tls {
            let name = tls.server_name(place)?;
            client = client.tls(tls.config, name);
        }
        let checked = (host.clone(), *port);
        let prober = Box::new(Prober {
            builder: client.clone(),
            address: checked,
            place: place.endpoint.address.clone(),
            wire: teleport.wire,
        });
        let (ends, whom) = (Ends::default(), place.to_string());
        client = client.on_connection_end(move |ended| {
            if let Err(error) = ended {
                ends.note(&whom, error.kind(), &one_line(error));
            }
        });
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let (address, carried) = (format!("{host}:{port}"), Arc::<Output>::default());
        let client = client.connect_with(&address.clone(), dialer(address, &carried));
        let client = client.with_context(|| format!("--out {place}"))?;
        let (patience, group_by) = (output.timeout, output.group_by.clone());
        Ok(TeleportUpstream { client, patience, group_by, interims, prober, output: carried })
    }

    /// What its connections carry on the network.
    pub(super) fn output(&self) -> &Output {
        &self.output
    }

    /// Connections that are open.
    pub(super) fn connections(&self) -> u64 {
        let stats = self.stats();
        stats.connections.saturating_sub(stats.connections_ended)
    }

    /// See [`Upstream::probe`](super::Upstream::probe).
    pub(super) async fn probe(&self) -> Result<(), Ill> {
        self.prober.probe().await
    }

    /// What its connections have carried so far.
    pub(super) fn stats(&self) -> Stats {
        self.client.stats()
    }

    /// See [`Upstream::call`](super::Upstream::call).
    pub(super) async fn call(
        &self,
        request: Outgoing,
        deadline: Instant,
    ) -> Result<Response<crate::body::Body>, Failure> {
        let progress = request.body().progress();
        let protocol = request.extensions().get::<Protocol>().cloned();
        let spare = request.body().copy();
        let apart = self.group(&request)?;
        let interims = self.interims.clone();
        let call = apart.as_ref().unwrap_or(&self.client).stream(*request);
        let mut call = call.on_interim(move |head| interims.dropped(head.status));
        let outcome = match &progress {
            None => {
                call = call.deadline(deadline);
                (&mut call).await
            }
            // The time of the client's upload is not the upstream's.
            Some(progress) => {
                call = call.deadline(Instant::now() + LONGEST_UPLOAD);
                self.patiently(&mut call, deadline, progress).await?
            }
        };
        let error = match outcome {
            Ok(mut reply) => {
                headers::prepare_reply(&mut reply).map_err(Failure::broken)?;
                if reply.status() == StatusCode::SWITCHING_PROTOCOLS
                    && let Some(protocol) = protocol
                {
                    *reply.status_mut() = StatusCode::OK;
                    reply.extensions_mut().insert(protocol);
                }
                return Ok(reply.map(crate::body::Body::teleport));
            }
            Err(error) => error,
        };
        if let Some(fault) = progress.and_then(|progress| progress.fault()) {
            return Err(Failure::of_request(fault));
        }
        let failure = match kind(&error) {
            FailureKind::Unreachable => Undialled::of_others(&error, reason(&error), &self.prober.place).failure(None),
            FailureKind::Broken => Failure::lost(told(&error), reason(&error)),
            kind => Failure::logged(kind, told(&error), reason(&error)),
        };
        let unsent = call.take_unsent().filter(|_| !error.is_timeout());
        Err(match unsent {
            Some(request) => failure.unsent(Box::new(request.map(RequestBody::again))),
            None if matches!(failure.kind, FailureKind::Broken | FailureKind::Unreachable) => {
                let head = call.take_head().filter(|head| is_idempotent(&head.method));
                failure.harmless(head.zip(spare).map(|(head, body)| Box::new(Request::from_parts(head, body))))
            }
            None => failure,
        })
    }

    /// The client of the group that the request belongs to, if requests are told apart.
    fn group(&self, request: &Outgoing) -> Result<Option<Client>, Failure> {
        let Some(header) = &self.group_by else { return Ok(None) };
        let key = request.headers().get(header).map(HeaderValue::as_bytes).unwrap_or_default();
        match self.client.for_group(key) {
            Ok(client) => Ok(Some(client)),
            Err(error) => {
                let kind = FailureKind::Refused(StatusCode::SERVICE_UNAVAILABLE);
                let line = format!("by {header}: {}", reason(&error));
                Err(Failure::logged(kind, "too many groups of requests", line))
            }
        }
    }

    /// Waits for the reply as long as the body of the request goes on, and a little more.
    async fn patiently(
        &self,
        call: &mut Streaming<'_, RequestBody>,
        mut deadline: Instant,
        progress: &Progress,
    ) -> Result<Result<Response<Incoming>, Error>, Failure> {
        loop {
            match timeout_at(deadline, &mut *call).await {
                Ok(outcome) => return Ok(outcome),
                Err(_) if progress.goes_on() => deadline = Instant::now() + self.patience,
                Err(_) => return Err(Failure::new(FailureKind::Timeout, "no reply in time")),
            }
        }
    }
}

impl Prober {
    /// Opens a connection, by which the peer has to answer on either wire, and ends it.
    async fn probe(&self) -> Result<(), Ill> {
        let first = if self.wire == Wire::Classic { Wire::Classic } else { Wire::Framed };
        match self.open(first).await {
            Err(Ill::Bad(_)) if self.wire == Wire::Auto => self.open(Wire::Classic).await,
            outcome => outcome,
        }
    }

    async fn open(&self, wire: Wire) -> Result<(), Ill> {
        let (host, port) = &self.address;
        let stream = TcpStream::connect((host.as_str(), *port)).await;
        let stream = stream.map_err(|error| Undialled::of_io(&error, &self.place))?;
        let opened = Box::pin(self.builder.clone().wire(wire).handshake(stream)).await;
        let (client, driver) = opened.map_err(|error| Ill::Bad(reason(&error)))?;
        // The peer has answered; a goodbye keeps its log free of connections that broke.
        let ((), ended) = Box::pin(async { tokio::join!(client.drain(), driver) }).await;
        ended.map_err(|error| Ill::Bad(one_line(&error)))
    }
}

/// Makes connections as fastrpc does, and counts what they carry.
fn dialer(
    address: String,
    output: &Arc<Output>,
) -> impl Fn() -> BoxFuture<io::Result<Counted<TcpStream, Output>>> + Send + Sync + use<> {
    let output = Arc::clone(output);
    move || {
        let (address, output) = (address.clone(), Arc::clone(&output));
        Box::pin(async move {
            let stream = output.dial(TcpStream::connect(address)).await?;
            prepare_tcp(&stream)?;
            Ok(Counted::new(stream, output))
        })
    }
}

/// Requests are sent as long as a listener lets them in; replies are held to the group's limits.
fn limits(output: &Group, largest: Largest) -> Limits {
    Limits::default()
        .with_max_head(output.max_header_size)
        .with_max_body(MAX_REPLY_BODY)
        .with_peer_max_head(largest.request_head)
}

fn kind(error: &Error) -> FailureKind {
    match error.kind() {
        ErrorKind::Connect | ErrorKind::Handshake => FailureKind::Unreachable,
        ErrorKind::Timeout => FailureKind::Timeout,
        ErrorKind::Encode | ErrorKind::Overload | ErrorKind::Closed => FailureKind::Refused(error.status()),
        _ => FailureKind::Broken,
    }
}

/// What clients are told of an error.
fn told(error: &Error) -> &'static str {
    match (error.kind(), error.status()) {
        (ErrorKind::Encode, StatusCode::PAYLOAD_TOO_LARGE) => "the request's body is too large for the next node",
        (ErrorKind::Encode, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) => {
            "the request's head is too large for the next node"
        }
        (ErrorKind::Encode, StatusCode::NOT_IMPLEMENTED) => "the wire to the next node cannot carry such a request",
        (ErrorKind::Encode, _) => "the request cannot be sent to the next node",
        (ErrorKind::Overload, _) => "too many requests wait for the next node",
        (ErrorKind::Closed, _) => "this node is closing",
        (ErrorKind::Timeout, _) => "no reply in time",
        (ErrorKind::Refused | ErrorKind::Protocol, _) => "its reply cannot be taken",
        (ErrorKind::Reset, _) => "it broke off the call",
        _ => "the connection to it was lost before its reply",
    }
}

/// The error and its causes without the upstream's address, which the proxy names itself.
fn reason(error: &Error) -> String {
    let line = one_line(error);
    match error.peer() {
        Some(peer) => line.replace(&format!("{peer}: "), ""),
        None => line,
    }
}
