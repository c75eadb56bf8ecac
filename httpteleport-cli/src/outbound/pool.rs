//! Idle connections to one upstream, the last used first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use super::dial::Sender;

/// An idle connection is used again for this long. Servers close idle connections after 5 s and more, and a request
/// that meets such a close may be lost.
const LONGEST_IDLE: Duration = Duration::from_secs(4);

/// The task that drives a connection has this long to notice the end of its last exchange. It takes microseconds, unless
/// the upstream replied before it had read the whole request; then a new connection is better.
const LONGEST_TAIL: Duration = Duration::from_millis(20);

/// The idle connections of one upstream.
#[derive(Default)]
pub(crate) struct Pool {
    /// In the order of being given back: the front has been idle for longest.
    idle: Mutex<VecDeque<Idle>>,
}

struct Idle {
    sender: Sender,
    since: Instant,
}

impl Pool {
    /// The connection that was used last, if one is fit for use.
    pub(super) async fn take(&self) -> Option<Sender> {
        while let Some(mut sender) = self.pop() {
            if sender.is_ready() || matches!(timeout(LONGEST_TAIL, sender.ready()).await, Ok(Ok(()))) {
                return Some(sender);
            }
        }
        None
    }

    fn pop(&self) -> Option<Sender> {
        let mut idle = self.lock();
        drop_old(&mut idle);
        idle.pop_back().map(|idle| idle.sender)
    }

    fn put(&self, sender: Sender) {
        let mut idle = self.lock();
        drop_old(&mut idle);
        idle.push_back(Idle { sender, since: Instant::now() });
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn drop_old(idle: &mut VecDeque<Idle>) {
    while idle.front().is_some_and(|first| first.since.elapsed() > LONGEST_IDLE) {
        idle.pop_front();
    }
}

/// A connection in use. Given back after a whole exchange; dropped, it is closed.
pub(crate) struct Lease {
    pub(super) sender: Sender,
    pub(super) pool: Arc<Pool>,
    /// One of the upstream's connections, for as long as it is busy.
    pub(super) _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Makes the connection available to the next request.
    pub(crate) fn give_back(self) {
        if !self.sender.is_closed() {
            self.pool.put(self.sender);
        }
    }
}
