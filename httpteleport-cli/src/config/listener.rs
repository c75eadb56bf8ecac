//! Where requests come from.

use std::path::PathBuf;
use std::time::Duration;

use super::Teleport;
use crate::compress::Compress;
use crate::endpoint::Endpoint;

/// One input.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    /// Where to listen.
    pub(crate) endpoint: Endpoint,
    /// Certificate and key; there exactly when the endpoint is a TLS one.
    pub(crate) tls: Option<TlsFiles>,
    /// How much one request may be.
    pub(crate) limits: Limits,
    /// Compression of replies, for teleport.
    pub(crate) compress: Compress,
    /// Batch delay of replies, for teleport.
    pub(crate) delay: Duration,
    /// The rest that is for teleport.
    pub(crate) teleport: Teleport,
}

/// How much one request may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of its head.
    pub(crate) max_header_size: usize,
    /// Bytes of its body.
    pub(crate) max_body_size: usize,
}

/// The files of a server's identity.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    /// PEM certificate chain, the server's own first.
    pub(crate) cert: PathBuf,
    /// PEM private key.
    pub(crate) key: PathBuf,
}
