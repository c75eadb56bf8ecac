//! Where requests go.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderName;
use rustls::pki_types::ServerName;

use super::{Mistakes, Pair, Teleport, balancing};
use crate::cli::GroupArgs;
use crate::compress::Compress;
use crate::discover::{self, Source, To};
use crate::endpoint::{Address, Endpoint, Scheme};
use crate::outbound::{self, ConnectOptions};

/// Upstreams that can stand in for each other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    /// What routes call it.
    pub(crate) name: String,
    /// Where they are: at least one.
    pub(crate) sources: Vec<Source>,
    /// How they are found.
    pub(crate) discover: discover::Options,
    /// How they are dealt with.
    pub(crate) upstreams: outbound::Options,
    /// Compression of requests, for teleport.
    pub(crate) compress: Compress,
    /// Batch delay of requests, for teleport.
    pub(crate) delay: Duration,
    /// Longest wait for a reply.
    pub(crate) timeout: Duration,
    /// How connections are made, and how long they may take.
    pub(crate) connect: ConnectOptions,
    /// Connections to each teleport endpoint.
    pub(crate) conns_per_addr: usize,
    /// Teleport: requests whose values of this header differ share no connection.
    pub(crate) group_by: Option<HeaderName>,
    /// TLS, for the upstreams that have it.
    pub(crate) tls: ClientTls,
    /// Bytes of a reply's head.
    pub(crate) max_header_size: usize,
    /// The rest that is for teleport.
    pub(crate) teleport: Teleport,
}

/// How TLS is spoken to upstreams.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ClientTls {
    /// PEM certificates to trust instead of the system's.
    pub(crate) ca: Option<PathBuf>,
    /// What is shown to upstreams that ask for a certificate.
    pub(crate) pair: Option<Pair>,
    /// The name that certificates of upstreams have to be for, instead of each upstream's own.
    pub(crate) name: Option<ServerName<'static>>,
}

impl Group {
    /// Makes a group of its options.
    pub(super) fn new(name: String, args: GroupArgs, teleport: Teleport, mistakes: &mut Mistakes) -> Group {
        let idle = [
            ("--out-compress", args.out_compress.is_some()),
            ("--out-delay", args.out_delay.is_some()),
            ("--out-group-by", args.out_group_by.is_some()),
        ];
        let (tls, conns_per_addr) = (client_tls(&args, mistakes), args.out_conns_per_addr);
        let group = Group {
            tls,
            name,
            sources: args.outputs.clone().unwrap_or_else(|| vec![default_source()]),
            discover: balancing::discover(&args.balancing, mistakes),
            upstreams: balancing::upstreams(&args.balancing, mistakes),
            compress: args.out_compress.unwrap_or_default(),
            delay: args.out_delay.unwrap_or_default(),
            timeout: args.out_timeout.unwrap_or(Duration::from_secs(3)),
            connect: connect(&args, mistakes),
            conns_per_addr: usize::from(conns_per_addr.unwrap_or(1)),
            group_by: args.out_group_by,
            max_header_size: args.out_max_header_size.unwrap_or(4096) as usize,
            teleport,
        };
        group.check(mistakes);
        if !group.sources.iter().any(Source::may_teleport) {
            for (option, _) in idle.iter().filter(|option| option.1) {
                mistakes.add_idle(format!("{option} has no effect: the outputs are not teleport"));
            }
        }
        if conns_per_addr.is_some() && !group.sources.iter().any(Source::may_multiplex) {
            mistakes.add_idle("--out-conns-per-addr has no effect: the outputs are not teleport or HTTP/2".to_owned());
        }
        if group.connect.introduce.is_some() && group.schemes().all(Scheme::is_teleport) {
            mistakes.add_idle("--out-proxy-protocol has no effect: the outputs are teleport".to_owned());
        }
        group
    }

    fn check(&self, mistakes: &mut Mistakes) {
        self.teleport.check("--out-compress", self.compress, mistakes);
        for out in &self.sources {
            if let Err(why) = out.check() {
                mistakes.add(format!("--out {out}: {why}"));
            }
        }
        if self.connect.introduce.is_some() && self.schemes().any(|scheme| scheme == Scheme::H2c) {
            mistakes.add(
                "--out-proxy-protocol: h2c has one connection for many clients, of which it cannot tell; use http://"
                    .to_owned(),
            );
        }
        if !self.sources.iter().any(Source::may_use_tls) {
            let (tls, pair) = (&self.tls, self.tls.pair.is_some());
            let given =
                [("--out-ca", tls.ca.is_some()), ("--out-tls-cert", pair), ("--out-tls-name", tls.name.is_some())];
            for (option, _) in given.iter().filter(|option| option.1) {
                let line = format!("{option}: no output uses TLS; use https:// or teleports://, or drop the option");
                mistakes.add_if_read("--out", line);
            }
        }
        if self.timeout.is_zero() {
            mistakes.add("--out-timeout 0: no reply comes in no time; write for example 3s".to_owned());
        } else if self.delay >= self.timeout {
            mistakes.add(
                "--out-delay: is as long as --out-timeout, every request would time out; use a shorter one".to_owned(),
            );
        }
    }
}

impl Group {
    /// The schemes of those upstreams whose scheme is known.
    fn schemes(&self) -> impl Iterator<Item = Scheme> {
        self.sources.iter().filter_map(Source::scheme)
    }
}

impl ClientTls {
    /// The files that it is made of.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let pair = self.pair.iter().flat_map(|pair| [pair.cert.as_path(), pair.key.as_path()]);
        self.ca.as_deref().into_iter().chain(pair)
    }
}

fn client_tls(args: &GroupArgs, mistakes: &mut Mistakes) -> ClientTls {
    let pair = match (args.out_tls_cert.clone(), args.out_tls_key.clone()) {
        (Some(cert), Some(key)) => Some(Pair { cert, key }),
        (Some(_), None) => {
            mistakes
                .add("--out-tls-cert: needs the certificate's key; give its PEM file with --out-tls-key".to_owned());
            None
        }
        (None, Some(_)) => {
            mistakes
                .add("--out-tls-key: needs the key's certificate; give its PEM file with --out-tls-cert".to_owned());
            None
        }
        (None, None) => None,
    };
    ClientTls { ca: args.out_ca.clone(), pair, name: args.out_tls_name.clone() }
}

fn connect(args: &GroupArgs, mistakes: &mut Mistakes) -> ConnectOptions {
    let default = ConnectOptions::default();
    for (option, given) in
        [("--out-connect-timeout", args.out_connect_timeout), ("--out-body-timeout", args.out_body_timeout)]
    {
        if given.is_some_and(|limit| limit.is_zero()) {
            mistakes.add(format!("{option} 0: nobody does anything in no time; write for example 2s"));
        }
    }
    ConnectOptions {
        introduce: args.out_proxy_protocol,
        connect: args.out_connect_timeout,
        pause: args.out_body_timeout.unwrap_or(default.pause),
        idle: args.out_idle_timeout.unwrap_or(default.idle),
    }
}

/// Where Go's httptp sends requests unless it is told otherwise.
fn default_source() -> Source {
    let address = Address::Tcp { host: "127.0.0.1".to_owned(), port: 8043 };
    Source { to: To::Host(Endpoint { scheme: Scheme::Teleport, address }), weight: 1, backup: false }
}
