//! How connections to upstreams are made, and how long they may take.

use std::time::Duration;

use super::introduce::Version;

/// Holds for each connection to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectOptions {
    /// The PROXY header that each connection over HTTP/1.1 begins with, which has one client then.
    pub(crate) introduce: Option<Version>,
    /// Longest time to connect, TLS included; never more than half of what is left for the reply.
    pub(crate) connect: Option<Duration>,
    /// Longest pause inside the body of a reply.
    pub(crate) pause: Duration,
    /// HTTP/1.1: how long a connection without a request is used again.
    pub(crate) idle: Duration,
}

impl Default for ConnectOptions {
    fn default() -> ConnectOptions {
        // Servers close idle connections after 5 s and more, and a request that meets such a close may be lost.
        let idle = Duration::from_secs(4);
        ConnectOptions { introduce: None, connect: None, pause: Duration::from_secs(120), idle }
    }
}
