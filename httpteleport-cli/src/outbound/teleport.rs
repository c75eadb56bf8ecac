//! An upstream that speaks teleport, over TCP or TLS.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use http::header::{TE, TRAILER};
use http::{Request, Response, StatusCode};
use httpteleport::codec::framed::Protocol;
use httpteleport::{AtLimit, Body, Client, CollectError, Error, ErrorKind, Limits, Stats};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::Instant;

use super::{Failure, FailureKind, one_line};
use crate::config::{MAX_REPLY_BODY, Settings};
use crate::endpoint::{Address, Endpoint};
use crate::request::{BodyFault, Outgoing};

/// Hellos and TLS may take this long; peers give up on them just as soon.
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(3);

/// A teleport upstream and its connections.
pub(crate) struct TeleportUpstream {
    client: Client,
    /// Most bytes of a request's body: the wire carries whole messages.
    max_body: usize,
}

impl TeleportUpstream {
    /// An upstream with the compression, batch delay, connections and limits of the settings. Nothing is dialled yet.
    ///
    /// # Errors
    ///
    /// The address cannot be one of a teleport node: one line that names the option.
    pub(crate) fn new(
        endpoint: &Endpoint,
        tls: Option<Arc<ClientConfig>>,
        settings: &Settings,
    ) -> anyhow::Result<TeleportUpstream> {
        let Address::Tcp { host, port } = &endpoint.address else {
            bail!("--out {endpoint}: teleport needs a host and a port");
        };
        let output = &settings.output;
        let mut client = Client::builder(limits(settings))
            .compression(output.compress)
            .batch_delay(output.delay)
            .connections(output.conns_per_addr)
            .max_pending(settings.concurrency)
            .at_limit(AtLimit::Fail)
            .timeout(output.timeout)
            // Half of the time a request has, so that another upstream still gets a chance; also when this one accepts
            // connections and then says nothing.
            .dial_timeout(output.timeout / 2)
            .handshake_timeout(LONGEST_HANDSHAKE.min(output.timeout / 2));
        if let Some(tls) = tls {
            let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                .with_context(|| format!("--out {endpoint}: {host:?} cannot be a TLS server's name"))?;
            client = client.tls(tls, name);
        }
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.clone() };
        let client = client.connect(&format!("{host}:{port}")).with_context(|| format!("--out {endpoint}"))?;
        Ok(TeleportUpstream { client, max_body: settings.input.max_body_size })
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
        if let Some(protocol) = request.extensions().get::<Protocol>() {
            let why = format!("this teleport wire carries no {}: it has no streams", protocol.as_str());
            return Err(Failure::new(FailureKind::Refused(StatusCode::NOT_IMPLEMENTED), why));
        }
        let patience = deadline.saturating_duration_since(Instant::now());
        let request = self.collect(request).await?;
        // The time of the client's upload is not the upstream's.
        let mut call = self.client.call(request).deadline(Instant::now() + patience);
        match (&mut call).await {
            Ok(reply) => Ok(reply.map(|body| body.into_bytes().into())),
            Err(error) => {
                let failure = Failure::new(kind(&error), reason(&error));
                let unsent = call.take_request().filter(|_| error.may_retry() && !error.is_timeout());
                Err(match unsent {
                    Some(request) => failure.unsent(Box::new(request.map(|body| body.into_bytes().into()))),
                    None => failure,
                })
            }
        }
    }

    /// The request as the wire takes it: with its whole body.
    async fn collect(&self, request: Outgoing) -> Result<Request<Body>, Failure> {
        let (mut parts, body) = request.into_parts();
        // Nor does it carry trailers.
        parts.headers.remove(TE);
        parts.headers.remove(TRAILER);
        match Body::collect_from(body, self.max_body).await {
            Ok(body) => Ok(Request::from_parts(parts, body)),
            Err(CollectError::TooLarge { .. }) => Err(Failure::of_request(BodyFault::TooLarge)),
            Err(CollectError::Body(error)) => Err(match BodyFault::of(&*error) {
                Some(fault) => Failure::of_request(fault),
                None => Failure::new(FailureKind::Broken, one_line(&*error)),
            }),
        }
    }
}

/// Requests are sent as long as `--in-max-header-size` lets them in; replies are held to the output's limits.
fn limits(settings: &Settings) -> Limits {
    Limits::default()
        .with_max_head(settings.output.max_header_size)
        .with_max_body(MAX_REPLY_BODY)
        .with_peer_max_head(settings.input.max_header_size)
}

fn kind(error: &Error) -> FailureKind {
    match error.kind() {
        ErrorKind::Connect | ErrorKind::Handshake => FailureKind::Unreachable,
        ErrorKind::Timeout => FailureKind::Timeout,
        ErrorKind::Encode | ErrorKind::Overload | ErrorKind::Closed => FailureKind::Refused(error.status()),
        _ => FailureKind::Broken,
    }
}

/// The error and its causes without the upstream's address, which the proxy names itself.
fn reason(error: &Error) -> String {
    let line = one_line(error);
    let address = error.peer().map(|peer| format!("{peer}: ")).unwrap_or_default();
    line.strip_prefix(&address).unwrap_or(&line).to_owned()
}
