//! From the settings of a group to its upstreams.

use std::os::unix::fs::FileTypeExt as _;

use anyhow::bail;
use tokio::net::lookup_host;

use crate::config::{Group, Settings};
use crate::endpoint::{Address, Endpoint, Scheme};
use crate::interims::Interims;
use crate::outbound::{HttpUpstream, TeleportUpstream, Upstream, plain};
use crate::proxy::Proxy;
use crate::shutdown::Shutdown;
use crate::tls;

/// Makes a group. Nothing is connected to yet.
///
/// # Errors
///
/// One line that names the option and says what to do.
pub(crate) async fn open(
    settings: &Settings,
    group: &Group,
    shutdown: &Shutdown,
    interims: &Interims,
) -> anyhow::Result<Proxy> {
    Ok(Proxy::new(upstreams(settings, group, shutdown, interims).await?, group.timeout))
}

/// The upstreams of a group, each checked as far as that is possible without talking to it.
async fn upstreams(
    settings: &Settings,
    group: &Group,
    shutdown: &Shutdown,
    interims: &Interims,
) -> anyhow::Result<Vec<(String, Upstream)>> {
    let (concurrency, largest) = (settings.process.concurrency, settings.largest());
    let uses = |scheme| group.endpoints.iter().any(|out| out.scheme == scheme);
    let https = if uses(Scheme::Https) { Some(tls::client_config(group.ca.as_deref(), true)?) } else { None };
    let teleports = if uses(Scheme::Teleports) { Some(tls::client_config(group.ca.as_deref(), false)?) } else { None };
    let share = concurrency.div_ceil(group.endpoints.len());
    let mut upstreams = Vec::with_capacity(group.endpoints.len());
    for out in &group.endpoints {
        check_upstream(out).await?;
        let upstream = if out.scheme.is_teleport() {
            let (tls, interims) = (teleports.clone(), interims.clone());
            Upstream::Teleport(TeleportUpstream::new(out, tls, group, largest, concurrency, interims)?)
        } else {
            let tls = https.clone().filter(|_| out.scheme.is_tls());
            Upstream::Http(HttpUpstream::new(
                out,
                tls,
                share,
                group.max_header_size,
                group.timeout,
                shutdown.clone(),
                interims.clone(),
            )?)
        };
        upstreams.push((out.to_string(), upstream));
    }
    Ok(upstreams)
}

/// A name that does not resolve or a socket that is not there is told at once, not by the first request.
async fn check_upstream(out: &Endpoint) -> anyhow::Result<()> {
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
