//! Follows the file of settings, those of certificates and that of the admin token: reads them again when they have changed, and when
//! SIGHUP asks for that. One that is gone is told.

use std::fs;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use self::looks::{Looks, News, stamps};
use crate::admin::TokenFile;
use crate::config::{ConfigFile, Settings};
use crate::notify;
use crate::outbound::plain;
use crate::overlap;
use crate::running::Running;
use crate::signals::Hangups;

mod looks;

/// Between two looks at the files.
const PACE: Duration = Duration::from_secs(1);

/// Files, and what they were when they were last read.
pub(crate) struct Reload {
    settings: Option<ConfigFile>,
    hangups: Hangups,
    looks: Looks,
}

/// Why files are read again.
#[derive(Clone, Copy)]
enum Reason {
    Changed,
    Asked,
}

impl Reload {
    /// Follows a file of settings that was read already, if there is one, and the files that these settings name.
    pub(crate) fn new(file: Option<ConfigFile>, settings: &Settings, hangups: Hangups) -> Reload {
        let mut reload = Reload { settings: file, hangups, looks: Looks::default() };
        reload.looks.follow(&reload.files(settings));
        reload
    }

    /// Applies what the files say, whenever that has changed or somebody asks for it. Never ends.
    pub(crate) async fn follow(mut self, running: &mut Running, token: Option<&TokenFile>) {
        loop {
            let files = self.files(running.settings());
            self.looks.follow(&files);
            let reason = match self.next(&files).await {
                Ok(reason) => reason,
                Err(gone) => {
                    gone.iter().for_each(|file| tell_gone(file));
                    running.metrics().reloads.note(false);
                    continue;
                }
            };
            self.looks.read(&files);
            let listening = Arc::clone(running.listening());
            let _steady = match listening.try_steady() {
                Some(steady) => steady,
                None => {
                    tracing::info!("settings are read again when the process that has the sockets has not taken over");
                    listening.steady().await
                }
            };
            notify::reloading();
            let has_token = token.is_none_or(read_token);
            let applied = match &self.settings {
                Some(file) => apply(file, running).await,
                None => read_certificates(running, reason, has_token).await,
            };
            running.metrics().reloads.note(has_token && applied);
            notify::ready();
        }
    }

    fn files(&self, settings: &Settings) -> Vec<PathBuf> {
        let own = self.settings.iter().map(|file| file.path.as_path());
        let token = settings.process.admin.iter().filter_map(|admin| admin.token_file.as_deref());
        own.chain(settings.tls_files()).chain(token).map(Path::to_owned).collect()
    }

    /// Waits for a reason to read the files.
    ///
    /// # Errors
    ///
    /// Files that are gone.
    async fn next(&mut self, files: &[PathBuf]) -> Result<Reason, Vec<PathBuf>> {
        loop {
            let pause = async {
                if files.is_empty() {
                    pending::<()>().await;
                }
                sleep(PACE).await;
            };
            tokio::select! {
                () = self.hangups.next() => return Ok(Reason::Asked),
                () = pause => {}
            }
            match self.looks.look(files, stamps(files)) {
                Some(News::Changed) => return Ok(Reason::Changed),
                Some(News::Gone(files)) => return Err(files),
                None => {}
            }
        }
    }
}

fn tell_gone(file: &Path) {
    let why = fs::metadata(file).map_or_else(|error| plain(&error), |_| "it was not there".to_owned());
    tracing::warn!("{}: cannot read the file: {why}; what it said holds until it is back", file.display());
}

/// Asks for the token that is in the file now, if that is one. Tells whether it is.
fn read_token(token: &TokenFile) -> bool {
    let read = token.read_again();
    if let Err(error) = &read {
        tracing::warn!("{error:#}; the token of before holds");
    }
    read.is_ok()
}

/// Does as the file says now, if that makes sense. Tells whether it does.
async fn apply(file: &ConfigFile, running: &mut Running) -> bool {
    let path = file.path.display();
    let not_applied = |mistakes: Vec<String>| {
        for line in mistakes {
            tracing::warn!("{line}");
        }
        tracing::warn!("{path}: not applied; what was said before holds");
        false
    };
    let (mut settings, located) = match file.load() {
        Ok(loaded) => loaded,
        Err(mistakes) => return not_applied(mistakes),
    };
    let process = &running.settings().process;
    if settings.process != *process {
        tracing::warn!(
            "{path}: concurrency, threads, memory of compression, the admin address, logs, spans, the handover and draining change with a restart alone"
        );
        settings.process = process.clone();
    }
    let overlaps = overlap::lines(&settings, &running.listening().places(), Some(&located)).await;
    if !overlaps.is_empty() {
        return not_applied(overlaps);
    }
    let summary = settings.summary();
    if let Err(error) = running.change(settings.clone()).await {
        return not_applied(vec![located.located(&settings, &format!("{error:#}"))]);
    }
    running.serve();
    running.announce();
    running.tell_missing(Some(&located));
    running.tell_moved(Some(&located)).await;
    tracing::info!("{path}: applied: {summary}");
    true
}

/// Does as was said at the start, with the certificates as they are now. Tells whether they are of use. A token that is of none was told.
async fn read_certificates(running: &mut Running, reason: Reason, has_token: bool) -> bool {
    let what = match (reason, has_token) {
        (Reason::Changed, true) => "certificates or tokens have changed and",
        (Reason::Asked, true) => "SIGHUP: certificates and tokens",
        (Reason::Changed, false) => "certificates",
        (Reason::Asked, false) => "SIGHUP: certificates",
    };
    let changed = running.change(running.settings().clone()).await;
    match &changed {
        Ok(()) => {
            running.tell_missing(None);
            running.tell_moved(None).await;
            tracing::info!("{what} were read again");
        }
        Err(error) => {
            tracing::warn!("{error:#}");
            tracing::warn!("{what} are not applied; those of before hold");
        }
    }
    changed.is_ok()
}
