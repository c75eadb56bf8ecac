//! From settings to a running proxy, and to its end.

use std::sync::Arc;
use std::time::Duration;

use crate::access_log::AccessLog;
use crate::admin::Admin;
use crate::config::{ConfigFile, Settings};
use crate::listen::{Given, inherited};
use crate::log;
use crate::metrics::recent::Recent;
use crate::notify;
use crate::open_files;
use crate::reload::Reload;
use crate::running::Running;
use crate::shutdown::{Reopenings, SHORT_PARTING, Shutdown, Signals};
use crate::threads;

/// Runs the proxy until a signal ends it. With a file, it follows what that says.
///
/// # Errors
///
/// It could not start: one line that names the option and says what to do.
pub(crate) fn proxy(settings: Settings, file: Option<ConfigFile>) -> anyhow::Result<()> {
    let recent = Arc::<Recent>::default();
    log::start(settings.process.log, Arc::clone(&recent));
    // There is one thread as yet.
    let given = inherited()?;
    open_files::raise_limit();
    let runtime = threads::runtime(settings.process.threads)?;
    let result = runtime.block_on(run(settings, file, given, recent));
    // What was cut off must not hold up the end.
    runtime.shutdown_background();
    result
}

async fn run(
    settings: Settings,
    file: Option<ConfigFile>,
    mut given: Given,
    recent: Arc<Recent>,
) -> anyhow::Result<()> {
    let signals = Signals::take()?;
    let reload = Reload::new(file, &settings)?;
    let shutdown = Shutdown::new();
    let access_log = settings.process.access_log.as_ref().map(AccessLog::open).transpose()?;
    if let Some(log) = &access_log {
        tokio::spawn(reopen(Arc::clone(log), Reopenings::take()?));
    }
    let patience = if given.is_empty() { Duration::ZERO } else { SHORT_PARTING };
    given.all_named(&settings.addresses()).await?;
    let mut running = Running::open(settings, &mut given, recent, access_log.clone(), &shutdown).await?;
    let admin = match &running.settings().process.admin {
        Some(admin) => Admin::open(admin, running.metrics(), &mut given).await?,
        None => None,
    };
    running.set_modes()?;
    running.serve();
    running.announce();
    if let Some(admin) = admin {
        admin.announce();
        // Whoever waits for the end of the process wants to see it.
        tokio::spawn(admin.serve());
    }
    notify::ready();

    tokio::select! {
        () = signals.first() => {}
        () = reload.follow(&mut running) => {}
    }
    tracing::info!("draining; a second signal ends at once");
    notify::stopping();
    // Accepting ends as soon as draining begins; the requests that run get their time.
    running.let_go();
    shutdown.drain(patience).await;
    running.sum_up();
    if let Some(log) = access_log {
        log.flush();
    }
    Ok(())
}

/// Opens the log anew whenever a signal asks for that.
async fn reopen(log: Arc<AccessLog>, mut signals: Reopenings) {
    loop {
        signals.next().await;
        log.reopen();
    }
}
