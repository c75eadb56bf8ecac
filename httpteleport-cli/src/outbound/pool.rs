//! Idle connections to one upstream, the last used first.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::Connection;

/// An upstream that replied before it had read the whole request has this long to read the rest.
const LONGEST_TAIL: Duration = Duration::from_secs(30);

/// The idle connections of one upstream.
pub(crate) struct Pool {
    /// How long they are used again; zero for never.
    longest_idle: Duration,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    /// In the order of being given back: the front has been idle for longest.
    idle: VecDeque<Idle>,
    /// Whether a task closes those that are idle for too long. Nothing else would, without requests.
    swept: bool,
}

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

impl Pool {
    /// One whose connections are used again for so long after they were used; zero for never.
    pub(super) fn new(longest_idle: Duration) -> Pool {
        Pool { longest_idle, shelf: Mutex::default() }
    }

    /// The connection that was used last, if one is fit for use.
    pub(super) fn take(&self) -> Option<Box<Connection>> {
        while let Some(mut idle) = self.pop() {
            if idle.since.elapsed() <= self.longest_idle && idle.connection.is_ready() {
                return Some(idle.connection);
            }
        }
        None
    }

    fn pop(&self) -> Option<Idle> {
        self.lock().idle.pop_back()
    }

    fn put(self: &Arc<Self>, connection: Box<Connection>) {
        if self.longest_idle.is_zero() {
            return;
        }
        let mut shelf = self.lock();
        shelf.idle.push_back(Idle { connection, since: Instant::now() });
        if !shelf.swept {
            shelf.swept = true;
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Removes what has been idle for too long; tells when the next one will have been, if there is one.
    fn remove_old(&self) -> (Vec<Idle>, Option<Instant>) {
        let mut shelf = self.lock();
        let old = shelf.idle.partition_point(|idle| idle.since.elapsed() > self.longest_idle);
        let old = shelf.idle.drain(..old).collect();
        let next = shelf.idle.front().map(|idle| idle.since + self.longest_idle);
        shelf.swept = next.is_some();
        (old, next)
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections that have been idle for too long, until there are none.
async fn sweep(pool: Weak<Pool>) {
    while let Some((old, next)) = pool.upgrade().map(|pool| pool.remove_old()) {
        drop(old);
        let Some(next) = next else { return };
        // tokio's timer never fires early, and "longer than" begins after its step.
        sleep_until(next + Duration::from_millis(1)).await;
    }
}

/// A connection in use. Given back after a whole exchange; dropped, it is closed.
pub(crate) struct Lease {
    pub(super) connection: Box<Connection>,
    pub(super) pool: Arc<Pool>,
    /// One of the upstream's connections, for as long as it is busy.
    pub(super) permit: OwnedSemaphorePermit,
}

impl Lease {
    /// The connection.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Makes the connection available to the next request.
    pub(crate) fn give_back(mut self) {
        if self.connection.is_ready() {
            self.pool.put(self.connection);
        } else if !self.connection.is_closed() {
            tokio::spawn(self.finish());
        }
    }

    /// Gives the connection a task: its reply has begun before its request has ended. The reply's reader keeps what this
    /// returns.
    pub(crate) fn go_on(mut self) -> oneshot::Sender<()> {
        let (reader, mut read) = oneshot::channel();
        tokio::spawn(async move {
            tokio::select! {
                () = poll_fn(|cx| self.connection.poll_tail(cx)) => self.give_back(),
                _ = &mut read => self.finish().await,
            }
        });
        reader
    }

    /// The reply is here, and part of the request is not with the upstream yet.
    async fn finish(self) {
        let Lease { mut connection, pool, permit } = self;
        drop(permit);
        let tail = poll_fn(|cx| connection.poll_tail(cx));
        if timeout(LONGEST_TAIL, tail).await.is_ok() && connection.is_ready() {
            pool.put(connection);
        }
    }
}
