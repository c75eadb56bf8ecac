//! Follows a file of settings: reads it again when it has changed, and when SIGHUP asks for that.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use crate::config::ConfigFile;
use crate::running::Running;
use crate::shutdown::Hangups;

/// Between two looks at the file.
const PACE: Duration = Duration::from_secs(1);

/// A file, and what it was when it was last read.
pub(crate) struct Reload {
    file: ConfigFile,
    hangups: Hangups,
    read: Option<Stamp>,
}

/// What tells a file from another that was there before.
type Stamp = (u64, u64, SystemTime);

impl Reload {
    /// Follows a file that was read already.
    ///
    /// # Errors
    ///
    /// The system gives no signal handler.
    pub(crate) fn new(file: ConfigFile) -> anyhow::Result<Reload> {
        let read = stamp(&file);
        Ok(Reload { file, hangups: Hangups::take()?, read })
    }

    /// Applies what the file says, whenever that has changed. Never ends.
    pub(crate) async fn follow(mut self, running: &mut Running) {
        loop {
            self.changed().await;
            self.apply(running).await;
        }
    }

    /// Waits for SIGHUP, or until the file is another than the one that was read, and nobody writes it any more.
    async fn changed(&mut self) {
        let mut seen = self.read;
        loop {
            tokio::select! {
                () = self.hangups.next() => break,
                () = sleep(PACE) => {}
            }
            let now = stamp(&self.file);
            // A file that is not there is about to be, or a mistake that is told when somebody asks for it.
            if now.is_some() && now != self.read && now == seen {
                break;
            }
            seen = now;
        }
        self.read = stamp(&self.file);
    }

    async fn apply(&self, running: &mut Running) {
        let path = self.file.path.display();
        let mut settings = match self.file.load() {
            Ok(settings) => settings,
            Err(mistakes) => {
                for line in mistakes {
                    tracing::warn!("{line}");
                }
                return tracing::warn!("{path}: not applied; what was said before holds");
            }
        };
        let process = &running.settings().process;
        if settings.process != *process {
            tracing::warn!("{path}: concurrency, threads, the admin address and logs change with a restart alone");
            settings.process = process.clone();
        }
        let summary = settings.summary();
        if let Err(error) = running.change(settings).await {
            tracing::warn!("{error:#}");
            return tracing::warn!("{path}: not applied; what was said before holds");
        }
        running.serve();
        running.announce();
        tracing::info!("{path}: applied: {summary}");
    }
}

fn stamp(file: &ConfigFile) -> Option<Stamp> {
    let metadata = fs::metadata(&file.path).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
}
