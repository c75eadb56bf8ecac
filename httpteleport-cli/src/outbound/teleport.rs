//! An upstream that speaks teleport.

use std::sync::Arc;

use anyhow::bail;
use http::Response;
use rustls::ClientConfig;
use tokio::time::Instant;

use super::{Buffered, Failure, FailureKind};
use crate::body::Body;
use crate::config::Output;
use crate::endpoint::Endpoint;

/// A teleport upstream and its connections.
pub(crate) struct TeleportUpstream {}

impl TeleportUpstream {
    /// An upstream with the compression, batch delay, connections and limits of the settings.
    ///
    /// # Errors
    ///
    /// Always, so far: the teleport client is still to come.
    pub(crate) fn new(
        endpoint: &Endpoint,
        _tls: Option<Arc<ClientConfig>>,
        _settings: &Output,
    ) -> anyhow::Result<TeleportUpstream> {
        bail!("--out {endpoint}: teleport outputs are not built yet")
    }

    /// See [`Upstream::call`](super::Upstream::call).
    #[expect(clippy::unused_async, reason = "calls come with the teleport client")]
    pub(super) async fn call(&self, request: Buffered, _deadline: Instant) -> Result<Response<Body>, Failure> {
        Err(Failure::new(FailureKind::Unreachable, "teleport outputs are not built yet").unsent(request))
    }
}
