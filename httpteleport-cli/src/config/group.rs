//! Where requests go.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::{Mistakes, Teleport};
use crate::cli::GroupArgs;
use crate::compress::Compress;
use crate::endpoint::{Address, Endpoint, Scheme};
use crate::outbound;

/// Upstreams that can stand in for each other.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// What routes call it.
    pub(crate) name: String,
    /// At least one.
    pub(crate) endpoints: Vec<Endpoint>,
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
    /// How the upstreams are dealt with.
    pub(crate) upstreams: outbound::Options,
    /// The rest that is for teleport.
    pub(crate) teleport: Teleport,
}

impl Group {
    /// Makes a group of its options.
    pub(super) fn new(name: String, args: GroupArgs, teleport: Teleport, mistakes: &mut Mistakes) -> Group {
        let address = Address::Tcp { host: "127.0.0.1".to_owned(), port: 8043 };
        let group = Group {
            name,
            endpoints: args.outputs.unwrap_or_else(|| vec![Endpoint { scheme: Scheme::Teleport, address }]),
            compress: args.out_compress.unwrap_or_default(),
            delay: args.out_delay.unwrap_or_default(),
            timeout: args.out_timeout.unwrap_or(Duration::from_secs(3)),
            conns_per_addr: usize::from(args.out_conns_per_addr.unwrap_or(1)),
            group_by: args.out_group_by,
            ca: args.out_ca,
            max_header_size: args.out_max_header_size.unwrap_or(4096) as usize,
            upstreams: outbound::Options::default(),
            teleport,
        };
        group.check(mistakes);
        group
    }

    fn check(&self, mistakes: &mut Mistakes) {
        for out in &self.endpoints {
            if let Address::Tcp { host, port } = &out.address {
                if host.is_empty() {
                    mistakes.add(format!("--out {out}: no host; say which machine to connect to"));
                }
                if *port == 0 {
                    mistakes.add(format!("--out {out}: port 0 cannot be connected to; use 1 to 65535"));
                }
            }
        }
        if self.ca.is_some() && !self.endpoints.iter().any(|out| out.scheme.is_tls()) {
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
