//! The byte streams a connection can run on.

use tokio::io::{AsyncRead, AsyncWrite};

/// Any stream a connection can run on: a TCP or unix socket, TLS, an in-memory pipe.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A stream whose type no longer matters; one virtual call a read or write of many messages costs nothing.
pub type BoxIo = Box<dyn Io>;
