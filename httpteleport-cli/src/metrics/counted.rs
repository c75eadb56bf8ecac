//! Streams whose bytes are counted.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::traffic::{Bytes, Input, Output};

/// What has bytes to count.
pub(crate) trait Counts {
    /// Where they are counted.
    fn bytes(&self) -> &Bytes;
}

impl Counts for Input {
    fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Counts for Output {
    fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// A stream, and where its bytes are counted: those that are on the network, if it is the innermost one.
#[derive(Debug)]
pub(crate) struct Counted<S, C> {
    stream: S,
    counts: Arc<C>,
}

impl<S, C: Counts> Counted<S, C> {
    /// Counts what this stream carries from now on.
    pub(crate) fn new(stream: S, counts: Arc<C>) -> Counted<S, C> {
        Counted { stream, counts }
    }

    /// The stream below.
    pub(crate) fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin, C: Counts> AsyncRead for Counted<S, C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(result) = &read {
            self.counts.bytes().read(result.is_ok().then(|| buf.filled().len() - before));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin, C: Counts> Counted<S, C> {
    fn written(&self, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = &wrote {
            self.counts.bytes().wrote(result.as_ref().ok().copied());
        }
        wrote
    }
}

impl<S: AsyncWrite + Unpin, C: Counts> AsyncWrite for Counted<S, C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::metrics::traffic::BytesSeen;

    #[tokio::test]
    async fn what_passes_is_counted_and_so_is_what_fails() {
        let (near, mut far) = tokio::io::duplex(64);
        let output = Arc::new(Output::default());
        let mut near = Counted::new(near, Arc::clone(&output));
        near.write_all(b"hello").await.expect("room");
        far.write_all(b"hi").await.expect("room");
        assert_eq!(near.read(&mut [0; 9]).await.expect("bytes"), 2);
        drop(far);
        near.write_all(b"?").await.expect_err("nobody reads");
        let seen = output.bytes.seen();
        let want = BytesSeen { read: 2, reads: 1, read_errors: 0, written: 5, writes: 2, write_errors: 1 };
        assert_eq!(seen, want);
    }
}
