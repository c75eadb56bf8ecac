//! The thread that writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;

use anyhow::Context as _;

use super::entry::Entry;
use super::format::Format;
use crate::counters::Count;
use crate::outbound::plain;

/// Bytes written at once while more lines wait.
const CHUNK: usize = 64 * 1024;

/// What the thread is told.
pub(super) enum Order {
    Write(Box<Entry>),
    Reopen,
    /// Tell when all that was said before is written.
    Tell(SyncSender<()>),
}

/// Where lines go.
pub(super) enum Target {
    Stdout,
    File(File, PathBuf),
}

impl Target {
    /// Opens it; lines go behind those that are in it.
    ///
    /// # Errors
    ///
    /// One line that names the option and says what is wrong.
    pub(super) fn open(path: &Path) -> anyhow::Result<Target> {
        if path == Path::new("-") {
            return Ok(Target::Stdout);
        }
        let file = append(path).map_err(|error| anyhow::anyhow!("cannot write to the file: {}", plain(&error)));
        let file = file.with_context(|| format!("--access-log {}", path.display()))?;
        Ok(Target::File(file, path.to_owned()))
    }

    /// Opens it anew; if that fails the old file has the lines.
    fn reopen(&mut self) {
        if let Target::File(file, path) = self {
            match append(path) {
                Ok(anew) => *file = anew,
                Err(error) => tracing::warn!(
                    "--access-log {}: cannot be opened anew: {}; the old file is written on",
                    path.display(),
                    plain(&error)
                ),
            }
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        match self {
            Target::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(text.as_bytes())?;
                stdout.flush()
            }
            Target::File(file, _) => file.write_all(text.as_bytes()),
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Starts the thread, which ends when there is nobody left that could tell it something. It counts lines that it cannot write.
///
/// # Errors
///
/// The system has no thread.
pub(super) fn start(
    mut target: Target,
    format: Format,
    orders: Receiver<Order>,
    lost: Arc<Count>,
) -> anyhow::Result<()> {
    let write = move || {
        let (mut text, mut failing) = (String::new(), false);
        while let Ok(order) = orders.recv() {
            let mut next = Some(order);
            while let Some(order) = next {
                match order {
                    Order::Write(entry) => format.line(&entry, &mut text),
                    Order::Reopen => {
                        put(&mut target, &mut text, &mut failing, &lost);
                        target.reopen();
                    }
                    Order::Tell(who) => {
                        put(&mut target, &mut text, &mut failing, &lost);
                        // Nobody may wait any more.
                        let _ = who.try_send(());
                    }
                }
                next = if text.len() < CHUNK { orders.try_recv().ok() } else { None };
            }
            put(&mut target, &mut text, &mut failing, &lost);
        }
    };
    thread::Builder::new().name("access log".to_owned()).spawn(write).context("cannot start the access log")?;
    Ok(())
}

/// Writes what there is. That it cannot be written is told once, until it can again.
fn put(target: &mut Target, text: &mut String, failing: &mut bool, lost: &Count) {
    if text.is_empty() {
        return;
    }
    let written = target.write(text);
    if let Err(error) = &written {
        lost.add_many(text.lines().count() as u64);
        if !*failing {
            tracing::warn!("the access log cannot be written: {}; its lines are lost until it can", plain(error));
        }
    }
    *failing = written.is_err();
    text.clear();
}
