//! An HTTP connection between two requests, and when it is put to rest.
//!
//! hyper holds two buffers of 8 KiB and more for each connection, busy or not. One that has had nothing to do for a
//! moment is taken out of hyper's hands and waits for its next byte alone; with that byte it goes back.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::activity::Activity;
use super::http::{Ends, Shared};
use crate::counters::Counters;
use crate::io::HyperIo;
use crate::listen::Client;
use crate::timer::{HeadTimer, LazyTimer};

/// A connection with nothing to do for so long, and at most twice as long, is put to rest.
pub(super) const TIRED: Duration = Duration::from_secs(1);

/// Bytes that are read together with the first ones.
const AT_ONCE: usize = 4096;

/// Looks at a connection now and then.
pub(super) struct Watch {
    activity: Arc<Activity>,
    /// The time between two looks.
    pace: Duration,
    timer: LazyTimer,
    next: Instant,
    /// Requests up to the last look.
    seen: usize,
}

impl Watch {
    pub(super) fn new(activity: Arc<Activity>, pace: Duration) -> Watch {
        let seen = activity.served();
        Watch { activity, pace, timer: LazyTimer::default(), next: Instant::now() + pace, seen }
    }

    /// Ready once there was nothing to do between two looks.
    pub(super) fn poll_tired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.timer.poll(cx, self.next).is_ready() {
            let served = self.activity.served();
            if served == self.seen && !self.activity.is_busy() {
                return Poll::Ready(());
            }
            self.seen = served;
            self.next = Instant::now() + self.pace;
        }
        Poll::Pending
    }
}

/// Waits for the next byte of a connection at rest; `None` when none comes before the connection or its time ends.
pub(super) async fn next_byte(stream: &mut (impl AsyncRead + Unpin), deadline: Option<Instant>) -> Option<Bytes> {
    let mut byte = [0];
    let read = stream.read(&mut byte);
    let read = match deadline {
        Some(deadline) => timeout_at(deadline, read).await.ok()?,
        None => read.await,
    };
    matches!(read, Ok(1)).then(|| Bytes::copy_from_slice(&byte))
}

/// The stream of a client, for hyper.
pub(super) struct ClientIo<S> {
    io: HyperIo<S>,
    /// What was read already.
    first: Bytes,
    /// Why no more could be read behind that.
    failed: Option<io::Error>,
    activity: Arc<Activity>,
    /// Whether what comes between two requests is of a head.
    has_heads: bool,
    /// Where the times of heads are kept, if they depend on when a head begins.
    heads: Option<HeadTimer>,
    /// How long bytes may wait for the client to read.
    patience: Duration,
    /// Since when they do.
    stuck: Option<Instant>,
    timer: LazyTimer,
    counters: Arc<Counters>,
    client: Client,
}

impl<S> ClientIo<S> {
    pub(super) fn new(stream: S, first: Bytes, activity: Arc<Activity>, shared: &Shared, ends: Ends) -> ClientIo<S> {
        ClientIo {
            io: HyperIo::new(stream),
            first,
            failed: None,
            activity,
            has_heads: false,
            heads: None,
            patience: shared.timeouts.write,
            stuck: None,
            timer: LazyTimer::default(),
            counters: Arc::clone(&shared.counters),
            client: ends.caller.client,
        }
    }

    /// Tells when heads begin: it speaks HTTP/1.1.
    pub(super) fn timing(mut self, heads: &HeadTimer) -> ClientIo<S> {
        self.has_heads = true;
        self.heads = heads.depends_on_beginning().then(|| heads.clone());
        self
    }

    /// What became of an attempt to write, or a timeout if the client has not read for too long.
    fn progress<T>(&mut self, cx: &mut Context<'_>, attempt: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if attempt.is_ready() {
            self.stuck = None;
            return attempt;
        }
        let since = *self.stuck.get_or_insert_with(Instant::now);
        ready!(self.timer.poll(cx, since + self.patience));
        self.counters.slow_reader.note("connection", self.client, "closed: the client has stopped reading");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client has stopped reading")))
    }

    pub(super) fn into_inner(self) -> S {
        self.io.into_inner()
    }
}

impl<S: AsyncRead + Unpin> ClientIo<S> {
    /// Adds what else has come to what was read already: if hyper had to ask for it again, it would take a buffer twice as large.
    fn read_on(&mut self, cx: &mut Context<'_>, buf: &mut ReadBufCursor<'_>) {
        let mut more = [0; AT_ONCE];
        let mut more = ReadBuf::new(&mut more[..AT_ONCE.min(buf.remaining())]);
        if more.remaining() == 0 {
            return;
        }
        match Pin::new(self.io.get_mut()).poll_read(cx, &mut more) {
            Poll::Ready(Ok(())) => buf.put_slice(more.filled()),
            // The system says it once.
            Poll::Ready(Err(error)) => self.failed = Some(error),
            Poll::Pending => {}
        }
    }
}

impl<S: AsyncRead + Unpin> Read for ClientIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if self.first.is_empty() {
            let read = Pin::new(&mut self.io).poll_read(cx, buf);
            if read.is_ready() && self.has_heads {
                self.activity.note_heard();
                if let Some(heads) = &self.heads {
                    heads.heard();
                }
            }
            return read;
        }
        if self.has_heads {
            self.activity.note_heard();
        }
        let count = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first[..count]);
        self.first.advance(count);
        self.read_on(cx, &mut buf);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Write for ClientIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.activity.note_blocked(!matches!(written, Poll::Ready(Ok(count)) if count == buf.len()));
        self.progress(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes only what it has written whole.
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.activity.note_blocked(flushed.is_pending());
        self.progress(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted: usize = bufs.iter().map(|piece| piece.len()).sum();
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.activity.note_blocked(!matches!(written, Poll::Ready(Ok(count)) if count == wanted));
        self.progress(cx, written)
    }
}
