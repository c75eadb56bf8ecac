//! Follows the file of settings, and those of certificates: reads them again when they have changed, and when SIGHUP asks for that.

use std::collections::HashMap;
use std::fs;
use std::future::pending;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use crate::config::{ConfigFile, Settings};
use crate::notify;
use crate::overlap;
use crate::running::Running;
use crate::shutdown::Hangups;

/// Between two looks at the files.
const PACE: Duration = Duration::from_secs(1);

/// Files, and what they were when they were last read.
pub(crate) struct Reload {
    settings: Option<Follow>,
    read: HashMap<PathBuf, Stamp>,
}

/// A file of settings, and who asks to read it.
struct Follow {
    file: ConfigFile,
    hangups: Hangups,
}

/// What tells a file from another that was there before.
type Stamp = (u64, u64, SystemTime);

impl Reload {
    /// Follows a file of settings that was read already, if there is one, and the files of certificates that these settings name.
    ///
    /// # Errors
    ///
    /// The system gives no signal handler.
    pub(crate) fn new(file: Option<ConfigFile>, settings: &Settings) -> anyhow::Result<Reload> {
        // Without a file SIGHUP means what it means to every program.
        let follow = file.map(|file| Ok::<_, anyhow::Error>(Follow { file, hangups: Hangups::take()? })).transpose()?;
        let mut reload = Reload { settings: follow, read: HashMap::new() };
        reload.know(&reload.files(settings));
        Ok(reload)
    }

    /// Applies what the files say, whenever that has changed. Never ends.
    pub(crate) async fn follow(mut self, running: &mut Running) {
        loop {
            let files = self.files(running.settings());
            if files.is_empty() {
                return pending().await;
            }
            self.know(&files);
            self.changed(&files).await;
            let listening = Arc::clone(running.listening());
            let _steady = match listening.try_steady() {
                Some(steady) => steady,
                None => {
                    tracing::info!("settings are read again when the process that has the sockets has not taken over");
                    listening.steady().await
                }
            };
            notify::reloading();
            match &self.settings {
                Some(follow) => apply(&follow.file, running).await,
                None => read_certificates(running).await,
            }
            notify::ready();
        }
    }

    fn files(&self, settings: &Settings) -> Vec<PathBuf> {
        let own = self.settings.iter().map(|follow| follow.file.path.as_path());
        own.chain(settings.tls_files()).map(Path::to_owned).collect()
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
    async fn changed(&mut self, files: &[PathBuf]) {
        let mut seen = self.read.clone();
        loop {
            let hangup = async {
                match &mut self.settings {
                    Some(follow) => follow.hangups.next().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = hangup => break,
                () = sleep(PACE) => {}
            }
            let now = stamps(files);
            // A file that is not there is about to be, or a mistake that is told when somebody asks for it.
            let whole = files.iter().all(|file| now.contains_key(file));
            if whole && now != self.read && now == seen {
                break;
            }
            seen = now;
        }
        self.read = stamps(files);
    }
}

async fn apply(file: &ConfigFile, running: &mut Running) {
    let path = file.path.display();
    let not_applied = |mistakes: Vec<String>| {
        for line in mistakes {
            tracing::warn!("{line}");
        }
        tracing::warn!("{path}: not applied; what was said before holds");
    };
    let (mut settings, located) = match file.load() {
        Ok(loaded) => loaded,
        Err(mistakes) => return not_applied(mistakes),
    };
    let process = &running.settings().process;
    if settings.process != *process {
        tracing::warn!(
            "{path}: concurrency, threads, the admin address, logs, spans and the handover change with a restart alone"
        );
        settings.process = process.clone();
    }
    let overlaps = overlap::lines(&settings, &running.listening().places(), Some(&located)).await;
    if !overlaps.is_empty() {
        return not_applied(overlaps);
    }
    let summary = settings.summary();
    if let Err(error) = running.change(settings).await {
        return not_applied(vec![format!("{error:#}")]);
    }
    running.serve();
    running.announce();
    tracing::info!("{path}: applied: {summary}");
}

/// Does as was said at the start, with the certificates as they are now.
async fn read_certificates(running: &mut Running) {
    match running.change(running.settings().clone()).await {
        Ok(()) => tracing::info!("certificates have changed and were read again"),
        Err(error) => {
            tracing::warn!("{error:#}");
            tracing::warn!("certificates have changed and are not applied; those of before hold");
        }
    }
}

fn stamps(files: &[PathBuf]) -> HashMap<PathBuf, Stamp> {
    files.iter().filter_map(|file| Some((file.clone(), stamp(file)?))).collect()
}

fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
}
