//! The byte streams a connection can run on.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Bytes that the kernel may hold of a TCP connection without having sent them. What is there, nothing overtakes.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;

/// Any stream a connection can run on: a TCP or unix socket, TLS, an in-memory pipe.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A stream whose type no longer matters; one virtual call a read or write of many messages costs nothing.
pub type BoxIo = Box<dyn Io>;

/// Sets a TCP socket up as this crate does with those it makes: batches are made here, so the kernel has nothing to wait for;
/// and it holds little that was not sent (on Linux), so that small messages overtake large ones. For whoever makes sockets.
///
/// # Errors
///
/// The system refuses, mostly because the connection is gone.
pub fn prepare_tcp(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)?;
    Ok(())
}
