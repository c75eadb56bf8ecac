//! A file of sources that may change while it is used.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::file;
use super::source::Source;

/// A file is looked at so often. That finds every way of changing one, on every kind of disk, a link that points elsewhere too.
const LOOK: Duration = Duration::from_secs(1);

/// A file, and how it looked the last time.
pub(super) struct WatchedFile {
    path: PathBuf,
    /// The source that named it.
    named: Source,
    stamp: Option<Stamp>,
    due: Instant,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl WatchedFile {
    /// Reads the file, which may name none as yet.
    ///
    /// # Errors
    ///
    /// One line: why it is of no use.
    pub(super) fn open(path: PathBuf, named: &Source) -> Result<(WatchedFile, Vec<Source>), String> {
        let stamp = Stamp::of(&path);
        let sources = parts_of(named, file::read(&path)?);
        Ok((WatchedFile { path, named: named.clone(), stamp, due: Instant::now() + LOOK }, sources))
    }

    /// When to look again.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// What it names now, if it is time to look, it has changed, and it makes sense. If it makes none, the log says why, once.
    pub(super) async fn look(&mut self, now: Instant) -> Option<Vec<Source>> {
        if now < self.due {
            return None;
        }
        self.due = now + LOOK;
        let (path, last) = (self.path.clone(), self.stamp);
        let looked = spawn_blocking(move || {
            let stamp = Stamp::of(&path);
            (stamp != last).then(|| (stamp, file::read(&path)))
        });
        let (stamp, read) = looked.await.ok().flatten()?;
        self.stamp = stamp;
        match read.and_then(some) {
            Ok(sources) => Some(parts_of(&self.named, sources)),
            Err(why) => {
                tracing::warn!("{}: {why}; its upstreams of before stay", self.named);
                None
            }
        }
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let data = fs::metadata(path).ok()?;
        Some(Stamp {
            inode: data.ino(),
            length: data.len(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        })
    }
}

/// One that was emptied is about to be written.
fn some(sources: Vec<Source>) -> Result<Vec<Source>, String> {
    if sources.is_empty() { Err("it names no upstream".to_owned()) } else { Ok(sources) }
}

/// What is said of a file holds for all that it names.
fn parts_of(named: &Source, mut sources: Vec<Source>) -> Vec<Source> {
    for source in &mut sources {
        source.weight = source.weight.saturating_mul(named.weight);
        source.backup |= named.backup;
    }
    sources
}
