//! A stream that offers no vectored writes, and what that changes for HTTP/2.
//!
//! Where a stream offers them, h2 does not copy payloads of 256 bytes and more: it ends what it has gathered and writes it,
//! so that a reply of 261 bytes costs a system call of its own. Without them the limit is 1 KiB, and the replies of
//! many callers go out together. Each HTTP/2 peer has a row with the stream as it comes and one with this.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::codegen::Service;
use tonic::transport::server::Connected;

use super::BoxError;

/// How a row writes.
#[derive(Clone, Copy)]
pub(super) enum Writes {
    /// As the stream offers them.
    Vectored,
    /// One buffer at a time.
    Gathered,
}

/// A TCP stream with one kind of [`Writes`].
pub(super) struct Stream {
    tcp: TcpStream,
    writes: Writes,
}

impl Stream {
    pub(super) fn new(tcp: TcpStream, writes: Writes) -> Self {
        Self { tcp, writes }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self.writes, Writes::Vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl Connected for Stream {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

/// Dials for tonic.
pub(super) struct Dial {
    pub(super) address: String,
    pub(super) writes: Writes,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Stream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (dialled, writes) = (TcpStream::connect(self.address.clone()), self.writes);
        Box::pin(async move {
            let tcp = dialled.await?;
            tcp.set_nodelay(true)?;
            Ok(TokioIo::new(Stream::new(tcp, writes)))
        })
    }
}
