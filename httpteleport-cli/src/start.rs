//! From settings to a running proxy, and to its end.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::sleep;

use crate::access_log::AccessLog;
use crate::admin::Admin;
use crate::config::{ConfigFile, Located, Settings};
use crate::handover::{Claim, Handover};
use crate::listen::{Given, inherited};
use crate::log;
use crate::metrics::recent::Recent;
use crate::misfit::Misfit;
use crate::notify;
use crate::open_files;
use crate::overlap::{self, Open};
use crate::reload::Reload;
use crate::running::Running;
use crate::shutdown::{PARTING, SHORT_PARTING, Shutdown};
use crate::signals::{Asked, Reopenings, Signals};
use crate::spans::Spans;
use crate::threads;

/// Runs the proxy until a signal ends it. With a file, it follows what that says; the settings stand in it as it was read.
///
/// # Errors
///
/// It could not start: one line that names the option and says what to do.
pub(crate) fn proxy(settings: Settings, file: Option<(ConfigFile, Box<Located>)>, asked: Asked) -> anyhow::Result<()> {
    let recent = Arc::<Recent>::default();
    log::start(settings.process.log, Arc::clone(&recent));
    // There is one thread as yet.
    let given = inherited()?;
    open_files::raise_limit();
    let runtime = threads::runtime(settings.process.threads)?;
    let result = runtime.block_on(run(settings, file, given, recent, asked));
    // What was cut off must not hold up the end.
    runtime.shutdown_background();
    result
}

async fn run(
    settings: Settings,
    file: Option<(ConfigFile, Box<Located>)>,
    given: Given,
    recent: Arc<Recent>,
    asked: Asked,
) -> anyhow::Result<()> {
    let mut signals = Signals::take()?;
    let (file, located) = file.unzip();
    let reload = Reload::new(file, &settings, asked.reload);
    let given = unless_twice(&settings, given, located.as_deref()).await?;
    let admin_gives_way = overlap::of_usual_admin(&settings, &given, located.as_deref()).await;
    let shutdown = Shutdown::new();
    let access_log = settings.process.access_log.as_ref().map(AccessLog::open).transpose()?;
    if let Some(log) = &access_log {
        tokio::spawn(reopen(Arc::clone(log), asked.reopen));
    }
    let spans = settings.process.otlp.as_ref().map(Spans::start).transpose()?;
    let patience = if given.is_empty() { Duration::ZERO } else { SHORT_PARTING };
    let said = located.as_deref().map(|located| (located, settings.clone()));
    if let Some(line) = &admin_gives_way {
        tracing::warn!("{line}");
    }
    let has_admin = admin_gives_way.is_none();
    let opened = open(settings, has_admin, given, recent, access_log.clone(), spans.clone(), &shutdown).await;
    let (mut running, admin, handover) = opened.map_err(|error| match said {
        Some((located, settings)) => in_the_words_of(located, &settings, &error),
        None => error,
    })?;
    running.serve();
    running.announce();
    running.tell_missing(located.as_deref());
    drop(located);
    open_files::tell_if_few(running.settings().process.concurrency);
    // Whoever waits for the end of the process wants to see it.
    let token = admin.as_ref().and_then(Admin::token);
    let admin = admin.map(|admin| {
        admin.announce(&running.settings().process);
        tokio::spawn(admin.serve())
    });
    notify::ready();

    let successor = tokio::select! {
        () = signals.next() => None,
        () = reload.follow(&mut running, token.as_deref()) => None,
        successor = taken_over(handover.as_ref()) => Some(successor),
    };
    notify::stopping();
    let drain = running.settings().process.drain;
    let successor = match successor {
        None if !drain.delay.is_zero() => serve_on(drain.delay, &shutdown, &mut signals, handover.as_ref()).await,
        other => other,
    };
    drop(handover);
    // Accepting ends as soon as draining begins; the requests that run get their time.
    running.let_go();
    match successor {
        None => {
            tracing::info!("draining; another signal ends at once");
            signals.end_at_next();
            shutdown.drain(patience, drain.timeout).await;
        }
        Some(successor) => {
            if let Some(admin) = admin {
                admin.abort();
            }
            tracing::info!("process {successor} has taken over; draining");
            tokio::select! {
                () = shutdown.drain(PARTING, drain.timeout) => {}
                () = signals.next() => {
                    signals.end_at_next();
                    shutdown.drain(Duration::ZERO, drain.timeout).await;
                }
            }
        }
    }
    running.sum_up();
    if let Some(spans) = spans {
        spans.flush().await;
    }
    if let Some(log) = access_log {
        log.flush();
    }
    Ok(())
}

/// What is given, unless something would be opened twice.
async fn unless_twice(settings: &Settings, given: Given, located: Option<&Located>) -> anyhow::Result<Given> {
    let open = Open { given, admin: Vec::new() };
    let faults = overlap::lines(settings, &open, located).await;
    match faults.into_iter().next() {
        Some(first) => Err(Misfit::new(first).into()),
        None => Ok(open.given),
    }
}

/// The error as a mistake in the file, if what it is about stands there.
fn in_the_words_of(file: &Located, settings: &Settings, error: &anyhow::Error) -> anyhow::Error {
    let line = file.located(settings, &format!("{error:#}"));
    if error.is::<Misfit>() { Misfit::new(line).into() } else { anyhow::Error::msg(line) }
}

/// Opens everything, the admin address if there is room for it, and takes over from the process before, if there is one. Nothing is accepted yet, and from here on nothing fails.
async fn open(
    settings: Settings,
    has_admin: bool,
    mut given: Given,
    recent: Arc<Recent>,
    access_log: Option<Arc<AccessLog>>,
    spans: Option<Arc<Spans>>,
    shutdown: &Shutdown,
) -> anyhow::Result<(Running, Option<Admin>, Option<Arc<Handover>>)> {
    given.all_named(&settings.addresses()).await?;
    let claim = match &settings.process.handover {
        Some(path) => Some(Claim::make(path, &mut given).await?),
        None => None,
    };
    let running = Running::open(settings, &mut given, recent, access_log, spans, shutdown).await?;
    let admin = match &running.settings().process.admin {
        Some(admin) if has_admin => Admin::open(admin, running.metrics(), &mut given).await?,
        _ => None,
    };
    if let Some(admin) = &admin {
        running.listening().add_admin(admin.sockets()).context("cannot share the admin address")?;
    }
    let handover = match claim {
        Some(claim) => Some(claim.settle(given, running.listening()).await?),
        None => None,
    };
    match running.set_modes() {
        // Another process may have given up its sockets for this one: too late to end.
        Err(error) if handover.is_some() => tracing::warn!("{error:#}"),
        outcome => outcome?,
    }
    Ok((running, admin, handover))
}

/// Serves on for a while in which whoever asks is told that the process ends, so that clients can go elsewhere. Another process may
/// take over meanwhile.
async fn serve_on(
    delay: Duration,
    shutdown: &Shutdown,
    signals: &mut Signals,
    handover: Option<&Arc<Handover>>,
) -> Option<i32> {
    tracing::info!("not ready any more, draining begins in {delay:?} (--drain-delay); another signal begins it now");
    shutdown.leave();
    tokio::select! {
        () = sleep(delay) => None,
        () = signals.next() => None,
        successor = taken_over(handover) => Some(successor),
    }
}

/// Opens the log anew whenever a signal asks for that.
async fn reopen(log: Arc<AccessLog>, mut signals: Reopenings) {
    loop {
        signals.next().await;
        log.reopen();
    }
}

/// Waits until another process has taken over, if one can.
async fn taken_over(handover: Option<&Arc<Handover>>) -> i32 {
    match handover {
        Some(handover) => handover.taken_over().await,
        None => pending().await,
    }
}
