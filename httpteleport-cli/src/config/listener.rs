//! Where requests come from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Mistakes, Teleport};
use crate::access::{Access, Networks};
use crate::acme::HostPattern;
use crate::cli::ListenerArgs;
use crate::clients::ClientLimits;
use crate::compress::Compress;
use crate::endpoint::{Address, Endpoint, Scheme};
use crate::forwarded::{Identity, Which};
use crate::tls::ClientNames;

/// Where certificates are ordered unless it is said otherwise.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// One input.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    /// Where to listen.
    pub(crate) endpoint: Endpoint,
    /// Other programs may listen there as well.
    pub(crate) reuse_port: bool,
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
    /// Compression of replies, for teleport.
    pub(crate) compress: Compress,
    /// Batch delay of replies, for teleport.
    pub(crate) delay: Duration,
    /// The rest that is for teleport.
    pub(crate) teleport: Teleport,
}

/// A server's identity.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    /// PEM files, the default first; at least one pair, or certificates are ordered.
    pub(crate) pairs: Vec<Pair>,
    /// What the key of session tickets is made of.
    pub(crate) ticket_key: Option<String>,
    /// How certificates are ordered, where there are no pairs.
    pub(crate) acme: Option<Acme>,
    /// Which clients are let in, if not all.
    pub(crate) clients: Option<ClientCa>,
}

/// How certificates are ordered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Acme {
    /// For which hosts.
    pub(crate) hosts: HostPattern,
    /// Folder where they are kept.
    pub(crate) cache: PathBuf,
    /// URL of the authority's directory.
    pub(crate) directory: String,
    /// PEM certificates to trust there instead of the system's.
    pub(crate) ca: Option<PathBuf>,
    /// Mail addresses that the authority may write to.
    pub(crate) contact: Vec<String>,
}

/// Clients that have to show a certificate.
#[derive(Clone, Debug)]
pub(crate) struct ClientCa {
    /// PEM file of those who may have made it.
    pub(crate) ca: PathBuf,
    /// What it may be for; anything without this.
    pub(crate) names: Option<ClientNames>,
}

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// PEM certificate chain, the holder's own first.
    pub(crate) cert: PathBuf,
    /// PEM private key.
    pub(crate) key: PathBuf,
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
        let tls = tls(&args, &endpoint, mistakes);
        note_idle_acme(&args, tls.as_ref(), mistakes);
        Listener {
            tls,
            limits: limits(&args, mistakes),
            timeouts: timeouts(&args, mistakes),
            endpoint,
            reuse_port: args.reuse_port.unwrap_or_default(),
            access: Access { allow: args.in_allow, deny: args.in_deny.unwrap_or_default() },
            proxy_protocol: args.in_proxy_protocol.unwrap_or_default(),
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

impl Tls {
    /// The files that it is made of.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let pairs = self.pairs.iter().flat_map(|pair| [pair.cert.as_path(), pair.key.as_path()]);
        pairs.chain(self.clients.iter().map(|clients| clients.ca.as_path()))
    }
}

impl Listener {
    /// Whether it wants the port of another one. Two that let the system choose get two.
    pub(super) fn listens_where(&self, other: &Listener) -> bool {
        let chosen = matches!(self.endpoint.address, Address::Tcp { port: 0, .. });
        self.endpoint.address == other.endpoint.address && !chosen
    }
}

/// A TLS input needs certificates and their keys, any other must have none: a certificate beside `http://` is a misunderstanding
/// that would leave traffic in clear text.
fn tls(args: &ListenerArgs, endpoint: &Endpoint, mistakes: &mut Mistakes) -> Option<Tls> {
    let given = |files: &Option<Vec<PathBuf>>| files.clone().unwrap_or_default();
    let (certs, keys) = (given(&args.in_tls_cert), given(&args.in_tls_key));
    if !endpoint.scheme.is_tls() {
        let options = [
            ("--in-tls-cert", !certs.is_empty()),
            ("--in-tls-key", !keys.is_empty()),
            ("--in-tls-session-ticket-key", args.in_tls_session_ticket_key.is_some()),
            ("--in-tls-client-ca", args.in_tls_client_ca.is_some()),
            ("--in-tls-client-names", args.in_tls_client_names.is_some()),
        ];
        for (option, _) in options.iter().filter(|option| option.1) {
            mistakes.add(format!(
                "{option}: the input {endpoint} does not use TLS; use https:// or teleports://, or drop the option"
            ));
        }
        return None;
    }
    let acme = if certs.is_empty() { acme(args, endpoint) } else { None };
    match (certs.len(), keys.len()) {
        (0, 0) if acme.is_some() => {}
        (0, _) if endpoint.scheme == Scheme::Https && args.autocert_cache_dir.is_some() => mistakes.add(
            "--autocert-cache-dir: anyone could order certificates; say for which hosts with --autocert-host-regexp".to_owned(),
        ),
        (0, _) => mistakes
            .add(format!("--in {endpoint}: needs a certificate; give its PEM file with --in-tls-cert")),
        (_, 0) => mistakes
            .add(format!("--in {endpoint}: needs the certificate's key; give its PEM file with --in-tls-key")),
        (certs, keys) if certs != keys => mistakes.add(format!(
            "--in-tls-key: there are {certs} certificates and {keys} keys; give each certificate its key, in the same order"
        )),
        _ => {}
    }
    if args.in_tls_session_ticket_key.as_ref().is_some_and(String::is_empty) {
        mistakes.add(
            "--in-tls-session-ticket-key: is empty; give a text that nobody can guess, or drop the option".to_owned(),
        );
    }
    let clients = clients(args, mistakes);
    let pairs = certs.into_iter().zip(keys).map(|(cert, key)| Pair { cert, key }).collect();
    Some(Tls { pairs, ticket_key: args.in_tls_session_ticket_key.clone(), acme, clients })
}

/// How an https input gets certificates that it is not given.
fn acme(args: &ListenerArgs, endpoint: &Endpoint) -> Option<Acme> {
    let hosts = args.autocert_host_regexp.clone().filter(|_| endpoint.scheme == Scheme::Https)?;
    Some(Acme {
        hosts,
        cache: args.autocert_cache_dir.clone().unwrap_or_else(|| PathBuf::from("autocert-cache")),
        directory: args.acme_directory.clone().unwrap_or_else(|| LETS_ENCRYPT.to_owned()),
        ca: args.acme_ca.clone(),
        contact: args.acme_contact.clone().unwrap_or_default(),
    })
}

/// Options of certificates that are ordered, where none are.
fn note_idle_acme(args: &ListenerArgs, tls: Option<&Tls>, mistakes: &mut Mistakes) {
    let options = [
        ("--autocert-host-regexp", args.autocert_host_regexp.is_some()),
        ("--acme-directory", args.acme_directory.is_some()),
        ("--acme-ca", args.acme_ca.is_some()),
        ("--acme-contact", args.acme_contact.is_some()),
    ];
    if tls.is_none_or(|tls| tls.acme.is_none()) {
        for (option, _) in options.iter().filter(|option| option.1) {
            mistakes.add_idle(format!("{option} has no effect: no certificates are ordered for this input"));
        }
    }
}

/// Whose certificates of clients are good.
fn clients(args: &ListenerArgs, mistakes: &mut Mistakes) -> Option<ClientCa> {
    let Some(ca) = args.in_tls_client_ca.clone() else {
        if args.in_tls_client_names.is_some() {
            mistakes.add(
                "--in-tls-client-names: clients show no certificate; say whose are good with --in-tls-client-ca"
                    .to_owned(),
            );
        }
        return None;
    };
    if args.in_tls_session_ticket_key.is_some() {
        mistakes.add(
            "--in-tls-session-ticket-key: sessions that are resumed would get round --in-tls-client-ca; drop one of the two"
                .to_owned(),
        );
    }
    Some(ClientCa { ca, names: args.in_tls_client_names.clone() })
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
