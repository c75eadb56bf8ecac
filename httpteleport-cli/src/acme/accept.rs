//! TLS handshakes of inputs whose certificates are ordered.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{Acceptor, ClientHello};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::manager::Manager;
use super::tls_alpn::PROTOCOL;

/// Why there is no connection, with the stream below if that is there.
pub(crate) type Failed<S> = (io::Error, Option<S>);

impl Manager {
    /// Makes a handshake: waits for the certificate if it is being ordered, and shows an authority that looks what it wants to see.
    /// That one has no more to say, so nothing is left of its connection.
    ///
    /// # Errors
    ///
    /// The handshake fails.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        config: Arc<ServerConfig>,
    ) -> Result<Option<TlsStream<S>>, Failed<S>> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(|error| (error, None))?;
        let failed = |(error, stream)| (error, Some(stream));
        let (looks, name) = asked(&start.client_hello());
        if looks {
            let shown = start.into_stream(Arc::clone(&self.challenge)).into_fallible().await;
            let mut stream = shown.map_err(failed)?;
            // Its end is all that is left to tell.
            let _ = stream.shutdown().await;
            return Ok(None);
        }
        if let Some(name) = &name {
            self.ready(name).await;
        }
        let accepted = start.into_stream(config).into_fallible().await.map(Some);
        accepted.map_err(|(error, stream)| (self.explained(error, name.as_deref()), Some(stream)))
    }
}

/// Whether an authority looks, and the host that is named.
fn asked(hello: &ClientHello<'_>) -> (bool, Option<String>) {
    let looks = hello.alpn().is_some_and(|offered| offered.eq([PROTOCOL]));
    (looks, hello.server_name().map(str::to_ascii_lowercase))
}
