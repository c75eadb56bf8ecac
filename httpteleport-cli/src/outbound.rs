//! Upstreams: what sends a request on and brings its reply.

use std::error::Error as StdError;
use std::io;

use ::http::{Response, StatusCode};
use httpteleport::Stats;
use tokio::time::Instant;

use crate::body::Body;
use crate::metrics::traffic::Output;
use crate::request::{BodyFault, Outgoing};

mod again;
mod changes;
mod connection;
mod dial;
mod greeting;
mod http;
mod http2;
mod introduce;
mod multiplexed;
mod options;
mod place;
pub(crate) mod pool;
mod probe;
mod stream;
mod target;
mod teleport;
mod undialled;
mod untaken;
mod upgrade;
mod upgrade_http2;
mod upstreams;
mod verdict;

pub(crate) use self::http::HttpUpstream;
pub(crate) use self::introduce::{Introduced, Version};
pub(crate) use self::options::ConnectOptions;
pub(crate) use self::place::{LookedUp, Place};
pub(crate) use self::probe::Ill;
pub(crate) use self::target::{Attempt, Snapshot, Target};
pub(crate) use self::teleport::TeleportUpstream;
pub(crate) use self::untaken::Untaken;
pub(crate) use self::upstreams::{Build, Options, Upstreams};

/// One upstream, of either kind.
pub(crate) enum Upstream {
    /// Speaks HTTP/1.1 over TCP, TLS or a unix socket, or HTTP/2 over TCP or TLS.
    Http(Box<HttpUpstream>),
    /// Speaks teleport, over TCP or TLS.
    Teleport(TeleportUpstream),
}

impl Upstream {
    /// Sends the request and waits for the reply's head, at most until `deadline`, which moves on as long as the body
    /// of the request does.
    ///
    /// A request with a `Protocol` asks to speak that on a connection of its own, with its body and the reply's, whatever
    /// the status; a reply that agrees has the `Protocol` as well.
    ///
    /// Dropping the future abandons the request.
    pub(crate) async fn call(&self, request: Outgoing, deadline: Instant) -> Result<Response<Body>, Failure> {
        match self {
            Upstream::Http(upstream) => upstream.call(request, deadline).await,
            Upstream::Teleport(upstream) => upstream.call(request, deadline).await,
        }
    }

    /// At most so many connections from now on, if it speaks HTTP: that is its share of what may run at a time.
    fn set_share(&self, most: usize) {
        if let Upstream::Http(upstream) = self {
            upstream.set_share(most);
        }
    }

    /// Connections that are open.
    fn connections(&self) -> u64 {
        match self {
            Upstream::Http(upstream) => upstream.connections(),
            Upstream::Teleport(upstream) => upstream.connections(),
        }
    }

    /// How often it has not taken a request over HTTP/2.
    fn untaken(&self) -> u64 {
        match self {
            Upstream::Http(upstream) => upstream.untaken(),
            Upstream::Teleport(_) => 0,
        }
    }

    /// What its teleport connections have carried so far; none for HTTP.
    pub(crate) fn stats(&self) -> Option<Stats> {
        match self {
            Upstream::Http(_) => None,
            Upstream::Teleport(upstream) => Some(upstream.stats()),
        }
    }

    /// What its connections carry on the network.
    pub(crate) fn output(&self) -> &Output {
        match self {
            Upstream::Http(upstream) => upstream.output(),
            Upstream::Teleport(upstream) => upstream.output(),
        }
    }

    /// Bytes that its teleport connections have written and read so far, as compressed; none for HTTP.
    pub(crate) fn wire_bytes(&self) -> u64 {
        self.stats().map_or(0, |stats| stats.wire_bytes_out + stats.wire_bytes_in)
    }
}

/// Why there is no reply.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// One line for the log, without the upstream's name.
    pub(crate) reason: String,
    /// What its client is told: fixed words, which name nothing of the network in here, no option, and nothing that others have said.
    pub(crate) told: &'static str,
    /// The request, when nothing of it can have been acted upon: another upstream may have it.
    pub(crate) unsent: Option<Outgoing>,
    /// The upstream was there and has not taken it, so that it may have it as well: nothing is held against it if it does.
    pub(crate) untaken: Option<Untaken>,
    /// The request, when it may have been acted upon, and it does no harm to make it again.
    pub(crate) harmless: Option<Outgoing>,
}

/// What sort of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// No connection could be made: the upstream is better avoided for a while.
    Unreachable,
    /// No connection could be made for want of files or ports here: the upstream has no part in it.
    Shortage,
    /// Its reply did not come in time.
    Timeout,
    /// All the connections that it may have were in use, for as long as the request could wait.
    Busy,
    /// This side could not or would not send it, and answers with this status.
    Refused(StatusCode),
    /// The request itself came to a bad end on its way here: the upstream has no part in it.
    Request(StatusCode),
    /// Anything else between a working connection and a good reply.
    Broken,
}

/// What clients are told of TLS with an upstream.
const HANDSHAKE: &str = "TLS: the handshake failed";

/// Alerts of TLS about the certificate of the client (RFC 8446, 6.2).
const ALERTS: [&str; 8] = [
    "CertificateRequired",
    "BadCertificate",
    "UnsupportedCertificate",
    "CertificateRevoked",
    "CertificateExpired",
    "CertificateUnknown",
    "UnknownCA",
    "AccessDenied",
];

impl Failure {
    /// One of which the log and its client hear the same.
    pub(crate) fn new(kind: FailureKind, told: &'static str) -> Failure {
        Failure::logged(kind, told, told)
    }

    /// One of which the log has more to say.
    pub(crate) fn logged(kind: FailureKind, told: &'static str, reason: impl Into<String>) -> Failure {
        Failure { kind, reason: reason.into(), told, unsent: None, untaken: None, harmless: None }
    }

    /// A reply that is none.
    pub(crate) fn broken(told: &'static str) -> Failure {
        Failure::new(FailureKind::Broken, told)
    }

    /// A connection that was lost before the reply. Over TLS 1.3 a server says only then that it does not like what it was shown of
    /// certificates: it has let nobody in.
    pub(crate) fn lost(told: &'static str, line: String) -> Failure {
        let refuses = line.split_once("received fatal alert: ").is_some_and(|(_, alert)| {
            let alert = alert.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
            ALERTS.contains(&alert)
        });
        if refuses {
            let reason = format!("{line}: it refuses the certificate of --out-tls-cert, or that there is none");
            return Failure::logged(FailureKind::Unreachable, HANDSHAKE, reason);
        }
        Failure::logged(FailureKind::Broken, told, line)
    }

    /// A failure for which the client has to answer.
    pub(crate) fn of_request(fault: BodyFault) -> Failure {
        Failure::new(FailureKind::Request(fault.status()), fault.why())
    }

    /// The same, with the request that never left.
    pub(crate) fn unsent(mut self, request: Outgoing) -> Failure {
        self.unsent = Some(request);
        self
    }

    /// The same, with the request that the upstream has not taken.
    pub(crate) fn untaken(self, request: Outgoing, untaken: Untaken) -> Failure {
        Failure { untaken: Some(untaken), ..self.unsent(request) }
    }

    /// The same, with the request that may have left and can be made again.
    pub(crate) fn harmless(mut self, request: Option<Outgoing>) -> Failure {
        self.harmless = request;
        self
    }
}

/// An I/O error in plain words, without the system's error number where its kind says it all.
pub(crate) fn plain(error: &io::Error) -> String {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, IsADirectory,
        NetworkUnreachable, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem, TimedOut,
    };
    match error.kind() {
        NotFound => "no such file".to_owned(),
        kind @ (AddrNotAvailable | ConnectionAborted | ConnectionRefused | ConnectionReset | HostUnreachable
        | IsADirectory | NetworkUnreachable | NotADirectory | PermissionDenied | ReadOnlyFilesystem
        | TimedOut) => kind.to_string(),
        _ => one_line(error),
    }
}

/// An error and its causes in one line, each said once.
pub(crate) fn one_line(error: &dyn StdError) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        next = cause.source();
    }
    if line.contains("CaUsedAsEndEntity") {
        // What `openssl req -x509` makes unless told otherwise.
        return "the server's certificate is one of an authority (CA:TRUE); give it one with CA:FALSE".to_owned();
    }
    line.replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_about_the_client_s_certificate_is_no_lost_connection() {
        let of = |line: &str| Failure::lost("it is gone", line.to_owned());
        for alert in ["CertificateRequired", "UnknownCA", "BadCertificate"] {
            let failure = of(&format!("connection error: received fatal alert: {alert}"));
            assert_eq!(failure.kind, FailureKind::Unreachable, "{alert}");
            assert!(failure.reason.ends_with(": it refuses the certificate of --out-tls-cert, or that there is none"));
            assert_eq!(failure.told, "TLS: the handshake failed", "options are the operator's");
        }
        for line in
            ["connection error: received fatal alert: InternalError", "it closed the connection before its reply"]
        {
            assert_eq!((of(line).kind, of(line).reason), (FailureKind::Broken, line.to_owned()));
            assert_eq!(of(line).told, "it is gone");
        }
    }
}
