//! The threads that serve. What cannot start them all says so before any does: tokio would panic.

use std::io;
use std::sync::Mutex;
use std::thread::{Builder, available_parallelism, scope};

use anyhow::anyhow;
use tokio::runtime::{self, Runtime};

/// Those that come beside them: the access log's, and those that read files.
const SPARE: usize = 4;

/// A runtime of so many threads, by default one for each core.
///
/// # Errors
///
/// They cannot all be started: one line that names the option and says what to do.
pub(crate) fn runtime(threads: Option<usize>) -> anyhow::Result<Runtime> {
    let count = threads.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
    try_to_start(count + SPARE).map_err(|(started, error)| {
        let which = threads.map_or_else(|| format!("{count} threads, one for each core"), |_| format!("--threads {count}"));
        let reason = error.to_string();
        let reason = reason.split(" (os error").next().unwrap_or_default();
        let started = started.saturating_sub(SPARE);
        anyhow!(
            "{which}: only {started} of them can be started here: {reason}; use fewer with --threads, or raise the limits of this process \
             (ulimit -v, ulimit -u)"
        )
    })?;
    // One thread needs none of what several need to share work, and is the faster for it.
    let mut builder = match threads {
        Some(1) => runtime::Builder::new_current_thread(),
        _ => runtime::Builder::new_multi_thread(),
    };
    Ok(builder.worker_threads(count).enable_all().build()?)
}

/// Has so many threads at a time, for a moment. The error has how many there could be.
fn try_to_start(count: usize) -> Result<(), (usize, io::Error)> {
    let gate = Mutex::new(());
    scope(|scope| {
        // Nobody passes before all are there.
        let closed = gate.lock();
        for started in 0..count {
            let waits = || drop(gate.lock());
            Builder::new().spawn_scoped(scope, waits).map_err(|error| (started, error))?;
        }
        drop(closed);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_there_may_be_can_be_there() {
        assert!(try_to_start(20).is_ok());
        assert!(runtime(Some(1)).is_ok() && runtime(None).is_ok());
    }
}
