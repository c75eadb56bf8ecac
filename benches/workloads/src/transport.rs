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
            Ok((Dialer { to: Target::Pipe(ends), watch: Watch::default() }, Listening::Pipe(accepted)))
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
    watch: Watch,
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
        Self { to: Target::Tcp(address), watch: Watch::default() }
    }

    /// Its streams tell `clock` when they are written to.
    #[must_use]
    pub fn watched(mut self, clock: WriteClock) -> Self {
        self.watch.clock = Some(clock);
        self
    }

    /// Its streams tell `meter` how many bytes they carry.
    #[must_use]
    pub fn metered(mut self, meter: Meter) -> Self {
        self.watch.meter = Some(meter);
        self
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
        Ok((Stream { io, watch: Watch::default() }, peer))
    }
}

/// When the first byte was written since it was last asked.
#[derive(Clone, Default)]
pub struct WriteClock(Arc<Mutex<Option<Instant>>>);

impl WriteClock {
    /// The time of the first write since the last look.
    #[must_use]
    pub fn take(&self) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
    }
}

/// How many bytes streams have carried, whatever those bytes are: with TLS, what is sent below it.
#[derive(Clone, Default)]
pub struct Meter(Arc<Bytes>);

#[derive(Default)]
struct Bytes {
    out: AtomicU64,
    back: AtomicU64,
}

impl Meter {
    /// Bytes written and bytes read so far, all streams together.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.0.out.load(Ordering::Relaxed), self.0.back.load(Ordering::Relaxed))
    }
}

/// Who is told what a stream does.
#[derive(Clone, Default)]
struct Watch {
    clock: Option<WriteClock>,
    meter: Option<Meter>,
}

impl Watch {
    fn writing(&self) {
        if let Some(clock) = &self.clock {
            clock.note();
        }
    }

    fn written(&self, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Some(meter), Poll::Ready(Ok(bytes))) = (&self.meter, &done) {
            meter.0.out.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
        done
    }

    fn read(&self, bytes: usize) {
        if let Some(meter) = &self.meter {
            meter.0.back.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}

/// One end of a connection. Unwatched it costs no more than what is inside.
pub struct Stream {
    io: Either<DuplexStream, TcpStream>,
    watch: Watch,
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let done = Pin::new(&mut self.io).poll_read(cx, buf);
        self.watch.read(buf.filled().len() - before);
        done
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.watch.writing();
        let done = Pin::new(&mut self.io).poll_write(cx, buf);
        self.watch.written(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.watch.writing();
        let done = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.watch.written(done)
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
