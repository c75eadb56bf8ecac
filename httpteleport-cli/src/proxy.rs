//! From a request to its reply, whatever the two sides speak.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use tokio::time::Instant;

use crate::balance::Load;
use crate::body::Body;
use crate::listen::Client;
use crate::metrics::failures::Failures;
use crate::outbound::{Attempt, Failure, FailureKind, Introduced, Upstreams};
use crate::refusal::Caller;
use crate::request::{Outgoing, Progress};
use crate::spans::Span;

/// Who has less time than this left is not sent again to where it was not taken.
const SHORTEST: Duration = Duration::from_millis(10);

/// Why a request is not answered that no upstream was asked.
const NOBODY: &str = "there is no upstream";

/// A group of upstreams, and the way of requests to them.
pub(crate) struct Proxy {
    upstreams: Arc<Upstreams>,
    timeout: Duration,
    failures: Failures,
    /// The upstreams are told whose each connection is.
    introduces: bool,
}

/// Where a request has been.
#[derive(Default)]
struct Tries {
    /// The ids of the upstreams that do not get it as long as there are others.
    tried: Vec<u64>,
    /// Of those that may have taken it. None of them gets it twice.
    taken: Vec<u64>,
    /// How often it was sent again although it may have left.
    repeats: u32,
    /// How often it was sent.
    sent: usize,
    /// How often it has got more time, as its client had used that up.
    renewals: u32,
}

impl Proxy {
    /// A proxy over upstreams, which have so long to reply; what they fail is counted there.
    pub(crate) fn new(upstreams: Arc<Upstreams>, timeout: Duration, failures: Failures) -> Proxy {
        Proxy { upstreams, timeout, failures, introduces: false }
    }

    /// What they have failed.
    pub(crate) fn failures(&self) -> &Failures {
        &self.failures
    }

    /// The same, and tells its upstreams whose each connection is.
    pub(crate) fn introducing(mut self, introduces: bool) -> Proxy {
        self.introduces = introduces;
        self
    }

    /// The longest wait for a reply.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Where requests may go.
    pub(crate) fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    /// Sends the request to the best upstream and brings its reply, or says in a reply why there is none: 504 when none
    /// came in time, 503 where there is no way to an upstream for want of something here, 502 otherwise. The reply holds the request's place to its end.
    ///
    /// A request that could not leave goes to the next upstream; one whose body streams, as long as nothing of it was taken. So
    /// does one that may have left, if it can be made twice and the budget for that allows it. One that upstreams have not taken goes to
    /// them again, within limits, until the time is over, which begins anew where an upload has used it up.
    /// Dropping the future abandons the request. Each upstream that has it is a span below that of the request.
    pub(crate) async fn forward(
        &self,
        request: Outgoing,
        caller: Caller,
        slot: Load,
        span: Option<&Span>,
    ) -> Response<Body> {
        let mut now = Instant::now();
        let mut deadline = now + self.timeout;
        let mut tries = Tries::default();
        let mut request = Some(request);
        let mut reply = None;
        let mut last = None;
        while let Some(mut sendable) = request.take() {
            if self.introduces {
                sendable.extensions_mut().insert(Introduced { client: caller.client, to: caller.to });
            }
            let upload = sendable.body().progress();
            let Some(mut attempt) = self.upstreams.begin(&tries.tried, now, tries.sent > 0, upload.clone()) else {
                break;
            };
            let mut part = span.map(|span| span.attempt(&mut sendable, attempt.target().place(), tries.sent));
            match attempt.target().upstream().call(sendable, deadline).await {
                Ok(found) => {
                    self.upstreams.note_reply(&mut attempt, &found);
                    if let Some(part) = &mut part {
                        part.replied(found.status());
                    }
                    return found.map(|body| body.holding(attempt, slot, part));
                }
                Err(mut failure) => {
                    if let Some(part) = &mut part {
                        part.failed(failure.kind);
                    }
                    now = Instant::now();
                    if failure.untaken.is_some() && now >= deadline && self.renews(&mut tries, upload.as_deref()) {
                        deadline = now + self.timeout;
                    }
                    request = self.again(&mut failure, &mut tries, &attempt, now, deadline);
                    if failure.untaken.is_some() && request.is_some() {
                        self.upstreams.note_untaken(&mut attempt, now);
                    } else {
                        self.note_failure(&mut attempt, &failure, caller.client, now);
                    }
                    reply = Some(explain(&failure, caller));
                    last = Some((failure.kind, format!("{}: {}", attempt.target().name(), failure.reason)));
                }
            }
        }
        let nobody = || (FailureKind::Unreachable, format!("{NOBODY} in group {}", self.failures.group()));
        let (kind, why) = last.unwrap_or_else(nobody);
        self.failures.told(kind, caller.client, status(kind), &why);
        reply.unwrap_or_else(|| caller.refuse(StatusCode::BAD_GATEWAY, NOBODY))
    }

    /// The request, if another upstream may have it; or the same one, where all have been asked and this one did not take it.
    fn again(
        &self,
        failure: &mut Failure,
        tries: &mut Tries,
        attempt: &Attempt,
        now: Instant,
        deadline: Instant,
    ) -> Option<Outgoing> {
        let options = &self.upstreams.options().retry;
        tries.sent += 1;
        let id = attempt.target().id();
        tries.tried.push(id);
        if failure.unsent.is_none() {
            tries.taken.push(id);
        }
        let untaken = failure.untaken.as_ref();
        if let Some(untaken) = untaken.filter(|_| !self.upstreams.has_other(&tries.tried)) {
            if untaken.spent || now + SHORTEST >= deadline {
                return None;
            }
            tries.tried.clone_from(&tries.taken);
        }
        if tries.tried.len() >= options.attempts as usize {
            return None;
        }
        if let Some(request) = failure.unsent.take() {
            let costs = untaken.is_some_and(|untaken| untaken.costs);
            return (!costs || self.upstreams.may_repeat(now)).then_some(request);
        }
        let request = failure.harmless.take().filter(|_| tries.repeats < options.repeats)?;
        tries.repeats += 1;
        // Asked for last: what is taken from the budget is used.
        (self.upstreams.has_other(&tries.tried) && self.upstreams.may_repeat(now)).then_some(request)
    }

    /// Whether there is more time for a request that was not taken in time: only its upload can have gone on for so long.
    fn renews(&self, tries: &mut Tries, upload: Option<&Progress>) -> bool {
        let renews = upload.is_some() && tries.renewals < self.upstreams.options().retry.attempts;
        tries.renewals += u32::from(renews);
        renews
    }

    fn note_failure(&self, attempt: &mut Attempt, failure: &Failure, client: Client, now: Instant) {
        tracing::debug!("request of {client} to {}: {}", attempt.target().name(), failure.reason);
        self.failures.note(attempt.target().name(), failure);
        self.upstreams.note_failure(attempt, failure, now);
    }
}

/// Where upstreams are is nothing that clients need to know.
fn explain(failure: &Failure, caller: Caller) -> Response<Body> {
    caller.refuse(status(failure.kind), failure.told)
}

fn status(kind: FailureKind) -> StatusCode {
    match kind {
        FailureKind::Timeout | FailureKind::Busy => StatusCode::GATEWAY_TIMEOUT,
        FailureKind::Shortage => StatusCode::SERVICE_UNAVAILABLE,
        FailureKind::Refused(status) | FailureKind::Request(status) => status,
        FailureKind::Unreachable | FailureKind::Broken => StatusCode::BAD_GATEWAY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::Slots;
    use crate::discover::Source;
    use crate::endpoint::Scheme;
    use crate::interims::Interims;
    use crate::outbound::{HttpUpstream, Options, Place, Upstream};
    use crate::shutdown::Shutdown;

    #[tokio::test]
    async fn a_request_that_cannot_leave_is_tried_eight_times_each_time_elsewhere() {
        let build = |place: &Place| {
            let (patience, shutdown) = (Duration::from_secs(3), Shutdown::new());
            let upstream = HttpUpstream::new(place, None, 1, 4096, patience, shutdown, Interims::default())?;
            Ok(Upstream::Http(Box::new(upstream)))
        };
        let upstreams = Arc::new(Upstreams::new(Options::default(), 100, Box::new(build)));
        // Nobody listens on port 1 of any loopback address.
        let place = |n| Source::parse(&format!("http://127.0.0.{n}:1")).ok().and_then(|source| source.fixed());
        upstreams.replace(&(1..=12).filter_map(place).collect::<Vec<_>>()).expect("fine");
        let proxy = Proxy::new(Arc::clone(&upstreams), Duration::from_secs(3), Failures::default());
        let slot = Slots::new(1).take().expect("a place");
        let reply = proxy
            .forward(
                Outgoing::default(),
                Caller { client: Client::Unix, input: Scheme::Http, to: None, grpc: None },
                slot,
                None,
            )
            .await;
        assert_eq!(reply.status(), StatusCode::BAD_GATEWAY);
        let mut tried: Vec<_> = upstreams.snapshot().iter().map(|upstream| upstream.requests).collect();
        tried.sort_unstable();
        assert_eq!(tried, [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(upstreams.snapshot().iter().map(|upstream| upstream.retries).sum::<u64>(), 7);
    }
}
