//! Where requests go.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::{Mistakes, Teleport, balancing};
use crate::cli::GroupArgs;
use crate::compress::Compress;
use crate::discover::{self, Source, To};
use crate::endpoint::{Address, Endpoint, Scheme};
use crate::outbound;

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
    /// Connections to each teleport endpoint.
    pub(crate) conns_per_addr: usize,
    /// Teleport: requests whose values of this header differ share no connection.
    pub(crate) group_by: Option<HeaderName>,
    /// PEM certificates to trust instead of the system's.
    pub(crate) ca: Option<PathBuf>,
    /// Bytes of a reply's head.
    pub(crate) max_header_size: usize,
    /// The rest that is for teleport.
    pub(crate) teleport: Teleport,
}

impl Group {
    /// Makes a group of its options.
    pub(super) fn new(name: String, args: GroupArgs, teleport: Teleport, mistakes: &mut Mistakes) -> Group {
        let idle = [
            ("--out-compress", args.out_compress.is_some()),
            ("--out-delay", args.out_delay.is_some()),
            ("--out-group-by", args.out_group_by.is_some()),
        ];
        let group = Group {
            name,
            sources: args.outputs.unwrap_or_else(|| vec![default_source()]),
            discover: balancing::discover(&args.balancing, mistakes),
            upstreams: balancing::upstreams(&args.balancing, mistakes),
            compress: args.out_compress.unwrap_or_default(),
            delay: args.out_delay.unwrap_or_default(),
            timeout: args.out_timeout.unwrap_or(Duration::from_secs(3)),
            conns_per_addr: usize::from(args.out_conns_per_addr.unwrap_or(1)),
            group_by: args.out_group_by,
            ca: args.out_ca,
            max_header_size: args.out_max_header_size.unwrap_or(4096) as usize,
            teleport,
        };
        group.check(mistakes);
        if !group.sources.iter().any(Source::may_teleport) {
            for (option, _) in idle.iter().filter(|option| option.1) {
                mistakes.add_idle(format!("{option} has no effect: the outputs are not teleport"));
            }
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
        if self.ca.is_some() && !self.sources.iter().any(Source::may_use_tls) {
            mistakes.add("--out-ca: no output uses TLS; use https:// or teleports://, or drop the option".to_owned());
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

/// Where Go's httptp sends requests unless it is told otherwise.
fn default_source() -> Source {
    let address = Address::Tcp { host: "127.0.0.1".to_owned(), port: 8043 };
    Source { to: To::Host(Endpoint { scheme: Scheme::Teleport, address }), weight: 1, backup: false }
}
