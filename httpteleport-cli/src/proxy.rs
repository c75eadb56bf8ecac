//! From a request to its reply, whatever the two sides speak.

use std::time::Duration;

use http::{Response, StatusCode};
use tokio::time::Instant;

use crate::balance::{Balancer, Load};
use crate::body::Body;
use crate::listen::Client;
use crate::outbound::{Failure, FailureKind, Upstream};
use crate::refusal::Caller;
use crate::request::Outgoing;

/// A group of upstreams, and how requests are spread over them.
pub(crate) struct Proxy {
    upstreams: Vec<(String, Upstream)>,
    balancer: Balancer,
    timeout: Duration,
}

impl Proxy {
    /// A proxy over named upstreams.
    pub(crate) fn new(upstreams: Vec<(String, Upstream)>, timeout: Duration) -> Proxy {
        Proxy { balancer: Balancer::new(upstreams.len()), upstreams, timeout }
    }

    /// The longest wait for a reply.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends the request to the best upstream and brings its reply, or says in a reply why there is none: 504 when none
    /// came in time, 502 otherwise. The reply holds the request's place to its end.
    ///
    /// A request that could not leave goes to the next upstream; one whose body streams, as long as nothing of it was taken.
    /// Dropping the future abandons the request.
    pub(crate) async fn forward(&self, request: Outgoing, caller: Caller, slot: Load) -> Response<Body> {
        let mut now = Instant::now();
        let deadline = now + self.timeout;
        let mut tried = Vec::new();
        let mut request = Some(request);
        let mut reply = None;
        while let Some(sendable) = request.take() {
            let Some((index, load)) = self.balancer.choose(&tried, now) else {
                break;
            };
            match self.upstreams[index].1.call(sendable, deadline).await {
                Ok(found) => {
                    self.note_success(index);
                    return found.map(|body| body.holding(load, slot));
                }
                Err(failure) => {
                    tried.push(index);
                    self.note_failure(index, &failure, caller.client);
                    reply = Some(self.explain(index, &failure, caller));
                    request = failure.unsent;
                    now = Instant::now();
                }
            }
        }
        reply.unwrap_or_else(|| caller.refuse(StatusCode::BAD_GATEWAY, "there is no upstream"))
    }

    /// Bytes that all teleport connections to the upstreams have written and read so far, as compressed.
    pub(crate) fn wire_bytes(&self) -> u64 {
        self.upstreams.iter().map(|(_, upstream)| upstream.wire_bytes()).sum()
    }

    fn explain(&self, index: usize, failure: &Failure, caller: Caller) -> Response<Body> {
        let status = match failure.kind {
            FailureKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            FailureKind::Refused(status) => status,
            FailureKind::Request(status) => return caller.refuse(status, &failure.reason),
            FailureKind::Unreachable | FailureKind::Broken => StatusCode::BAD_GATEWAY,
        };
        caller.refuse(status, &format!("{}: {}", self.upstreams[index].0, failure.reason))
    }

    fn note_success(&self, index: usize) {
        if self.balancer.succeeded(index) {
            tracing::info!("{} is back", self.upstreams[index].0);
        }
    }

    fn note_failure(&self, index: usize, failure: &Failure, client: Client) {
        let (name, reason) = (&self.upstreams[index].0, &failure.reason);
        tracing::debug!("request of {client} to {name}: {reason}");
        if failure.kind == FailureKind::Unreachable && self.balancer.failed(index, Instant::now()) {
            tracing::warn!("{name} cannot be reached: {reason}; avoiding it until it answers");
        }
    }
}
