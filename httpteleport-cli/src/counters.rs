//! What was refused or broken off, and how often.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::recent::Recent;
use crate::seldom::Seldom;

/// The target of lines on refusals: all of them are noted among what went wrong lately, whether they are written or not.
pub(crate) const REFUSALS: &str = concat!(env!("CARGO_CRATE_NAME"), "::refusals");

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

/// One kind of refusals: how often, and its lines in the log. Clients can cause these at will, so there is one a second, which says how
/// many there were that were not written, at the latest when they have stopped; those are there for who wants all of them.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    count: Count,
    lines: Seldom,
    recent: Arc<Recent>,
}

impl Refused {
    fn new(recent: &Arc<Recent>) -> Refused {
        Refused { recent: Arc::clone(recent), ..Refused::default() }
    }

    /// It has happened once more: `connection` of `client` `closed: it is not allowed to connect`.
    pub(crate) fn note(&self, what: &str, client: impl Display, became: impl Display) {
        self.count.add();
        self.recent.note(|| format!("{what} {became}"));
        self.lines.say(format_args!("{what} of {client} {became}"), |more, line| match more {
            Some(0) => tracing::warn!(target: REFUSALS, "{line}"),
            Some(more) => tracing::warn!(target: REFUSALS, "{line} (and {more} more since the last line)"),
            None => tracing::debug!(target: REFUSALS, "{line}"),
        });
    }

    /// So often so far.
    pub(crate) fn get(&self) -> u64 {
        self.count.get()
    }
}

/// Of all listeners of the process. Nothing here is counted for a request that goes well.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Connections that were accepted.
    pub(crate) accepted: Count,
    /// Connections that were closed at once: their client may not connect.
    pub(crate) denied: Refused,
    /// Connections that were closed at once: their client has too many.
    pub(crate) client_connections: Refused,
    /// Connections without the PROXY header that they should begin with.
    pub(crate) bad_proxy_header: Refused,
    /// Connections to teleport inputs that begin with no hello of a node, or one of another kind.
    pub(crate) bad_hello: Refused,
    /// TLS handshakes that failed.
    pub(crate) failed_handshake: Refused,
    /// TLS clients whose certificate was not good, or missing.
    pub(crate) client_certificate: Refused,
    /// Connections whose handshake, TLS or PROXY header, took too long.
    pub(crate) slow_handshake: Refused,
    /// Connections that ended because a head did not come in time.
    pub(crate) slow_head: Refused,
    /// Connections that ended because their client did not read.
    pub(crate) slow_reader: Refused,
    /// Requests that are no good HTTP, 400.
    pub(crate) malformed: Refused,
    /// Requests without a route, 404.
    pub(crate) no_route: Refused,
    /// Requests with a method that is not let in, 405.
    pub(crate) method: Refused,
    /// Requests whose body stopped, 408.
    pub(crate) slow_body: Refused,
    /// Requests whose body is too large, 413.
    pub(crate) large_body: Refused,
    /// Requests of which something is expected that is not done here, 417.
    pub(crate) expectation: Refused,
    /// Requests of clients that have too many running already, 429.
    pub(crate) client_concurrency: Refused,
    /// Requests of clients that have sent too many in a second, 429.
    pub(crate) client_rate: Refused,
    /// Requests whose head is too large, 431.
    pub(crate) large_head: Refused,
    /// Requests that ask for what is not done here, 501.
    pub(crate) unsupported: Refused,
    /// Requests for which there was no place, 503.
    pub(crate) concurrency: Refused,
}

impl Counters {
    /// Nothing has happened so far; refusals are noted there.
    pub(crate) fn new(recent: &Arc<Recent>) -> Counters {
        let refused = || Refused::new(recent);
        Counters {
            accepted: Count::default(),
            denied: refused(),
            client_connections: refused(),
            bad_proxy_header: refused(),
            bad_hello: refused(),
            failed_handshake: refused(),
            client_certificate: refused(),
            slow_handshake: refused(),
            slow_head: refused(),
            slow_reader: refused(),
            malformed: refused(),
            no_route: refused(),
            method: refused(),
            slow_body: refused(),
            large_body: refused(),
            expectation: refused(),
            client_concurrency: refused(),
            client_rate: refused(),
            large_head: refused(),
            unsupported: refused(),
            concurrency: refused(),
        }
    }

    /// All of them with their names.
    pub(crate) fn each(&self) -> [(&'static str, u64); 21] {
        [
            ("accepted", self.accepted.get()),
            ("denied", self.denied.get()),
            ("client_connections", self.client_connections.get()),
            ("bad_proxy_header", self.bad_proxy_header.get()),
            ("bad_hello", self.bad_hello.get()),
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

impl Display for Counters {
    /// Those that are not zero: `accepted 3, slow_head 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted: Vec<_> =
            self.each().iter().filter(|(_, count)| *count > 0).map(|(n, c)| format!("{n} {c}")).collect();
        f.write_str(&counted.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_counted_and_noted_without_its_client() {
        let recent = Arc::<Recent>::default();
        let counters = Counters::new(&recent);
        for port in 1..=3 {
            counters.denied.note("connection", format_args!("10.0.0.1:{port}"), "closed: it may not connect");
        }
        let noted = recent.all();
        assert_eq!((counters.denied.get(), noted.len(), noted[0].count), (3, 1, 3));
        assert_eq!(noted[0].what, "connection closed: it may not connect");
    }
}
