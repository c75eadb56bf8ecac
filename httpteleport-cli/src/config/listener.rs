//! Where requests come from.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{Mistakes, Process, Teleport, Tls, tls};
use crate::access::{Access, Networks};
use crate::cli::ListenerArgs;
use crate::clients::ClientLimits;
use crate::compress::Compress;
use crate::endpoint::{Address, Endpoint, Scheme};
use crate::forwarded::{Identity, Which};
use crate::listen::Sharing;

/// One input.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    /// Where to listen.
    pub(crate) endpoint: Endpoint,
    /// Who else may listen there, or connect.
    pub(crate) sharing: Sharing,
    /// There exactly when the endpoint is a TLS one.
    pub(crate) tls: Option<Tls>,
    /// How much one request, and one client, may ask for.
    pub(crate) limits: Limits,
    /// How long clients may take.
    pub(crate) timeouts: Timeouts,
    /// Who may connect.
    pub(crate) access: Access,
    /// Load balancers whose connections begin with a PROXY header.
    pub(crate) proxy_protocol: Networks,
    /// Whom to believe, and what to tell, about clients.
    pub(crate) identity: Identity,
    /// Requests without a trace get one.
    pub(crate) begin_traces: bool,
    /// Compression of replies, for teleport.
    pub(crate) compress: Compress,
    /// Batch delay of replies, for teleport.
    pub(crate) delay: Duration,
    /// The rest that is for teleport.
    pub(crate) teleport: Teleport,
}

/// How much one request, and one client, may ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of a request's head.
    pub(crate) max_header_size: usize,
    /// Fields of a request's head, if it is not what the protocol's implementation has.
    pub(crate) max_headers: Option<usize>,
    /// Bytes of a request's body.
    pub(crate) max_body_size: usize,
    /// Connections of one client.
    pub(crate) client_connections: Option<usize>,
    /// No other methods than GET.
    pub(crate) get_only: bool,
    /// What one client may ask for.
    pub(crate) client: ClientLimits,
}

/// How long clients may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For TLS, or a PROXY header.
    pub(crate) handshake: Duration,
    /// The same on teleport.
    pub(crate) teleport_handshake: Duration,
    /// For a head.
    pub(crate) head: Duration,
    /// Between two pieces of a body.
    pub(crate) body: Duration,
    /// For reading anything of what waits to be read.
    pub(crate) write: Duration,
    /// The same on teleport.
    pub(crate) teleport_write: Duration,
    /// Between two requests.
    pub(crate) idle: Duration,
}

impl Listener {
    /// Makes a listener of its options.
    pub(super) fn new(args: ListenerArgs, teleport: Teleport, mistakes: &mut Mistakes) -> Listener {
        let address = Address::Tcp { host: "127.0.0.1".to_owned(), port: 8080 };
        let endpoint = args.input.clone().unwrap_or(Endpoint { scheme: Scheme::Http, address });
        let compress = args.in_compress.unwrap_or_default();
        teleport.check("--in-compress", compress, mistakes);
        if !endpoint.scheme.is_teleport() {
            let idle = [("--in-compress", args.in_compress.is_some()), ("--in-delay", args.in_delay.is_some())];
            for (option, _) in idle.iter().filter(|option| option.1) {
                mistakes.add_idle(format!("{option} has no effect: the input is not teleport"));
            }
        }
        if args.in_socket_mode.is_some() && endpoint.scheme != Scheme::Unix {
            mistakes.add_idle("--in-socket-mode has no effect: the input is no unix socket".to_owned());
        }
        let tls = tls::of(&args, &endpoint, mistakes);
        Listener {
            tls,
            limits: limits(&args, mistakes),
            timeouts: timeouts(&args, mistakes),
            endpoint,
            sharing: Sharing { reuse_port: args.reuse_port.unwrap_or_default(), mode: args.in_socket_mode },
            access: Access { allow: args.in_allow, deny: args.in_deny.unwrap_or_default() },
            proxy_protocol: args.in_proxy_protocol.unwrap_or_default(),
            begin_traces: args.in_begin_traces.unwrap_or_default(),
            identity: Identity {
                which: args.forwarded.unwrap_or(if args.trusted_proxies.is_some() { Which::X } else { Which::None }),
                trusted: args.trusted_proxies.unwrap_or_default(),
                header: args.in_client_ip_header,
            },
            compress,
            delay: args.in_delay.unwrap_or_default(),
            teleport,
        }
    }
}

impl Listener {
    /// Checks whether it can be handed over, if it is to be.
    pub(super) fn check_handover(&self, process: &Process, mistakes: &mut Mistakes) {
        let relative = matches!(&self.endpoint.address, Address::Unix(path) if path.is_relative());
        if process.handover.is_some() && relative {
            let why = "is no absolute path; with --handover the next process may be started elsewhere";
            mistakes.add(format!("--in {}: {why}", self.endpoint));
        }
    }
}

impl Listener {
    /// Whether it surely is what listens at this endpoint: its own, or one of the loopback addresses where it is at every address.
    pub(super) fn is_reached_at(&self, out: &Endpoint) -> bool {
        let (Address::Tcp { host: own, port }, Address::Tcp { host, port: wanted }) =
            (&self.endpoint.address, &out.address)
        else {
            return *out == self.endpoint;
        };
        let speaks =
            self.endpoint.scheme == out.scheme || (self.endpoint.scheme, out.scheme) == (Scheme::Http, Scheme::H2c);
        if *port == 0 || port != wanted || !speaks {
            return false;
        }
        let every: Option<IpAddr> = if own.is_empty() { Some(Ipv4Addr::UNSPECIFIED.into()) } else { own.parse().ok() };
        let every = every.filter(IpAddr::is_unspecified);
        let loopback = host.parse::<IpAddr>().ok().filter(IpAddr::is_loopback);
        // With a shared port another program may be the one at that address.
        let covers = !self.sharing.reuse_port
            && every.zip(loopback).is_some_and(|(every, one)| every.is_ipv4() == one.is_ipv4());
        own == host || covers
    }
}

fn limits(args: &ListenerArgs, mistakes: &mut Mistakes) -> Limits {
    if args.client_burst.is_some() && args.client_rate.is_none() {
        mistakes.add("--client-burst: says nothing without --client-rate; give that as well".to_owned());
    }
    let rate = args.client_rate.map(|rate| (rate, args.client_burst.unwrap_or(rate)));
    Limits {
        max_header_size: args.in_max_header_size.unwrap_or(4096) as usize,
        max_headers: args.in_max_headers.map(usize::from),
        max_body_size: usize::try_from(args.in_max_body_size.unwrap_or(4_194_304)).unwrap_or(usize::MAX),
        client_connections: args.client_connections.map(|most| most as usize),
        get_only: args.in_get_only.unwrap_or_default(),
        client: ClientLimits { concurrency: args.client_concurrency.map(|most| most as usize), rate },
    }
}

fn timeouts(args: &ListenerArgs, mistakes: &mut Mistakes) -> Timeouts {
    let mut limit = |option: &str, given: Option<Duration>, default: u64| {
        if given.is_some_and(|limit| limit.is_zero()) {
            mistakes.add(format!("{option} 0: nobody does anything in no time; write for example {default}s"));
        }
        given.unwrap_or(Duration::from_secs(default))
    };
    Timeouts {
        handshake: limit("--in-handshake-timeout", args.in_handshake_timeout, 10),
        teleport_handshake: args.in_handshake_timeout.unwrap_or(Duration::from_secs(3)),
        head: limit("--in-head-timeout", args.in_head_timeout, 120),
        body: limit("--in-body-timeout", args.in_body_timeout, 120),
        write: limit("--in-write-timeout", args.in_write_timeout, 60),
        teleport_write: args.in_write_timeout.unwrap_or(Duration::from_secs(5)),
        idle: limit("--in-idle-timeout", args.in_idle_timeout, 120),
    }
}
