//! What was refused or broken off, and how often.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts up from zero.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// One more.
    pub(crate) fn add(&self) {
        self.add_many(1);
    }

    /// So many more.
    pub(crate) fn add_many(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// So many so far.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Of all listeners of the process. Nothing here is counted for a request that goes well.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Connections that were accepted.
    pub(crate) accepted: Count,
    /// Connections that were closed at once: their client may not connect.
    pub(crate) denied: Count,
    /// Connections that were closed at once: their client has too many.
    pub(crate) client_connections: Count,
    /// Connections without the PROXY header that they should begin with.
    pub(crate) bad_proxy_header: Count,
    /// TLS handshakes that failed.
    pub(crate) failed_handshake: Count,
    /// TLS clients whose certificate was not good, or missing.
    pub(crate) client_certificate: Count,
    /// Connections whose handshake, TLS or PROXY header, took too long.
    pub(crate) slow_handshake: Count,
    /// Connections that ended because a head did not come in time.
    pub(crate) slow_head: Count,
    /// Connections that ended because their client did not read.
    pub(crate) slow_reader: Count,
    /// Requests that are no good HTTP, 400.
    pub(crate) malformed: Count,
    /// Requests without a route, 404.
    pub(crate) no_route: Count,
    /// Requests with a method that is not let in, 405.
    pub(crate) method: Count,
    /// Requests whose body stopped, 408.
    pub(crate) slow_body: Count,
    /// Requests whose body is too large, 413.
    pub(crate) large_body: Count,
    /// Requests of which something is expected that is not done here, 417.
    pub(crate) expectation: Count,
    /// Requests of clients that have too many running already, 429.
    pub(crate) client_concurrency: Count,
    /// Requests of clients that have sent too many in a second, 429.
    pub(crate) client_rate: Count,
    /// Requests whose head is too large, 431.
    pub(crate) large_head: Count,
    /// Requests that ask for what is not done here, 501.
    pub(crate) unsupported: Count,
    /// Requests for which there was no place, 503.
    pub(crate) concurrency: Count,
}

impl Counters {
    /// All of them with their names.
    pub(crate) fn each(&self) -> [(&'static str, u64); 20] {
        [
            ("accepted", self.accepted.get()),
            ("denied", self.denied.get()),
            ("client_connections", self.client_connections.get()),
            ("bad_proxy_header", self.bad_proxy_header.get()),
            ("failed_handshake", self.failed_handshake.get()),
            ("client_certificate", self.client_certificate.get()),
            ("slow_handshake", self.slow_handshake.get()),
            ("slow_head", self.slow_head.get()),
            ("slow_reader", self.slow_reader.get()),
            ("malformed", self.malformed.get()),
            ("no_route", self.no_route.get()),
            ("method", self.method.get()),
            ("slow_body", self.slow_body.get()),
            ("large_body", self.large_body.get()),
            ("expectation", self.expectation.get()),
            ("client_concurrency", self.client_concurrency.get()),
            ("client_rate", self.client_rate.get()),
            ("large_head", self.large_head.get()),
            ("unsupported", self.unsupported.get()),
            ("concurrency", self.concurrency.get()),
        ]
    }
}

impl fmt::Display for Counters {
    /// Those that are not zero: `accepted 3, slow_head 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted: Vec<_> =
            self.each().iter().filter(|(_, count)| *count > 0).map(|(n, c)| format!("{n} {c}")).collect();
        f.write_str(&counted.join(", "))
    }
}
