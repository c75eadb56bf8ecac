//! From the settings of a group to its upstreams.

use std::os::unix::fs::FileTypeExt as _;
use std::sync::Arc;

use crate::config::{Group, Settings};
use crate::discover::{Known, Search, Source, To};
use crate::endpoint::{Address, Endpoint, Scheme};
use crate::metrics::Metrics;
use crate::metrics::failures::Failures;
use crate::misfit::Misfit;
use crate::outbound::{Build, HttpUpstream, TeleportUpstream, Upstream, Upstreams, plain};
use crate::proxy::Proxy;
use crate::shutdown::Shutdown;
use crate::tls;

/// A group whose upstreams are about to be looked for.
pub(crate) struct Made {
    pub(crate) proxy: Proxy,
    pub(crate) search: Search,
    /// What is not there yet, each a line that begins with `--out`.
    pub(crate) missing: Vec<String>,
}

/// Makes a group. Nothing is looked up or connected to yet; `known` is what a group before it has found.
///
/// # Errors
///
/// One line that names the option and says what to do.
pub(crate) fn make(
    settings: &Settings,
    group: &Group,
    known: &Known,
    shutdown: &Shutdown,
    metrics: &Metrics,
) -> anyhow::Result<Made> {
    let sockets = group.sources.iter().filter_map(|source| missing_socket(source).transpose());
    let missing = sockets.collect::<anyhow::Result<_>>()?;
    let build = builder(settings, group, shutdown, metrics)?;
    let upstreams = Arc::new(Upstreams::new(group.upstreams.clone(), settings.process.concurrency, build));
    let search = Search::new(&group.sources, &group.discover, known, &upstreams)?;
    let failures = Failures::new(&group.name, Arc::clone(&metrics.recent));
    let proxy = Proxy::new(upstreams, group.timeout, failures).introducing(group.connect.introduce.is_some());
    Ok(Made { proxy, search, missing })
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

/// Says in a line that begins with `--out` that the unix socket of a source is not there, if it is one.
///
/// # Errors
///
/// Something else is there.
fn missing_socket(source: &Source) -> anyhow::Result<Option<String>> {
    let To::Host(Endpoint { address: Address::Unix(path), .. }) = &source.to else { return Ok(None) };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => Ok(None),
        Ok(_) => {
            let why = "is not a socket; give the path the upstream listens on";
            Err(Misfit::new(format!("--out {source}: {why}")).into())
        }
        Err(error) => Ok(Some(format!("--out {source}: {}; start the upstream, or correct the path", plain(&error)))),
    }
}
