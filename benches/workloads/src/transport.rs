//! The streams that join clients and servers of the benches: in-memory pipes, or TCP over loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_util::either::Either;

use crate::rows::Wire;

/// Bytes that one direction of a pipe holds.
const PIPE: usize = 256 * 1024;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A listener and what dials it, inside the runtime.
///
/// # Errors
///
/// The system gives no socket.
pub fn join(wire: Wire) -> io::Result<(Dialer, Listening)> {
    match wire {
        Wire::Pipe => {
            let (ends, accepted) = mpsc::channel(BACKLOG as usize);
            Ok((Dialer { to: Target::Pipe(ends), watch: None }, Listening::Pipe(accepted)))
        }
        Wire::Tcp => {
            // TcpListener::bind lets 128 wait; what comes beyond is dropped, and comes again after a second.
            let socket = TcpSocket::new_v4()?;
            socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
            let listener = socket.listen(BACKLOG)?;
            Ok((Dialer::to(listener.local_addr()?), Listening::Tcp(listener)))
        }
    }
}

/// Opens streams.
#[derive(Clone)]
pub struct Dialer {
    to: Target,
    watch: Option<Watch>,
}

#[derive(Clone)]
enum Target {
    Pipe(mpsc::Sender<DuplexStream>),
    Tcp(SocketAddr),
}

impl Dialer {
    /// Dials this address.
    #[must_use]
    pub fn to(address: SocketAddr) -> Self {
        Self { to: Target::Tcp(address), watch: None }
    }

    /// Its streams tell `watch` what they do.
    #[must_use]
    pub fn watched(self, watch: Watch) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// Opens one.
    ///
    /// # Errors
    ///
    /// There is no listener, or the system gives no socket.
    pub async fn dial(self) -> io::Result<Stream> {
        let io = match self.to {
            Target::Pipe(ends) => {
                let (near, far) = tokio::io::duplex(PIPE);
                ends.send(far).await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
                Either::Left(near)
            }
            Target::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?; // As fastrpc's own dialer does.
                Either::Right(stream)
            }
        };
        Ok(Stream { io, watch: self.watch })
    }
}

/// Accepts what a [`Dialer`] dials.
pub enum Listening {
    /// The far ends of pipes.
    Pipe(mpsc::Receiver<DuplexStream>),
    /// Sockets.
    Tcp(TcpListener),
}

impl fastrpc::Listener for Listening {
    type Io = Stream;

    async fn accept(&mut self) -> io::Result<(Stream, Option<SocketAddr>)> {
        let (io, peer) = match self {
            Self::Pipe(ends) => {
                let end = ends.recv().await.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
                (Either::Left(end), None)
            }
            Self::Tcp(listener) => {
                let (stream, peer) = fastrpc::Listener::accept(listener).await?;
                (Either::Right(stream), peer)
            }
        };
        Ok((Stream { io, watch: None }, peer))
    }
}

/// What streams do: when they are written to, and how many bytes they carry, with TLS those that are sent below it.
#[derive(Clone, Default)]
pub struct Watch(Arc<Seen>);

#[derive(Default)]
struct Seen {
    first_write: Mutex<Option<Instant>>,
    out: AtomicU64,
    back: AtomicU64,
}

impl Watch {
    /// The time of the first write since this was last asked.
    #[must_use]
    pub fn take_first_write(&self) -> Option<Instant> {
        self.0.first_write.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Bytes written and bytes read so far, all streams together.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.0.out.load(Ordering::Relaxed), self.0.back.load(Ordering::Relaxed))
    }

    /// Lets `write` write.
    fn writing(&self, write: impl FnOnce() -> Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.0.first_write.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        let done = write();
        if let Poll::Ready(Ok(bytes)) = &done {
            self.0.out.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
        done
    }
}

/// One end of a connection. Unwatched it costs no more than what is inside.
pub struct Stream {
    io: Either<DuplexStream, TcpStream>,
    watch: Option<Watch>,
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(watch) = &this.watch else { return Pin::new(&mut this.io).poll_read(cx, buf) };
        let before = buf.filled().len();
        let done = Pin::new(&mut this.io).poll_read(cx, buf);
        watch.0.back.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        done
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let io = Pin::new(&mut this.io);
        match &this.watch {
            None => io.poll_write(cx, buf),
            Some(watch) => watch.writing(|| io.poll_write(cx, buf)),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let io = Pin::new(&mut this.io);
        match &this.watch {
            None => io.poll_write_vectored(cx, bufs),
            Some(watch) => watch.writing(|| io.poll_write_vectored(cx, bufs)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
