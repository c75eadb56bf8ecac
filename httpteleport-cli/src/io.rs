//! Streams in hyper's terms.

use std::io::{self, IoSlice};
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

/// Most bytes that are read at once where nothing is known about what comes.
const PIECE: usize = 16 * 1024;

/// The next bytes of a stream, `None` at its end.
pub(crate) fn poll_piece(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Option<Bytes>>> {
    buffer.reserve(PIECE);
    let count = ready!(poll_read_buf(Pin::new(reader), cx, buffer))?;
    Poll::Ready(Ok((count > 0).then(|| buffer.split().freeze())))
}
