//! The access log: a line for each request, written when its reply is over.
//!
//! Whoever serves a request hands what is to be written to a thread of the log's own, by a queue that has an end: when the disk is
//! slower than the requests are, lines are dropped and counted, and nobody waits.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use http::{Request, StatusCode};

use self::entry::{Asked, Entry};
use self::writer::{Order, Target};
use crate::body::Body;
use crate::counters::Count;
use crate::listen::Client;

mod entry;
mod format;
mod writer;

pub(crate) use self::entry::Exchange;
pub(crate) use self::format::Format;

/// Lines that wait to be written.
const MOST_WAITING: usize = 8192;

/// How long the end of the process waits for the disk.
const LONGEST_FLUSH: Duration = Duration::from_secs(2);

/// Where lines go, and what they look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// A file, or `-` for stdout.
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
}

impl Options {
    /// Whether it is stdout.
    pub(crate) fn is_stdout(&self) -> bool {
        self.path == Path::new("-")
    }
}

/// An open access log.
pub(crate) struct AccessLog {
    orders: SyncSender<Order>,
    dropped: Arc<Count>,
}

impl AccessLog {
    /// Opens it; lines are written from now on.
    ///
    /// # Errors
    ///
    /// One line that names the file: it cannot be written to, or there is no thread.
    pub(crate) fn open(options: &Options) -> anyhow::Result<Arc<AccessLog>> {
        let target = Target::open(&options.path)?;
        let (orders, waiting) = sync_channel(MOST_WAITING);
        let dropped = Arc::default();
        writer::start(target, options.format, waiting, Arc::clone(&dropped))?;
        Ok(Arc::new(AccessLog { orders, dropped }))
    }

    /// A request begins: what it says of itself is kept for its line.
    pub(crate) fn begin<B>(self: &Arc<Self>, request: &Request<B>, client: Client) -> Box<Exchange> {
        Box::new(Exchange::new(Arc::clone(self), Asked::of(request, client)))
    }

    /// A client was answered so whose request could not be read; so much of its head has come.
    pub(crate) fn unread(&self, client: Client, status: StatusCode, head: &[u8]) {
        let asked = Asked::unread(client, head);
        self.write(Entry { asked, status: Some(status), bytes: 0, took: Duration::ZERO, upstream: None });
    }

    /// Has the file opened anew, after it was moved away. What waits is written to the old one first.
    pub(crate) fn reopen(&self) {
        // If the queue is full nobody sees to the file now; the next signal will.
        if let Err(TrySendError::Full(_)) = self.orders.try_send(Order::Reopen) {
            tracing::warn!("the access log is busy and was not opened anew; send the signal again");
        }
    }

    /// Waits until what was logged so far is written, for a moment at most: at the end of the process. It blocks its thread.
    pub(crate) fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.orders.try_send(Order::Tell(done)).is_ok() {
            let _ = written.recv_timeout(LONGEST_FLUSH);
        }
    }

    /// Lines that were dropped because too many waited, or could not be written.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    fn write(&self, entry: Entry) {
        if self.orders.try_send(Order::Write(Box::new(entry))).is_err() {
            self.dropped.add();
        }
    }
}

/// The reply is there: the end of its body is the end of what is logged.
pub(crate) fn answered(exchange: Option<Box<Exchange>>, status: StatusCode, body: &mut Body) {
    if let Some(mut exchange) = exchange {
        exchange.answered(status);
        body.log(exchange);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_log_that_is_not_written() {
        let (orders, waiting) = sync_channel(MOST_WAITING);
        let log = Arc::new(AccessLog { orders, dropped: Arc::default() });
        for _ in 0..MOST_WAITING + 5 {
            drop(log.begin(&Request::new(()), Client::Unix));
        }
        assert_eq!(log.dropped(), 5);
        assert!(matches!(waiting.recv().expect("an order"), Order::Write(_)));
        drop(log.begin(&Request::new(()), Client::Unix));
        assert_eq!(log.dropped(), 5, "there is room again");
    }
}
