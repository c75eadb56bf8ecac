//! What a reply says of its upstream when it ends and not before: calls of gRPC.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Target, Upstreams};
use crate::balance::Outcome;
use crate::grpc::Code;

/// What is still to be said of an upstream.
pub(super) struct Verdict {
    upstreams: Arc<Upstreams>,
    /// To the head of the reply, if that tells something of the upstream.
    took: Option<Duration>,
}

impl Verdict {
    pub(super) fn new(upstreams: &Arc<Upstreams>, took: Option<Duration>) -> Verdict {
        Verdict { upstreams: Arc::clone(upstreams), took }
    }

    /// The reply has ended with this code, or without one: then its head is all that there is to go by.
    pub(super) fn pass(self, target: &Target, code: Option<Code>) {
        let outcome = code.map_or(Outcome::Good, Code::outcome);
        let why = || code.map_or_else(String::new, says);
        self.upstreams.conclude(target, outcome, self.took, Instant::now(), why);
    }
}

/// How people are told of a code.
pub(super) fn says(code: Code) -> String {
    format!("it answers grpc-status {}", code.number())
}

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::Bytes;
    use futures_util::stream::pending;
    use http::{HeaderMap, HeaderValue, Response};
    use http_body::Frame;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;
    use crate::body::{Body, BoxError};
    use crate::outbound::upstreams::tests::{places, upstreams};
    use crate::outbound::{Attempt, Options};

    /// A call of gRPC whose reply has begun, and whose end is to come.
    fn begun(upstreams: &Arc<Upstreams>) -> Attempt {
        begun_elsewhere(upstreams, &[])
    }

    /// The same, at an upstream that is none of these.
    fn begun_elsewhere(upstreams: &Arc<Upstreams>, tried: &[u64]) -> Attempt {
        let mut attempt = upstreams.begin(tried, Instant::now(), !tried.is_empty(), None).expect("one");
        let body = Body::boxed(StreamBody::new(pending::<Result<Frame<Bytes>, BoxError>>()).boxed_unsync());
        let reply = Response::builder().header("content-type", "application/grpc").body(body).expect("a reply");
        upstreams.note_reply(&mut attempt, &reply);
        attempt
    }

    fn trailers(code: &'static str) -> HeaderMap {
        HeaderMap::from_iter([("grpc-status".parse().expect("a name"), HeaderValue::from_static(code))])
    }

    /// Two upstreams, of which one may be ejected.
    fn two() -> Arc<Upstreams> {
        let upstreams = upstreams(Options::default());
        upstreams.replace(&places(&["http://10.0.0.1", "http://10.0.0.2"])).expect("fine");
        upstreams
    }

    /// Failures of both, and how many are ejected.
    fn failures(upstreams: &Upstreams) -> (u64, usize) {
        let seen = upstreams.snapshot();
        (seen.iter().map(|one| one.failures).sum(), seen.iter().filter(|one| one.state == "ejected").count())
    }

    #[tokio::test]
    async fn failures_are_in_a_row_though_heads_come_before_them() {
        let upstreams = two();
        for _ in 0..20 {
            begun(&upstreams).note_trailers(&trailers("14"));
        }
        assert_eq!(failures(&upstreams), (20, 1));
    }

    #[tokio::test]
    async fn a_good_end_ends_the_row_and_so_does_one_that_nobody_waits_for() {
        let upstreams = two();
        let other = [begun(&upstreams).target().id()];
        // Too few of them to speak of a share.
        for round in 0..8 {
            for _ in 0..4 {
                begun_elsewhere(&upstreams, &other).note_trailers(&trailers("14"));
            }
            let mut good = begun_elsewhere(&upstreams, &other);
            if round % 2 == 0 {
                good.note_trailers(&trailers("0"));
            }
        }
        assert_eq!(failures(&upstreams), (32, 0));
    }

    #[tokio::test]
    async fn what_breaks_off_has_failed_once() {
        let upstreams = two();
        begun(&upstreams).note_broken(false, &io::Error::other("gone"));
        assert_eq!(failures(&upstreams), (1, 0));
    }
}
