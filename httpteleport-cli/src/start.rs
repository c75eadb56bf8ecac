//! From settings to a running proxy, and to its end.

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::sleep;

use crate::access_log::AccessLog;
use crate::admin::{Admin, TokenFile};
use crate::check;
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

/// The process that goes on with the sockets of this one.
#[derive(Clone, Copy)]
enum Heir {
    /// It serves.
    Serves(i32),
    /// It has them, and is not ready as yet: who connects waits for it.
    Starts(i32),
}

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
    let given = unless_twice(&settings, given, located.as_deref());
    let Some(given) = unless_ended(&mut signals, given).await else { return Ok(()) };
    let given = given?;
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
    let opened = open(settings, has_admin, given, recent, access_log.clone(), spans.clone(), &shutdown);
    let Some(opened) = unless_ended(&mut signals, opened).await else { return Ok(()) };
    // No signal comes between: a process that has the sockets of another one does not leave it in doubt.
    let settled = match opened {
        Ok(opened) => settle(opened).await,
        Err(error) => Err(error),
    };
    let (mut running, admin, handover) = match (settled, said) {
        (Ok(settled), _) => settled,
        (Err(error), Some((located, settings))) => return Err(in_the_words_of(located, &settings, &error).await),
        (Err(error), None) => return Err(error),
    };
    running.serve();
    running.announce();
    running.tell_missing(located.as_deref());
    drop(located);
    open_files::tell_if_few(running.settings().process.concurrency);
    // Whoever waits for the end of the process wants to see it.
    let token = admin.as_ref().and_then(Admin::token);
    let admin = admin.map(|admin| {
        admin.announce(&running.settings().process);
        tokio::spawn(admin.serve(Arc::clone(running.listening())))
    });
    notify::ready();

    let heir = serve(&mut running, reload, token.as_deref(), handover, &shutdown, &mut signals).await;
    // Accepting ends as soon as draining begins; the requests that run get their time.
    running.let_go();
    // Who asks at the admin address asks the process that goes on.
    if let Some(admin) = admin.filter(|_| heir.is_some()) {
        admin.abort();
    }
    drain(heir, patience, running.settings().process.drain.timeout, &shutdown, signals).await;
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
    match located {
        _ if faults.is_empty() => Ok(open.given),
        Some(file) => Err(with_all_else(faults, file, settings).await.into()),
        None => Err(Misfit::all(&faults).into()),
    }
}

/// Mistakes in the file, with all else that is wrong: who mends one of them sees the next one too.
async fn with_all_else(mut lines: Vec<String>, file: &Located, settings: &Settings) -> Misfit {
    let (faults, _) = check::look(settings, file).await;
    let mut all = file.told(faults);
    lines.retain(|line| !all.contains(line));
    lines.append(&mut all);
    Misfit::all(&lines)
}

/// The error as a mistake in the file, if what it is about stands there.
async fn in_the_words_of(file: &Located, settings: &Settings, error: &anyhow::Error) -> anyhow::Error {
    let line = file.located(settings, &format!("{error:#}"));
    if error.is::<Misfit>() { with_all_else(vec![line], file, settings).await.into() } else { anyhow::Error::msg(line) }
}

/// What comes of it, unless a signal ends the process before that.
async fn unless_ended<T>(signals: &mut Signals, what: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = what => Some(done),
        () = signals.next() => {
            tracing::info!("ended by a signal, before anything was served");
            None
        }
    }
}

/// Everything open, and the place of a process before this one not taken as yet.
struct Opened {
    running: Running,
    admin: Option<Admin>,
    claim: Option<Claim>,
    /// What nobody needs of what was given.
    left: Given,
}

/// Opens everything, the admin address if there is room for it. Nothing is accepted yet. Cancelled, it has changed nothing.
async fn open(
    settings: Settings,
    has_admin: bool,
    mut given: Given,
    recent: Arc<Recent>,
    access_log: Option<Arc<AccessLog>>,
    spans: Option<Arc<Spans>>,
    shutdown: &Shutdown,
) -> anyhow::Result<Opened> {
    given.all_named(&settings.addresses()).await?;
    let claim = match &settings.process.handover {
        Some(path) => Some(Claim::make(path, &mut given).await?),
        None => None,
    };
    let running = Running::open(settings, &mut given, recent, access_log, spans, shutdown).await?;
    let admin = match &running.settings().process.admin {
        Some(admin) if has_admin => Some(Admin::open(admin, running.metrics(), &mut given).await?),
        _ => None,
    };
    if let Some(admin) = &admin {
        running.listening().add_admin(admin.sockets()).context("cannot share the admin address")?;
    }
    Ok(Opened { running, admin, claim, left: given })
}

/// Takes over from the process before, if there is one. From here on nothing fails.
async fn settle(opened: Opened) -> anyhow::Result<(Running, Option<Admin>, Option<Arc<Handover>>)> {
    let Opened { running, admin, claim, left } = opened;
    let handover = match claim {
        Some(claim) => Some(claim.settle(left, running.listening()).await?),
        None => None,
    };
    match running.set_modes() {
        // Another process may have given up its sockets for this one: too late to end.
        Err(error) if handover.is_some() => tracing::warn!("{error:#}"),
        outcome => outcome?,
    }
    Ok((running, admin, handover))
}

/// Serves, as the files say that change, until the process is asked to end, or another one has taken over. Tells which one goes on.
async fn serve(
    running: &mut Running,
    reload: Reload,
    token: Option<&TokenFile>,
    handover: Option<Arc<Handover>>,
    shutdown: &Shutdown,
    signals: &mut Signals,
) -> Option<Heir> {
    let mut taken_over = pin!(taken_over(handover.clone()));
    let successor = tokio::select! {
        () = signals.next() => None,
        () = reload.follow(running, token) => None,
        successor = &mut taken_over => successor,
    };
    notify::stopping();
    let delay = running.settings().process.drain.delay;
    let successor = match successor {
        None if !delay.is_zero() => serve_on(delay, shutdown, signals, taken_over.as_mut()).await,
        other => other,
    };
    match (successor, handover) {
        (Some(successor), _) => Some(Heir::Serves(successor)),
        (None, Some(handover)) => {
            handover.leave();
            taken_over.await.map(Heir::Starts)
        }
        (None, None) => None,
    }
}

/// Finishes what runs. Where another process goes on, clients may say one more thing.
async fn drain(heir: Option<Heir>, patience: Duration, longest: Duration, shutdown: &Shutdown, mut signals: Signals) {
    let patience = match heir {
        Some(Heir::Serves(successor)) => {
            tracing::info!("process {successor} has taken over; draining");
            tokio::select! {
                () = shutdown.drain(PARTING, longest) => return,
                () = signals.next() => Duration::ZERO,
            }
        }
        Some(Heir::Starts(successor)) => {
            tracing::info!(
                "process {successor} still starts, and has the sockets to itself; draining; another signal ends at once"
            );
            SHORT_PARTING
        }
        None => {
            tracing::info!("draining; another signal ends at once");
            patience
        }
    };
    signals.end_at_next();
    shutdown.drain(patience, longest).await;
}

/// Serves on for a while in which whoever asks is told that the process ends, so that clients can go elsewhere. Another process may
/// take over meanwhile.
async fn serve_on(
    delay: Duration,
    shutdown: &Shutdown,
    signals: &mut Signals,
    taken_over: Pin<&mut impl Future<Output = Option<i32>>>,
) -> Option<i32> {
    tracing::info!("not ready any more, draining begins in {delay:?} (--drain-delay); another signal begins it now");
    shutdown.leave();
    tokio::select! {
        () = sleep(delay) => None,
        () = signals.next() => None,
        successor = taken_over => successor,
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
async fn taken_over(handover: Option<Arc<Handover>>) -> Option<i32> {
    match handover {
        Some(handover) => handover.taken_over().await,
        None => pending().await,
    }
}
