//! From settings to a running proxy, and to its end.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use anyhow::Context;
use httpteleport::Wire;
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::admin::Admin;
use crate::balance::Slots;
use crate::compress::Compress;
use crate::config::Settings;
use crate::counters::Counters;
use crate::endpoint::Scheme;
use crate::inbound::{Input, Parts};
use crate::interims::Interims;
use crate::listen::Listener;
use crate::metrics::failures::Failures;
use crate::metrics::recent::Recent;
use crate::metrics::{GroupSource, InputSource, Metrics};
use crate::outbound::{Surroundings, Upstreams};
use crate::proxy::Proxy;
use crate::router::Router;
use crate::shutdown::{Shutdown, Signals};
use crate::tls;

/// Runs the proxy until a signal ends it.
///
/// # Errors
///
/// It could not start: one line that names the option and says what to do.
pub(crate) fn proxy(settings: &Settings) -> anyhow::Result<()> {
    log_to_stderr(settings.process.log_all_errors);
    let runtime = runtime(settings.process.threads).context("cannot start threads")?;
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

/// Errors that are the operator's to mend are warnings; what any client can cause is said below that.
fn log_to_stderr(all_errors: bool) {
    let colours = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().compact().with_target(false).with_ansi(colours).with_writer(io::stderr);
    let own = if all_errors { LevelFilter::DEBUG } else { LevelFilter::INFO };
    let ours = Targets::new().with_default(LevelFilter::INFO).with_target(env!("CARGO_CRATE_NAME"), own);
    // Somebody else's log is as good.
    let _ = log.with_max_level(own).finish().with(ours).try_init();
}

async fn run(settings: &Settings) -> anyhow::Result<()> {
    let signals = Signals::take()?;
    let shutdown = Shutdown::new();
    let Opened { inputs, metrics } = open(settings, &shutdown).await?;
    let admin = match &settings.process.admin {
        Some(admin) => Admin::open(admin, &metrics).await?,
        None => None,
    };
    announce(&inputs, settings);
    if let Some(admin) = admin {
        admin.announce();
        // Whoever waits for the end of the process wants to see it.
        tokio::spawn(admin.serve());
    }

    let serving: Vec<_> = inputs.into_iter().map(|input| tokio::spawn(input.serve())).collect();
    signals.first().await;
    tracing::info!("draining; a second signal ends at once");
    // Accepting ends as soon as draining begins; the requests that run get their time.
    shutdown.drain().await;
    for ended in serving {
        ended.await.context("an input broke down")?;
    }
    tell_the_end(&metrics);
    Ok(())
}

/// What went otherwise than it should.
fn tell_the_end(metrics: &Metrics) {
    tracing::info!("connections and refusals: {}", metrics.counters);
    let seen = metrics.seen();
    if seen.interims > 0 {
        tracing::info!("{} interim replies of upstreams ended here", seen.interims);
    }
    for upstream in seen.upstreams().filter(|upstream| upstream.failures > 0) {
        tracing::info!("{upstream}");
    }
}

/// All that the settings ask for, ready to serve.
pub(crate) struct Opened {
    /// In the order of the settings, their ports open; nothing is accepted yet.
    pub(crate) inputs: Vec<Input>,
    /// What all of it counts; its groups are in the order of the settings.
    pub(crate) metrics: Arc<Metrics>,
}

/// Makes everything that the settings ask for and opens the ports.
///
/// # Errors
///
/// One line that names the option and says what to do.
pub(crate) async fn open(settings: &Settings, shutdown: &Shutdown) -> anyhow::Result<Opened> {
    let (interims, recent) = (Interims::default(), Arc::<Recent>::default());
    let mut groups = Vec::with_capacity(settings.groups.len());
    let around = Surroundings {
        concurrency: settings.process.concurrency,
        largest: settings.largest(),
        interims: interims.clone(),
        shutdown: shutdown.clone(),
    };
    for group in &settings.groups {
        let upstreams = Upstreams::open(group, &around).await?;
        groups.push(Arc::new(Proxy::new(upstreams, group.timeout, Failures::new(Arc::clone(&recent)))));
    }
    let counters = Arc::<Counters>::default();
    let slots = Arc::new(Slots::new(settings.process.concurrency));
    let (mut inputs, mut sources) = (Vec::new(), Vec::new());
    for (index, listener) in settings.listeners.iter().enumerate() {
        let tls = match &listener.tls {
            Some(identity) => Some(tls::server_config(identity, listener.endpoint.scheme == Scheme::Https)?),
            None => None,
        };
        let parts = Parts {
            listener: Listener::bind(&listener.endpoint, listener.reuse_port).await?,
            tls,
            router: Router::new(index, &settings.routes, &groups, Arc::clone(&slots)),
            concurrency: settings.process.concurrency,
            largest: settings.largest(),
            counters: Arc::clone(&counters),
            traffic: Arc::default(),
            shutdown: shutdown.clone(),
        };
        let traffic = Arc::clone(&parts.traffic);
        let input = Input::new(listener, parts)?;
        let name = input.listener().describe(&listener.endpoint);
        sources.push(InputSource { name, traffic, server: input.server() });
        inputs.push(input);
    }
    let named = settings.groups.iter().map(|group| group.name.clone()).zip(groups);
    let groups = named.map(|(name, proxy)| GroupSource { name, proxy }).collect();
    let started = SystemTime::now();
    let (shutdown, go_reads) = (shutdown.clone(), AtomicU64::new(0));
    let metrics = Metrics { started, inputs: sources, groups, slots, interims, counters, recent, shutdown, go_reads };
    Ok(Opened { inputs, metrics: Arc::new(metrics) })
}

/// Says what runs, in a line for each input on stdout, now that the ports are open.
fn announce(inputs: &[Input], settings: &Settings) {
    let coded = |scheme: Scheme, how: Compress, wire: Wire| {
        if scheme.is_teleport() { format!(" ({})", how.on(wire)) } else { String::new() }
    };
    for (index, (input, listener)) in inputs.iter().zip(&settings.listeners).enumerate() {
        let (endpoint, wire) = (&listener.endpoint, listener.teleport.wire);
        let from = input.listener().describe(endpoint) + &coded(endpoint.scheme, listener.compress, wire);
        let ways = settings.ways(index);
        let to: Vec<_> = ways
            .map(|(group, out)| format!("{out}{}", coded(out.scheme, group.compress, group.teleport.wire)))
            .collect();
        // Nobody may be reading, which is no reason to stop.
        let _ = writeln!(io::stdout(), "httptp: {from} -> {}", to.join(", "));
    }
    for line in &settings.idle_options {
        tracing::warn!("{line}");
    }
}
