//! Streams in hyper's terms.

use std::io::{self, IoSlice};
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

/// A head and a body of together up to so many bytes are copied into one piece: for the kernel a vector of two costs more
/// than that.
const ONE_PIECE: usize = 1024;

/// A stream for hyper that writes small messages in one piece.
pub(crate) struct HyperIo<S>(TokioIo<S>);

impl<S> HyperIo<S> {
    pub(crate) fn new(stream: S) -> HyperIo<S> {
        HyperIo(TokioIo::new(stream))
    }

    pub(crate) fn get_ref(&self) -> &S {
        self.0.inner()
    }

    pub(crate) fn get_mut(&mut self) -> &mut S {
        self.0.inner_mut()
    }

    pub(crate) fn into_inner(self) -> S {
        self.0.into_inner()
    }
}

impl<S: AsyncRead + Unpin> Read for HyperIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> Write for HyperIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let inner = Pin::new(&mut self.0);
        let total: usize = bufs.iter().map(|piece| piece.len()).sum();
        match bufs {
            [piece] => inner.poll_write(cx, piece),
            pieces if total <= ONE_PIECE => {
                let mut whole = [0; ONE_PIECE];
                let mut end = 0;
                for piece in pieces {
                    whole[end..end + piece.len()].copy_from_slice(piece);
                    end += piece.len();
                }
                inner.poll_write(cx, &whole[..end])
            }
            pieces => inner.poll_write_vectored(cx, pieces),
        }
    }
}

/// Room for what is read where nothing is known about what comes: little while little comes, as many wait for something
/// to be said, and up to this much where a read has filled it.
const ROOM: RangeInclusive<usize> = 1024..=64 * 1024;

/// Reads a stream as it comes, piece by piece.
pub(crate) struct Pieces<R> {
    reader: R,
    buffer: BytesMut,
    room: usize,
}

impl<R: AsyncRead + Unpin> Pieces<R> {
    pub(crate) fn new(reader: R) -> Pieces<R> {
        Pieces { reader, buffer: BytesMut::new(), room: *ROOM.start() }
    }

    /// The next bytes, `None` at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        self.buffer.reserve(self.room);
        let count = ready!(poll_read_buf(Pin::new(&mut self.reader), cx, &mut self.buffer))?;
        self.room = if count < self.room { *ROOM.start() } else { ROOM.end().min(&(self.room * 4)).to_owned() };
        Poll::Ready(Ok((count > 0).then(|| self.buffer.split().freeze())))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn pieces_grow_with_what_comes() {
        let mut pieces = Pieces::new(&[7; 200_000][..]);
        let mut sizes = Vec::new();
        while let Some(piece) = poll_fn(|cx| pieces.poll_next(cx)).await.expect("readable") {
            sizes.push(piece.len());
        }
        assert_eq!(sizes.iter().sum::<usize>(), 200_000);
        assert!(sizes[0] < 2048 && sizes.iter().any(|size| *size >= 64 * 1024), "{sizes:?}");
        assert!(pieces.room == *ROOM.start(), "and shrink again");
    }
}
