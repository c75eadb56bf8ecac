//! What a span tells, as it is kept until it is sent.

use std::time::{Duration, SystemTime};

use http::header::HeaderValue;
use http::{Method, StatusCode, Uri, Version};

use super::context::Context;
use crate::endpoint::{Endpoint, Scheme};
use crate::listen::Client;

/// A span that is over, but for its duration while it runs. Its copies are as cheap as they can be: they are made while requests run.
pub(super) struct Record {
    /// Its own place.
    pub(super) context: Context,
    /// What it is below, if that is known.
    pub(super) parent: Option<u64>,
    /// The `tracestate` that came.
    pub(super) state: Vec<HeaderValue>,
    pub(super) began: SystemTime,
    pub(super) took: Duration,
    pub(super) method: Method,
    pub(super) target: Uri,
    /// None if there was no reply.
    pub(super) status: Option<StatusCode>,
    /// What went wrong beside the status, in a word.
    pub(super) fault: Option<&'static str>,
    pub(super) side: Side,
}

/// Which end of a request it is.
pub(super) enum Side {
    /// The request as it came.
    Server {
        input: Scheme,
        version: Version,
        host: Option<HeaderValue>,
        agent: Option<HeaderValue>,
        /// Who has connected.
        peer: Client,
        /// Whose request it is.
        client: Client,
    },
    /// The request as it went to an upstream.
    Client {
        upstream: Endpoint,
        /// How many have had it before.
        resends: usize,
    },
}
