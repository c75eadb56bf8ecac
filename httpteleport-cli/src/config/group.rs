//! Where requests go.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::Teleport;
use crate::compress::Compress;
use crate::discover::{self, Source};
use crate::outbound;

/// Upstreams that can stand in for each other.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// What routes call it.
    #[expect(dead_code, reason = "what has several groups names them")]
    pub(crate) name: String,
    /// Where they are: at least one.
    pub(crate) sources: Vec<Source>,
    /// How they are found.
    pub(crate) discover: discover::Options,
    /// Compression of requests, for teleport.
    pub(crate) compress: Compress,
    /// Batch delay of requests, for teleport.
    pub(crate) delay: Duration,
    /// Longest wait for a reply.
    pub(crate) timeout: Duration,
    /// Connections to each teleport endpoint.
    pub(crate) conns_per_addr: usize,
    /// Teleport: requests whose values of this header differ share no connection.
    pub(crate) group_by: Option<HeaderName>,
    /// PEM certificates to trust instead of the system's.
    pub(crate) ca: Option<PathBuf>,
    /// Bytes of a reply's head.
    pub(crate) max_header_size: usize,
    /// How the upstreams are dealt with.
    pub(crate) upstreams: outbound::Options,
    /// The rest that is for teleport.
    pub(crate) teleport: Teleport,
}
