//! The limits of one client: how many calls may be pending, how many bytes may wait unsent.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Error;
use tokio::sync::{Notify, Semaphore};

/// What a call does when a limit is met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtLimit {
    /// It fails at once with an overload error.
    #[default]
    Fail,
    /// It waits for its turn, until its deadline.
    Wait,
    /// The oldest call that is still unsent fails in its stead; without one, the new call fails.
    DropOldest,
}

/// Which limit stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Calls,
    Bytes,
}

impl Full {
    /// What the call that was not admitted is told.
    pub(crate) fn explain(self, limits: &Admission) -> Error {
        Error::overload(match self {
            Self::Calls => format!(
                "{} calls are pending, as many as may: raise max_pending, add servers or send less",
                limits.max_calls
            ),
            Self::Bytes => format!(
                "{} bytes wait to be sent, as many as may: the peer reads too slowly, or raise max_unsent",
                limits.max_bytes
            ),
        })
    }
}

/// Counts calls exactly: a limit of N admits N. Bytes are counted after a message is encoded, so the last message that
/// is admitted may pass the byte limit by its own length.
#[derive(Debug)]
pub(crate) struct Admission {
    max_calls: usize,
    max_bytes: usize,
    calls: Semaphore,
    bytes: AtomicUsize,
    /// Callers that wait for bytes to leave.
    bytes_left: Notify,
    bytes_waiters: AtomicUsize,
}

impl Admission {
    pub(crate) fn new(max_calls: usize, max_bytes: usize) -> Self {
        Self {
            max_calls,
            max_bytes,
            calls: Semaphore::new(max_calls),
            bytes: AtomicUsize::new(0),
            bytes_left: Notify::new(),
            bytes_waiters: AtomicUsize::new(0),
        }
    }

    /// Calls admitted and not yet ended.
    pub(crate) fn pending(&self) -> usize {
        self.max_calls - self.calls.available_permits()
    }

    /// Admits one call, to be given back with [`Admission::release`].
    pub(crate) fn try_admit(&self) -> Result<(), Full> {
        if self.bytes_full() {
            return Err(Full::Bytes);
        }
        let permit = self.calls.try_acquire().map_err(|_| Full::Calls)?;
        permit.forget();
        Ok(())
    }

    /// Waits until a call is admitted. Dropping the future gives its place in the queue up.
    pub(crate) async fn admit(&self) {
        let permit = self.calls.acquire().await.expect("never closed");
        while self.bytes_full() {
            let waiting = Waiting::new(&self.bytes_waiters);
            let left = self.bytes_left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if self.bytes_full() {
                left.await;
            }
            drop(waiting);
        }
        permit.forget();
    }

    pub(crate) fn release(&self, calls: usize) {
        if calls > 0 {
            self.calls.add_permits(calls);
        }
    }

    pub(crate) fn add_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    pub(crate) fn remove_bytes(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        if self.bytes_waiters.load(Ordering::SeqCst) > 0 {
            self.bytes_left.notify_waiters();
        }
    }

    fn bytes_full(&self) -> bool {
        self.bytes.load(Ordering::SeqCst) >= self.max_bytes
    }
}

/// Counts one waiter while it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_limit_of_n_admits_n() {
        let admission = Admission::new(3, 100);
        for _ in 0..3 {
            admission.try_admit().unwrap();
        }
        assert_eq!(admission.try_admit(), Err(Full::Calls));
        assert_eq!(admission.pending(), 3);
        admission.release(1);
        admission.try_admit().unwrap();
    }

    #[test]
    fn waits_for_calls_then_for_bytes() {
        let admission = Admission::new(1, 100);
        admission.try_admit().unwrap();
        admission.add_bytes(100);
        let mut waiting = pin!(admission.admit());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        admission.release(1);
        assert!(waiting.as_mut().poll(&mut cx).is_pending(), "the bytes still wait");
        admission.remove_bytes(1);
        assert!(waiting.as_mut().poll(&mut cx).is_ready());
        assert_eq!(admission.pending(), 1);
    }
}
