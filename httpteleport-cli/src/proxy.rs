//! From a request to its reply, whatever the two sides speak.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use tokio::time::Instant;

use crate::balance::{Balancer, Slots};
use crate::body::Body;
use crate::interims::Interims;
use crate::listen::Client;
use crate::outbound::{Failure, FailureKind, Upstream};
use crate::request::Outgoing;

/// The upstreams and how requests are spread over them.
pub(crate) struct Proxy {
    /// The scheme of the input: its name begins every error text.
    input: &'static str,
    upstreams: Vec<(String, Upstream)>,
    /// Those of the upstreams that ended here.
    interims: Interims,
    balancer: Balancer,
    timeout: Duration,
    slots: Slots,
    concurrency: usize,
}

impl Proxy {
    /// A proxy for an input of the scheme named, over named upstreams.
    pub(crate) fn new(
        input: &'static str,
        upstreams: Vec<(String, Upstream)>,
        interims: Interims,
        timeout: Duration,
        concurrency: usize,
    ) -> Proxy {
        Proxy {
            input,
            balancer: Balancer::new(upstreams.len()),
            upstreams,
            interims,
            timeout,
            slots: Slots::new(concurrency),
            concurrency,
        }
    }

    /// Interim replies of upstreams that ended here.
    pub(crate) fn interims(&self) -> u64 {
        self.interims.count()
    }

    /// The longest wait for a reply.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends the request to the best upstream and brings its reply, or says in a reply why there is none: 504 when none
    /// came in time, 503 when too many requests run already, 502 otherwise.
    ///
    /// A request that could not leave goes to the next upstream; one whose body streams, as long as nothing of it was taken.
    /// Dropping the future abandons the request.
    pub(crate) async fn forward(&self, request: Outgoing, client: Client) -> Response<Body> {
        let Some(slot) = self.slots.take() else {
            let why = format!("{} requests run already, as many as --concurrency allows", self.concurrency);
            return self.refuse(StatusCode::SERVICE_UNAVAILABLE, &why);
        };
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
                    self.note_failure(index, &failure, client);
                    reply = Some(self.explain(index, &failure));
                    request = failure.unsent;
                    now = Instant::now();
                }
            }
        }
        reply.unwrap_or_else(|| self.refuse(StatusCode::BAD_GATEWAY, "there is no upstream"))
    }

    /// Bytes that all teleport connections to the upstreams have written and read so far, as compressed.
    pub(crate) fn wire_bytes(&self) -> u64 {
        self.upstreams.iter().map(|(_, upstream)| upstream.wire_bytes()).sum()
    }

    /// An error reply of this proxy: short text that begins with the input's kind.
    pub(crate) fn refuse(&self, status: StatusCode, why: &str) -> Response<Body> {
        let text = format!("{}: proxying error: {why}\n", self.input);
        let mut reply = Response::new(Body::from(Bytes::from(text)));
        *reply.status_mut() = status;
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        reply
    }

    fn explain(&self, index: usize, failure: &Failure) -> Response<Body> {
        let status = match failure.kind {
            FailureKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            FailureKind::Refused(status) => status,
            FailureKind::Request(status) => return self.refuse(status, &failure.reason),
            FailureKind::Unreachable | FailureKind::Broken => StatusCode::BAD_GATEWAY,
        };
        self.refuse(status, &format!("{}: {}", self.upstreams[index].0, failure.reason))
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn more_requests_than_the_concurrency_are_503() {
        let proxy = Proxy::new("teleport", Vec::new(), Interims::default(), Duration::from_secs(1), 0);
        let reply = proxy.forward(Outgoing::default(), Client::Unix).await;
        assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE);
        let text = reply.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(text, "teleport: proxying error: 0 requests run already, as many as --concurrency allows\n");
    }
}
