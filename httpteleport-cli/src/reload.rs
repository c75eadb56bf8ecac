//! Follows the file of settings, those of certificates and that of the admin token: reads them again when they have changed, and when
//! SIGHUP asks for that.

use std::collections::HashMap;
use std::fs;
use std::future::pending;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use crate::admin::TokenFile;
use crate::config::{ConfigFile, Settings};
use crate::notify;
use crate::overlap;
use crate::running::Running;
use crate::signals::Hangups;

/// Between two looks at the files.
const PACE: Duration = Duration::from_secs(1);

/// Files, and what they were when they were last read.
pub(crate) struct Reload {
    settings: Option<ConfigFile>,
    hangups: Hangups,
    read: HashMap<PathBuf, Stamp>,
}

/// Why files are read again.
#[derive(Clone, Copy)]
enum Reason {
    Changed,
    Asked,
}

/// What tells a file from another that was there before.
type Stamp = (u64, u64, SystemTime);

impl Reload {
    /// Follows a file of settings that was read already, if there is one, and the files that these settings name.
    pub(crate) fn new(file: Option<ConfigFile>, settings: &Settings, hangups: Hangups) -> Reload {
        let mut reload = Reload { settings: file, hangups, read: HashMap::new() };
        reload.know(&reload.files(settings));
        reload
    }

    /// Applies what the files say, whenever that has changed or somebody asks for it. Never ends.
    pub(crate) async fn follow(mut self, running: &mut Running, token: Option<&TokenFile>) {
        loop {
            let files = self.files(running.settings());
            self.know(&files);
            let reason = self.next(&files).await;
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
                None => read_certificates(running, reason).await,
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

    /// Takes those that are new among them as read.
    fn know(&mut self, files: &[PathBuf]) {
        self.read.retain(|known, _| files.contains(known));
        for file in files {
            if let Some(stamp) = stamp(file).filter(|_| !self.read.contains_key(file)) {
                self.read.insert(file.clone(), stamp);
            }
        }
    }

    /// Waits for SIGHUP, or until the files are others than those that were read, and nobody writes them any more.
    async fn next(&mut self, files: &[PathBuf]) -> Reason {
        let mut seen = self.read.clone();
        let reason = loop {
            let pause = async {
                if files.is_empty() {
                    pending::<()>().await;
                }
                sleep(PACE).await;
            };
            tokio::select! {
                () = self.hangups.next() => break Reason::Asked,
                () = pause => {}
            }
            let now = stamps(files);
            // A file that is not there is about to be, or a mistake that is told when somebody asks for it.
            let whole = files.iter().all(|file| now.contains_key(file));
            if whole && now != self.read && now == seen {
                break Reason::Changed;
            }
            seen = now;
        };
        self.read = stamps(files);
        reason
    }
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
    tracing::info!("{path}: applied: {summary}");
    true
}

/// Does as was said at the start, with the certificates as they are now. Tells whether they are of use.
async fn read_certificates(running: &mut Running, reason: Reason) -> bool {
    let what = match reason {
        Reason::Changed => "certificates or tokens have changed and",
        Reason::Asked => "SIGHUP: certificates and tokens",
    };
    let changed = running.change(running.settings().clone()).await;
    match &changed {
        Ok(()) => {
            running.tell_missing(None);
            tracing::info!("{what} were read again");
        }
        Err(error) => {
            tracing::warn!("{error:#}");
            tracing::warn!("{what} are not applied; those of before hold");
        }
    }
    changed.is_ok()
}

fn stamps(files: &[PathBuf]) -> HashMap<PathBuf, Stamp> {
    files.iter().filter_map(|file| Some((file.clone(), stamp(file)?))).collect()
}

fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
}
