//! The bytes under an HTTP connection to an upstream.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use fastrpc::internals::LastWords;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::net::{TcpStream, UnixStream};

use super::greeting::{self, Greeting, TakesOthers};
use crate::io::HyperIo;
use crate::metrics::counted::Counted;
use crate::metrics::traffic::Output;

/// Bytes as they are on the network, counted.
type Network<S> = Counted<S, Output>;

/// TCP, TLS or a unix socket.
pub(super) enum Stream {
    Tcp(HyperIo<Network<TcpStream>>),
    /// TCP to an upstream that speaks HTTP/2.
    Two(HyperIo<Greeting<Network<TcpStream>>>),
    Tls(Box<HyperIo<LastWords<Network<TcpStream>>>>),
    Unix(HyperIo<Network<UnixStream>>),
}

/// Where a connection that breaks leaves what its upstream has said of TLS before.
pub(super) type Heard = Option<Arc<OnceLock<rustls::Error>>>;

impl Stream {
    /// What will have been said last, as far as writes find it; nothing without TLS.
    pub(super) fn heard(&self) -> Heard {
        match self {
            Stream::Tls(tls) => Some(tls.get_ref().heard()),
            Stream::Tcp(_) | Stream::Two(_) | Stream::Unix(_) => None,
        }
    }

    /// Whether requests for other protocols are taken there, where that can be said of a request over HTTP/2.
    pub(super) fn takes_others(&self) -> TakesOthers {
        match self {
            Stream::Two(two) => two.get_ref().takes_others(),
            Stream::Tcp(_) | Stream::Tls(_) | Stream::Unix(_) => greeting::untold(),
        }
    }
}

/// Does the same with whichever it is.
macro_rules! each {
    ($stream:expr, $inner:ident => $what:expr) => {
        match $stream {
            Stream::Tcp($inner) => $what,
            Stream::Two($inner) => $what,
            Stream::Tls($inner) => $what,
            Stream::Unix($inner) => $what,
        }
    };
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, inner => inner.is_write_vectored())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_write_vectored(cx, bufs))
    }
}
