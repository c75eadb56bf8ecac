//! Replies that break off: their client gets what came of them first, the head above all.
//!
//! The moment a body fails hyper ends a connection of HTTP/1.1, or resets a stream of HTTP/2, and what it has not written yet is lost
//! with that. A client that sees a connection end on which it was served before, without a byte, takes its request for one that nobody
//! read, and sends it again, a POST as well. So a failure waits until its connection has written what there is.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::oneshot::{self, Receiver, Sender};
use tokio::time::Instant;

/// Over HTTP/2 the replies to others may keep the connection full, so that it never has written all it has; nobody waits longer for
/// that.
const MOMENT: Duration = Duration::from_secs(1);

/// The failures of one connection that wait. Costs one look at a flag while there are none.
#[derive(Default)]
pub(super) struct Breaks {
    any: AtomicBool,
    waiting: Mutex<Vec<Waiting>>,
    /// The task that serves the connection.
    task: OnceLock<Waker>,
}

/// A failure that waits, and since when.
struct Waiting {
    since: Instant,
    /// To be dropped.
    _written: Sender<()>,
}

/// Failures whose replies hyper has whole, but for their end.
pub(super) struct Told(Vec<Waiting>);

impl Breaks {
    /// Resolves, to an error, once the connection has written what hyper was given before.
    pub(super) fn wait(&self) -> Receiver<()> {
        let (sender, written) = oneshot::channel();
        self.lock().push(Waiting { since: Instant::now(), _written: sender });
        self.any.store(true, Ordering::Release);
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
        written
    }

    /// This task serves the connection, to its end.
    pub(super) fn served_by(&self, task: &Waker) {
        self.task.get_or_init(|| task.clone());
    }

    /// Those that wait, for whoever lets hyper write next.
    pub(super) fn take(&self) -> Told {
        if !self.any.load(Ordering::Acquire) {
            return Told(Vec::new());
        }
        let mut waiting = self.lock();
        self.any.store(false, Ordering::Relaxed);
        Told(mem::take(&mut waiting))
    }

    /// hyper has written since those were taken; all it had, unless it is `blocked` by a client that does not read. What its connection
    /// has may be of many replies if it is `shared`.
    pub(super) fn wrote(&self, told: Told, blocked: bool, shared: bool) {
        if !blocked || told.0.is_empty() {
            return;
        }
        let waiting = told.0.into_iter().filter(|waiting| !shared || waiting.since.elapsed() < MOMENT);
        let mut all = self.lock();
        all.extend(waiting);
        if !all.is_empty() {
            self.any.store(true, Ordering::Release);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    #[test]
    fn a_failure_waits_for_a_whole_write_that_began_after_it() {
        let breaks = Breaks::default();
        let before = breaks.take();
        let mut written = breaks.wait();
        breaks.wrote(before, false, false);
        assert_eq!(written.try_recv(), Err(TryRecvError::Empty), "its reply may have come later than that write");
        for blocked in [true, true] {
            let told = breaks.take();
            breaks.wrote(told, blocked, false);
            assert_eq!(written.try_recv(), Err(TryRecvError::Empty), "the client has not read");
        }
        let told = breaks.take();
        breaks.wrote(told, false, false);
        assert_eq!(written.try_recv(), Err(TryRecvError::Closed));
        assert!(breaks.take().0.is_empty());
    }
}
