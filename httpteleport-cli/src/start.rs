//! From settings to a running proxy, and to its end.

use std::io::{self, IsTerminal as _};

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{ConfigFile, Settings};
use crate::reload::Reload;
use crate::running::Running;
use crate::shutdown::{Shutdown, Signals};

/// Runs the proxy until a signal ends it. With a file, it follows what that says.
///
/// # Errors
///
/// It could not start: one line that names the option and says what to do.
pub(crate) fn proxy(settings: Settings, file: Option<ConfigFile>) -> anyhow::Result<()> {
    log_to_stderr(settings.process.log_all_errors);
    let runtime = runtime(settings.process.threads).context("cannot start threads")?;
    let result = runtime.block_on(run(settings, file));
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

async fn run(settings: Settings, file: Option<ConfigFile>) -> anyhow::Result<()> {
    let signals = Signals::take()?;
    let reload = Reload::new(file, &settings)?;
    let shutdown = Shutdown::new();
    let mut running = Running::open(settings, &shutdown).await?;
    running.serve();
    running.announce();

    tokio::select! {
        () = signals.first() => {}
        () = reload.follow(&mut running) => {}
    }
    tracing::info!("draining; a second signal ends at once");
    // Accepting ends as soon as draining begins; the requests that run get their time.
    running.let_go();
    shutdown.drain().await;
    running.sum_up();
    Ok(())
}
