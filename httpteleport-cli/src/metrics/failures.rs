//! Requests that no upstream has answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::StatusCode;

use super::recent::Recent;
use crate::listen::Client;
use crate::outbound::{Failure, FailureKind};
use crate::seldom::Seldom;

/// What to do about a shortage.
const SHORTAGE: &str = "; raise the limit of open files (LimitNOFILE) or widen the range of ports (net.ipv4.ip_local_port_range), or take \
                        more addresses or connections that last";

/// As [`Failures::counts`] tells them apart.
pub(crate) const KINDS: [&str; 7] = ["unreachable", "timeout", "busy", "refused", "request", "broken", "shortage"];

/// Where a kind is among [`KINDS`].
pub(crate) fn place(kind: FailureKind) -> usize {
    match kind {
        FailureKind::Unreachable => 0,
        FailureKind::Timeout => 1,
        FailureKind::Busy => 2,
        FailureKind::Refused(_) => 3,
        FailureKind::Request(_) => 4,
        FailureKind::Broken => 5,
        FailureKind::Shortage => 6,
    }
}

/// Those of one group, by the failure that was told to their clients, and where all failures are noted.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    group: String,
    counts: [AtomicU64; KINDS.len()],
    /// Who sends many requests to where they fail can cause these lines.
    lines: [Seldom; KINDS.len()],
    recent: Arc<Recent>,
}

impl Failures {
    /// None so far of the group of that name; what happens is noted there.
    pub(crate) fn new(group: &str, recent: Arc<Recent>) -> Failures {
        Failures { group: group.to_owned(), recent, ..Failures::default() }
    }

    /// The name of the group.
    pub(crate) fn group(&self) -> &str {
        &self.group
    }

    /// An upstream has failed a request, which may have another chance. What came to a bad end on its way here is no news of it.
    pub(crate) fn note(&self, upstream: &str, failure: &Failure) {
        if !matches!(failure.kind, FailureKind::Request(_)) {
            self.recent.note(|| format!("{upstream}: {}", failure.reason));
        }
    }

    /// The client was told of this one, with this status; `why` says of which upstream, too. That is a warning, one a second for each kind. Who has
    /// found that the request itself came to a bad end has said so.
    pub(crate) fn told(&self, kind: FailureKind, client: Client, status: StatusCode, why: &str) {
        self.count(kind);
        let advice = match kind {
            FailureKind::Request(_) => return,
            FailureKind::Shortage => SHORTAGE,
            _ => "",
        };
        let status = status.as_u16();
        self.lines[place(kind)].warn(format_args!("request of {client} answered with {status}: {why}{advice}"));
    }

    /// A request has failed so, which is all there is to say here.
    pub(crate) fn count(&self, kind: FailureKind) {
        self.counts[place(kind)].fetch_add(1, Relaxed);
    }

    /// In the order of [`KINDS`].
    pub(crate) fn counts(&self) -> [u64; KINDS.len()] {
        std::array::from_fn(|kind| self.counts[kind].load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters;

    #[test]
    fn the_docs_tell_what_each_reason_and_kind_means() {
        let docs = include_str!("../../../docs/operations.md");
        let told = docs.split("\n## What clients get\n").nth(1).and_then(|rest| rest.split("\n## ").next());
        let told = told.expect("a list of them");
        let reasons = Counters::default().each().map(|(reason, _)| reason);
        for name in reasons.iter().filter(|reason| **reason != "accepted").chain(&KINDS) {
            assert!(
                told.contains(&format!("`{name}`")),
                "docs/operations.md lacks {name}, below \"## What clients get\""
            );
        }
    }
}
