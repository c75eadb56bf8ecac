//! From a group's settings to its upstreams.

use std::os::unix::fs::FileTypeExt as _;
use std::sync::Arc;

use anyhow::bail;
use tokio::net::lookup_host;

use super::{HttpUpstream, TeleportUpstream, Upstream, Upstreams, plain};
use crate::config::{Group, Largest};
use crate::discover::{self, Source};
use crate::endpoint::{Address, Endpoint, Scheme};
use crate::interims::Interims;
use crate::shutdown::Shutdown;
use crate::tls;

/// What the upstreams of all groups share.
#[derive(Clone)]
pub(crate) struct Surroundings {
    /// Most requests at a time.
    pub(crate) concurrency: usize,
    /// The largest messages that pass.
    pub(crate) largest: Largest,
    /// Counts interim replies.
    pub(crate) interims: Interims,
    /// Runs what is no HTTP any more.
    pub(crate) shutdown: Shutdown,
}

impl Upstreams {
    /// The upstreams of a group, each checked as far as that is possible without talking to it.
    ///
    /// # Errors
    ///
    /// One line that names the option and says what to do.
    pub(crate) async fn open(group: &Group, around: &Surroundings) -> anyhow::Result<Arc<Upstreams>> {
        for place in group.sources.iter().filter_map(Source::fixed) {
            check(&place.endpoint).await?;
        }
        let upstreams = Upstreams::new(group.upstreams.clone(), around.concurrency, builder(group, around)?);
        let upstreams = Arc::new(upstreams);
        discover::start(&group.sources, &group.discover, &upstreams).await?;
        Ok(upstreams)
    }
}

/// Makes the upstreams of a group.
fn builder(group: &Group, around: &Surroundings) -> anyhow::Result<super::upstreams::Build> {
    let uses = |scheme| group.sources.iter().any(|source| source.scheme().is_none_or(|used| used == scheme));
    let https = if uses(Scheme::Https) { Some(tls::client_config(group.ca.as_deref(), true)?) } else { None };
    let teleports = if uses(Scheme::Teleports) { Some(tls::client_config(group.ca.as_deref(), false)?) } else { None };
    let (group, around) = (group.clone(), around.clone());
    Ok(Box::new(move |place| {
        let Surroundings { concurrency, largest, interims, shutdown } = around.clone();
        let scheme = place.endpoint.scheme;
        if scheme.is_teleport() {
            let tls = teleports.clone().filter(|_| scheme.is_tls());
            return Ok(Upstream::Teleport(TeleportUpstream::new(place, tls, &group, largest, concurrency, interims)?));
        }
        let tls = https.clone().filter(|_| scheme.is_tls());
        let (count, max_head, patience) = (group.conns_per_addr, group.max_header_size, group.timeout);
        Ok(Upstream::Http(HttpUpstream::new(place, tls, count, max_head, patience, shutdown, interims)?))
    }))
}

/// A name that does not resolve or a socket that is not there is told at once, not by the first request.
async fn check(out: &Endpoint) -> anyhow::Result<()> {
    match &out.address {
        Address::Tcp { host, port } => {
            let found = lookup_host((host.as_str(), *port)).await.map(|mut addresses| addresses.next().is_some());
            if !matches!(found, Ok(true)) {
                bail!("--out {out}: cannot find the address of {host:?}; check the name and this machine's DNS");
            }
        }
        Address::Unix(path) => match std::fs::metadata(path) {
            Ok(metadata) if metadata.file_type().is_socket() => {}
            Ok(_) => bail!("--out {out}: is not a socket; give the path the upstream listens on"),
            Err(error) => bail!("--out {out}: {}; start the upstream first, or correct the path", plain(&error)),
        },
    }
    Ok(())
}
