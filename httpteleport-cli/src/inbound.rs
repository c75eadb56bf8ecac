//! Inputs: what accepts requests, whatever they come over, and hands them to the proxy.

use std::sync::Arc;

use rustls::ServerConfig;

use crate::config::Settings;
use crate::listen::Listener;
use crate::proxy::Proxy;
use crate::shutdown::Shutdown;

mod exchange;
mod http;
mod http1;
mod http2;
mod rest;
mod teleport;
mod upgrade;
mod upload;

/// What an input needs to serve.
pub(crate) struct Inputs<'a> {
    /// Bound already.
    pub(crate) listener: Listener,
    /// There exactly when the input's scheme asks for TLS.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Limits and, for teleport, compression and batch delay.
    pub(crate) settings: &'a Settings,
    /// Where the requests go.
    pub(crate) proxy: Arc<Proxy>,
    /// Ends the accepting; every connection's task is spawned on it.
    pub(crate) shutdown: Shutdown,
}

/// Accepts connections until draining begins, then returns. What runs on them goes on, as tasks of the shutdown.
///
/// # Errors
///
/// The input cannot serve at all.
pub(crate) async fn serve(inputs: Inputs<'_>) -> anyhow::Result<()> {
    if inputs.settings.input.endpoint.scheme.is_teleport() {
        teleport::serve(inputs).await
    } else {
        http::serve(inputs).await;
        Ok(())
    }
}
