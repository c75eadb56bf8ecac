//! Idle connections to one upstream, the last used first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::dial::Sender;

/// An idle connection is used again for this long. Servers close idle connections after 5 s and more, and a request
/// that meets such a close may be lost.
const LONGEST_IDLE: Duration = Duration::from_secs(4);

/// A connection that was given back gets this long to finish what its last exchange left over.
const LONGEST_TAIL: Duration = Duration::from_secs(1);

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
    pub(super) fn take(&self) -> Option<Sender> {
        let mut idle = self.lock();
        drop_old(&mut idle);
        while let Some(Idle { sender, .. }) = idle.pop_back() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
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
    /// One of the upstream's connections.
    pub(super) permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Makes the connection available to the next request.
    pub(crate) fn give_back(mut self) {
        if self.sender.is_ready() {
            self.pool.put(self.sender);
        } else if !self.sender.is_closed() {
            // The task that drives it has yet to notice the end of the exchange.
            tokio::spawn(async move {
                if let Ok(Ok(())) = tokio::time::timeout(LONGEST_TAIL, self.sender.ready()).await {
                    self.pool.put(self.sender);
                }
                drop(self.permit);
            });
        }
    }
}
