//! One upstream among others: where it is, its connections, and what is known of it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use httpteleport::Stats;
use tokio::time::Instant;

use super::place::Place;
use super::verdict::Verdict;
use super::{Failure, FailureKind, Upstream, one_line};
use crate::balance::{self, Node, Outcome};
use crate::grpc::Code;
use crate::metrics::latency::{Latencies, LatenciesSeen};
use crate::metrics::traffic::BytesSeen;
use crate::request::Progress;
use crate::seldom::Seldom;

/// An upstream of a group. Requests that run there keep it alive when the group has it no more.
pub(crate) struct Target {
    place: Place,
    name: String,
    upstream: Upstream,
    pub(super) node: Arc<Node>,
    weight: AtomicU32,
    retries: AtomicU64,
    latencies: Latencies,
    /// Lines on its replies that broke off.
    broken: Seldom,
}

/// The state of an upstream at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// Its URL, and the address if that was looked up.
    pub(crate) name: String,
    /// `up`, `unhealthy` (a health check says so), `ejected` (it fails requests) or `unreachable` (it was the last time).
    pub(crate) state: &'static str,
    /// Its part of the requests, against those of others, as it is set.
    pub(crate) weight: u32,
    /// The same as it is now: less in a slow start, and 0 while it gets no requests.
    pub(crate) effective_weight: f64,
    /// Requests that run, to the end of their replies' bodies.
    pub(crate) pending: usize,
    /// Smoothed time to the head of a good reply; zero while there was none.
    pub(crate) latency: Duration,
    /// Requests that it was sent, repeats among them.
    pub(crate) requests: u64,
    /// Those that failed: not reached, no reply, or 429, 500, 502, 503 and 504.
    pub(crate) failures: u64,
    /// Times that it was left alone for its failures.
    pub(crate) ejections: u64,
    /// Requests that had been sent before, here or elsewhere.
    pub(crate) retries: u64,
    /// Times that it has not taken a request over HTTP/2.
    pub(crate) untaken: u64,
    /// Connections that are open.
    pub(crate) connections: u64,
    /// Connections that were opened, and those that could not be.
    pub(crate) dials: u64,
    pub(crate) dial_errors: u64,
    /// On its connections, as they are on the network.
    pub(crate) bytes: BytesSeen,
    /// How long it took to the heads of its replies.
    pub(crate) latencies: LatenciesSeen,
    /// If it speaks teleport.
    pub(crate) teleport: Option<Stats>,
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Snapshot {
            name,
            state,
            weight,
            effective_weight,
            pending,
            latency,
            requests,
            failures,
            ejections,
            retries,
            connections,
            ..
        } = self;
        write!(
            f,
            "{name}: {state}, weight {effective_weight:.2} of {weight}, {pending} of {requests} requests pending, {failures} failed, ejected {ejections} times, \
             {retries} requests sent before, here or elsewhere, {connections} connections, latency {latency:.1?}"
        )
    }
}

/// A request that a target is busy with; over when dropped, which has to be when the last byte of its reply has come.
pub(crate) struct Attempt {
    target: Arc<Target>,
    began: Instant,
    /// How its body gets on, if that streams: the time that it takes is the client's then, not the target's.
    upload: Option<Arc<Progress>>,
    /// Whether it is known what came of it, as far as the head of a reply tells.
    noted: bool,
    /// What the end of the reply will tell.
    verdict: Option<Box<Verdict>>,
}

impl Target {
    pub(super) fn new(place: Place, upstream: Upstream, now: Instant) -> Target {
        let weight = AtomicU32::new(place.weight);
        Target {
            name: place.to_string(),
            place,
            upstream,
            node: Arc::new(Node::new(now)),
            weight,
            retries: AtomicU64::new(0),
            latencies: Latencies::default(),
            broken: Seldom::default(),
        }
    }

    /// How people call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What tells it from all others.
    pub(crate) fn id(&self) -> u64 {
        self.node.id()
    }

    /// An active check has found it ill, or well again. Tells whether that is news.
    pub(crate) fn set_ill(&self, ill: bool, now: Instant) -> bool {
        self.node.set_ill(ill, now)
    }

    pub(crate) fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Requests that came here first.
    pub(super) fn first_requests(&self) -> u64 {
        self.node.requests().saturating_sub(self.retries.load(Relaxed))
    }

    /// Where it is.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Relaxed);
    }

    /// The head of a reply has come, after so long.
    pub(super) fn replied(&self, took: Duration) {
        self.latencies.add(took);
    }

    pub(super) fn snapshot(&self, now: Instant, options: &balance::Options) -> Snapshot {
        let picture = self.node.picture(now, options);
        let weight = self.weight.load(Relaxed);
        let output = self.upstream.output();
        let (dials, dial_errors) = output.dials();
        Snapshot {
            name: self.name.clone(),
            state: picture.state,
            weight,
            effective_weight: f64::from(weight) * picture.warmth,
            pending: picture.pending,
            latency: picture.latency,
            requests: picture.requests,
            failures: picture.failures,
            ejections: picture.ejections,
            retries: self.retries.load(Relaxed),
            untaken: self.upstream.untaken(),
            connections: self.upstream.connections(),
            dials,
            dial_errors,
            bytes: output.bytes.seen(),
            latencies: self.latencies.seen(),
            teleport: self.upstream.stats(),
        }
    }
}

impl Attempt {
    /// A request begins at the target; `again` if another one has had it. `upload` tells of its body, if that
    /// streams.
    pub(super) fn begin(target: Arc<Target>, now: Instant, again: bool, upload: Option<Arc<Progress>>) -> Attempt {
        target.node.begin(now);
        if again {
            target.retries.fetch_add(1, Relaxed);
        }
        Attempt { target, began: now, upload, noted: false, verdict: None }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The end of the reply will tell what came of it.
    pub(super) fn wait_for(&mut self, verdict: Verdict) {
        self.verdict = Some(Box::new(verdict));
    }

    /// The reply's body has broken off, for this reason; `alone` if its connection was not lost. That says nothing of the target where the request's has
    /// broken off first, nor where its client was waited for: whoever finds that this takes too long breaks off both ways.
    pub(crate) fn note_broken(&mut self, alone: bool, error: &(dyn Error + 'static)) {
        self.verdict = None;
        let client = |upload: &Arc<Progress>| upload.fault().is_some() || (alone && upload.is_awaited());
        if !self.upload.as_ref().is_some_and(client) {
            self.target.node.note_broken(Instant::now());
            self.target.broken.warn(format_args!("reply of {} broken off: {}", self.target.name, one_line(error)));
        }
    }

    /// Trailers have come behind the reply's body.
    pub(crate) fn note_trailers(&mut self, trailers: &HeaderMap) {
        if let Some(verdict) = self.verdict.take() {
            verdict.pass(&self.target, Code::of(trailers));
        }
    }

    /// How long the target has taken by now, if that can be told; from now on it is known what came of it.
    pub(super) fn note(&mut self, now: Instant) -> Option<Duration> {
        self.noted = true;
        self.upload.is_none().then(|| now.saturating_duration_since(self.began))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.noted && self.upload.is_none() {
            let now = Instant::now();
            self.target.node.note_abandoned(now.saturating_duration_since(self.began), now);
        }
        if let Some(verdict) = self.verdict.take() {
            verdict.pass(&self.target, None);
        }
        self.target.node.end();
    }
}

/// What a reply says of the upstream.
pub(super) fn outcome_of_status(status: StatusCode) -> Outcome {
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Outcome::Failed,
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::TOO_MANY_REQUESTS => Outcome::Error,
        _ => Outcome::Good,
    }
}

/// What a failure says of the upstream.
pub(super) fn outcome_of_failure(failure: &Failure) -> Outcome {
    match failure.kind {
        FailureKind::Unreachable => Outcome::Unreachable,
        FailureKind::Timeout | FailureKind::Broken => Outcome::Failed,
        FailureKind::Shortage | FailureKind::Busy | FailureKind::Refused(_) | FailureKind::Request(_) => {
            Outcome::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_replies_and_failures_say() {
        let of_status = |code| outcome_of_status(StatusCode::from_u16(code).expect("a status"));
        for (codes, want) in [
            (&[200, 204, 301, 404, 501, 505][..], Outcome::Good),
            (&[429, 500], Outcome::Error),
            (&[502, 503, 504], Outcome::Failed),
        ] {
            assert!(codes.iter().all(|code| of_status(*code) == want), "{codes:?}");
        }
        let of_kind = |kind| outcome_of_failure(&Failure::new(kind, ""));
        assert_eq!(of_kind(FailureKind::Unreachable), Outcome::Unreachable);
        assert_eq!([FailureKind::Timeout, FailureKind::Broken].map(of_kind), [Outcome::Failed; 2]);
        let status = StatusCode::BAD_REQUEST;
        let own =
            [FailureKind::Shortage, FailureKind::Busy, FailureKind::Refused(status), FailureKind::Request(status)];
        assert_eq!(own.map(of_kind), [Outcome::Unknown; 4]);
    }
}
