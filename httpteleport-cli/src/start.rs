//! From settings to a running proxy, and to its end.

use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::net::lookup_host;
use tokio::runtime::{Builder, Runtime};

use crate::compress::Compress;
use crate::config::Settings;
use crate::endpoint::{Address, Endpoint, Scheme};
use crate::inbound::{self, Inputs};
use crate::interims::Interims;
use crate::listen::Listener;
use crate::outbound::{HttpUpstream, TeleportUpstream, Upstream, plain};
use crate::proxy::Proxy;
use crate::shutdown::{Shutdown, Signals};
use crate::tls;

/// Runs the proxy until a signal ends it.
///
/// # Errors
///
/// It could not start: one line that names the option and says what to do.
pub(crate) fn proxy(settings: &Settings) -> anyhow::Result<()> {
    log_to_stderr();
    let runtime = runtime(settings.threads).context("cannot start threads")?;
    let result = runtime.block_on(run(settings));
    // What was cut off must not hold up the end.
    runtime.shutdown_background();
    result
}

/// One thread needs none of what several need to share work, and is the faster for it.
fn runtime(threads: Option<usize>) -> io::Result<Runtime> {
    let mut builder = match threads {
        Some(1) => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    builder.enable_all().build()
}

fn log_to_stderr() {
    let colours = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().compact().with_target(false).with_ansi(colours).with_writer(io::stderr);
    // Somebody else's log is as good.
    let _ = log.try_init();
}

async fn run(settings: &Settings) -> anyhow::Result<()> {
    let signals = Signals::take()?;
    let shutdown = Shutdown::new();
    let inputs = open(settings, shutdown.clone()).await?;
    announce(&inputs.listener, settings);
    let proxy = Arc::clone(&inputs.proxy);

    let mut serving = pin!(inbound::serve(inputs));
    tokio::select! {
        () = signals.first() => tracing::info!("draining; a second signal ends at once"),
        ended = &mut serving => return ended,
    }
    // Accepting ends as soon as draining begins; the requests that run get their time.
    let ((), ended) = tokio::join!(shutdown.drain(), serving);
    if proxy.interims() > 0 {
        tracing::info!("{} interim replies of upstreams ended here", proxy.interims());
    }
    ended
}

/// Makes everything that the settings ask for and opens the port; nothing is accepted yet.
///
/// # Errors
///
/// One line that names the option and says what to do.
pub(crate) async fn open(settings: &Settings, shutdown: Shutdown) -> anyhow::Result<Inputs<'_>> {
    let interims = Interims::default();
    let proxy = Arc::new(Proxy::new(
        settings.input.endpoint.scheme.name(),
        upstreams(settings, &shutdown, &interims).await?,
        interims,
        settings.output.timeout,
        settings.concurrency,
    ));
    let tls = match &settings.input.tls {
        Some(files) => Some(tls::server_config(files, settings.input.endpoint.scheme == Scheme::Https)?),
        None => None,
    };
    let listener = Listener::bind(&settings.input.endpoint).await?;
    Ok(Inputs { listener, tls, settings, proxy, shutdown })
}

/// The upstreams of `--out`, each checked as far as that is possible without talking to it.
async fn upstreams(
    settings: &Settings,
    shutdown: &Shutdown,
    interims: &Interims,
) -> anyhow::Result<Vec<(String, Upstream)>> {
    let Settings { output, concurrency, .. } = settings;
    let uses = |scheme| output.endpoints.iter().any(|out| out.scheme == scheme);
    let https = if uses(Scheme::Https) { Some(tls::client_config(output.ca.as_deref(), true)?) } else { None };
    let teleports = if uses(Scheme::Teleports) { Some(tls::client_config(output.ca.as_deref(), false)?) } else { None };
    let share = concurrency.div_ceil(output.endpoints.len());
    let mut upstreams = Vec::with_capacity(output.endpoints.len());
    for out in &output.endpoints {
        check_upstream(out).await?;
        let upstream = if out.scheme.is_teleport() {
            Upstream::Teleport(TeleportUpstream::new(out, teleports.clone(), settings, interims.clone())?)
        } else {
            let tls = https.clone().filter(|_| out.scheme.is_tls());
            Upstream::Http(HttpUpstream::new(
                out,
                tls,
                share,
                output.max_header_size,
                output.timeout,
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

/// Says what runs, in one line on stdout, now that the port is open.
fn announce(listener: &Listener, settings: &Settings) {
    let Settings { input, output, .. } = settings;
    let wire = settings.teleport.wire;
    let coded = |scheme: Scheme, how: Compress| {
        if scheme.is_teleport() { format!(" ({})", how.on(wire)) } else { String::new() }
    };
    let from = listener.describe(&input.endpoint) + &coded(input.endpoint.scheme, input.compress);
    let to: Vec<_> =
        output.endpoints.iter().map(|out| format!("{out}{}", coded(out.scheme, output.compress))).collect();
    // Nobody may be reading, which is no reason to stop.
    let _ = writeln!(io::stdout(), "httptp: {from} -> {}", to.join(", "));
    for line in &settings.idle_options {
        tracing::warn!("{line}");
    }
}
