//! What goes through an input, or to an upstream: connections, bytes, requests and replies.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::StatusCode;

use super::sharded::Sharded;
use crate::counters::Count;

/// Bytes of connections, and the reads and writes that moved them.
#[derive(Debug, Default)]
pub(crate) struct Bytes(Sharded<BytesShard>);

#[derive(Debug, Default)]
struct BytesShard {
    read: AtomicU64,
    reads: AtomicU64,
    read_errors: AtomicU64,
    written: AtomicU64,
    writes: AtomicU64,
    write_errors: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BytesSeen {
    pub(crate) read: u64,
    pub(crate) reads: u64,
    pub(crate) read_errors: u64,
    pub(crate) written: u64,
    pub(crate) writes: u64,
    pub(crate) write_errors: u64,
}

impl Bytes {
    /// A read is over; `None` if it failed.
    pub(super) fn read(&self, bytes: Option<usize>) {
        let mine = self.0.mine();
        mine.reads.fetch_add(1, Relaxed);
        match bytes {
            Some(bytes) => mine.read.fetch_add(bytes as u64, Relaxed),
            None => mine.read_errors.fetch_add(1, Relaxed),
        };
    }

    /// A write is over; `None` if it failed.
    pub(super) fn wrote(&self, bytes: Option<usize>) {
        let mine = self.0.mine();
        mine.writes.fetch_add(1, Relaxed);
        match bytes {
            Some(bytes) => mine.written.fetch_add(bytes as u64, Relaxed),
            None => mine.write_errors.fetch_add(1, Relaxed),
        };
    }

    /// So many so far.
    pub(crate) fn seen(&self) -> BytesSeen {
        BytesSeen {
            read: self.0.sum(|shard| &shard.read),
            reads: self.0.sum(|shard| &shard.reads),
            read_errors: self.0.sum(|shard| &shard.read_errors),
            written: self.0.sum(|shard| &shard.written),
            writes: self.0.sum(|shard| &shard.writes),
            write_errors: self.0.sum(|shard| &shard.write_errors),
        }
    }
}

/// Classes of replies, as [`Requests::replied`] tells them apart.
pub(crate) const CLASSES: [&str; 5] = ["200", "2xx", "3xx", "4xx", "5xx"];

/// Requests that came, and replies that went.
#[derive(Debug, Default)]
pub(crate) struct Requests(Sharded<RequestsShard>);

#[derive(Debug, Default)]
struct RequestsShard {
    started: AtomicU64,
    replies: [AtomicU64; CLASSES.len()],
}

impl Requests {
    /// A request has come.
    pub(crate) fn started(&self) {
        self.0.mine().started.fetch_add(1, Relaxed);
    }

    /// Its reply begins.
    pub(crate) fn replied(&self, status: StatusCode) {
        let class = match status.as_u16() {
            200 => 0,
            // 101 is a success as well.
            ..300 => 1,
            300..400 => 2,
            400..500 => 3,
            500.. => 4,
        };
        self.0.mine().replies[class].fetch_add(1, Relaxed);
    }

    /// So many came so far.
    pub(crate) fn count(&self) -> u64 {
        self.0.sum(|shard| &shard.started)
    }

    /// Replies by [`CLASSES`]; no reply is in two of them.
    pub(crate) fn replies(&self) -> [u64; CLASSES.len()] {
        std::array::from_fn(|class| self.0.sum(|shard| &shard.replies[class]))
    }
}

/// One upstream, as far as its connections go.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// On its connections, as they are on the network.
    pub(crate) bytes: Bytes,
    dials: AtomicU64,
    dial_errors: AtomicU64,
}

impl Output {
    /// Counts what comes of opening a connection.
    pub(crate) async fn dial<T, E>(&self, opening: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let opened = opening.await;
        if opened.is_ok() { &self.dials } else { &self.dial_errors }.fetch_add(1, Relaxed);
        opened
    }

    /// Connections that were opened, and those that could not be.
    pub(crate) fn dials(&self) -> (u64, u64) {
        (self.dials.load(Relaxed), self.dial_errors.load(Relaxed))
    }
}

/// One input.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// On its connections, as they are on the network.
    pub(crate) bytes: Bytes,
    /// Whatever became of them.
    pub(crate) requests: Requests,
    /// Connections that could not be accepted, for want of something on this side.
    pub(crate) accept_errors: Count,
    /// Connections that came when there was no place for one more.
    pub(crate) full: Count,
    /// Connections with no request under way that were asked to make room.
    pub(crate) given_up: Count,
    accepted: AtomicU64,
    closed: AtomicU64,
}

impl Input {
    /// A connection was accepted, and is open until the guard is dropped.
    pub(crate) fn accepted(self: &Arc<Self>) -> OpenConnection {
        self.accepted.fetch_add(1, Relaxed);
        OpenConnection(Arc::clone(self))
    }

    /// Connections so far, and those of them that are open.
    pub(crate) fn connections(&self) -> (u64, u64) {
        let closed = self.closed.load(Relaxed);
        let accepted = self.accepted.load(Relaxed);
        (accepted, accepted.saturating_sub(closed))
    }
}

/// A connection that counts as open.
#[derive(Debug)]
pub(crate) struct OpenConnection(Arc<Input>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_of_one_class_each() {
        let requests = Requests::default();
        for status in [200, 204, 101, 302, 404, 500, 599, 200] {
            requests.started();
            requests.replied(StatusCode::from_u16(status).expect("a status"));
        }
        assert_eq!((requests.count(), requests.replies()), (8, [2, 2, 1, 1, 2]));
    }

    #[test]
    fn a_connection_is_open_until_its_guard_is_dropped() {
        let input = Arc::new(Input::default());
        let (one, two) = (input.accepted(), input.accepted());
        drop(one);
        assert_eq!(input.connections(), (2, 1));
        drop(two);
        assert_eq!(input.connections(), (2, 0));
    }
}
