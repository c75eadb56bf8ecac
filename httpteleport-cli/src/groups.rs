//! From the settings of a group to its upstreams.

use std::os::unix::fs::FileTypeExt as _;
use std::sync::Arc;

use anyhow::bail;
use tokio::net::lookup_host;

use crate::config::{Group, Settings};
use crate::discover::{self, Source};
use crate::endpoint::{Address, Endpoint, Scheme};
use crate::metrics::Metrics;
use crate::metrics::failures::Failures;
use crate::misfit::Misfit;
use crate::outbound::{Build, HttpUpstream, TeleportUpstream, Upstream, Upstreams, plain};
use crate::proxy::Proxy;
use crate::shutdown::Shutdown;
use crate::tls;

/// Makes a group, and finds its upstreams. Nothing is connected to yet.
///
/// # Errors
///
/// One line that names the option and says what to do.
pub(crate) async fn open(
    settings: &Settings,
    group: &Group,
    shutdown: &Shutdown,
    metrics: &Metrics,
) -> anyhow::Result<Proxy> {
    for place in group.sources.iter().filter_map(Source::fixed) {
        check(&place.endpoint).await?;
    }
    let build = builder(settings, group, shutdown, metrics)?;
    let upstreams = Arc::new(Upstreams::new(group.upstreams.clone(), settings.process.concurrency, build));
    discover::start(&group.sources, &group.discover, &upstreams).await?;
    let failures = Failures::new(Arc::clone(&metrics.recent));
    Ok(Proxy::new(upstreams, group.timeout, failures).introducing(group.connect.introduce.is_some()))
}

/// Makes the upstreams of a group as they are found.
fn builder(settings: &Settings, group: &Group, shutdown: &Shutdown, metrics: &Metrics) -> anyhow::Result<Build> {
    let (concurrency, largest) = (settings.process.concurrency, settings.largest());
    let uses = |scheme| group.sources.iter().any(|source| source.scheme().is_none_or(|used| used == scheme));
    let https = if uses(Scheme::Https) { Some(tls::Client::new(&group.tls, true)?) } else { None };
    let teleports = if uses(Scheme::Teleports) { Some(tls::Client::new(&group.tls, false)?) } else { None };
    let (group, shutdown) = (group.clone(), shutdown.clone());
    let (interims, contexts) = (metrics.interims.clone(), metrics.contexts.clone());
    Ok(Box::new(move |place| {
        let (scheme, interims) = (place.endpoint.scheme, interims.clone());
        if scheme.is_teleport() {
            let tls = teleports.clone().filter(|_| scheme.is_tls());
            let contexts = contexts.clone();
            let upstream = TeleportUpstream::new(place, tls, &group, largest, concurrency, contexts, interims)?;
            return Ok(Upstream::Teleport(upstream));
        }
        let tls = https.clone().filter(|_| scheme.is_tls());
        let (count, max_head, patience) = (group.conns_per_addr, group.max_header_size, group.timeout);
        let upstream = HttpUpstream::new(place, tls, count, max_head, patience, shutdown.clone(), interims)?;
        Ok(Upstream::Http(Box::new(upstream.connecting(group.connect))))
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
            Ok(_) => {
                let why = "is not a socket; give the path the upstream listens on";
                return Err(Misfit::new(format!("--out {out}: {why}")).into());
            }
            Err(error) => bail!("--out {out}: {}; start the upstream first, or correct the path", plain(&error)),
        },
    }
    Ok(())
}
