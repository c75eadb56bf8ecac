//! How calls of gRPC went. HTTP's status is 200 for all of them; `grpc-status` tells, behind the body or in a head without one.

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;

use crate::balance::Outcome;

/// With `+proto` and such behind it, and `-web`, whose heads are the same.
const TYPE: &[u8] = b"application/grpc";

static STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// What `grpc-status` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(u8);

/// What the head of a reply says of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// It is none of gRPC's, or there is nothing to be told.
    Other,
    /// It is over.
    Over(Code),
    /// How it went is told behind the body.
    Running,
}

impl Call {
    /// Looks at a head. Replies with a body of known length are none of gRPC's, so those cost nothing.
    pub(crate) fn of(reply: &Response<impl Body>) -> Call {
        let ended = reply.body().is_end_stream();
        if reply.status() != StatusCode::OK || !(ended || reply.body().size_hint().exact().is_none()) {
            return Call::Other;
        }
        let is_grpc = reply.headers().get(CONTENT_TYPE).is_some_and(|kind| {
            kind.as_bytes().get(..TYPE.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(TYPE))
        });
        match Code::of(reply.headers()).filter(|_| is_grpc) {
            Some(code) => Call::Over(code),
            None if is_grpc && !ended => Call::Running,
            None => Call::Other,
        }
    }
}

impl Code {
    /// What trailers, or a head, say; what cannot be read is `UNKNOWN`.
    pub(crate) fn of(fields: &HeaderMap) -> Option<Code> {
        let text = fields.get(&STATUS)?;
        let number = text.to_str().ok().and_then(|text| text.parse().ok());
        Some(Code(number.unwrap_or(2)))
    }

    /// What it says of the upstream. `UNAVAILABLE` is a 503. `RESOURCE_EXHAUSTED` is a 429, `UNKNOWN`, `INTERNAL` and `DATA_LOSS` are a
    /// 500, for which nobody is ejected; nor is anybody for `DEADLINE_EXCEEDED`, since it is the client that says how long a call may take.
    /// All others are of the call.
    pub(crate) fn outcome(self) -> Outcome {
        match self.0 {
            14 => Outcome::Failed,
            2 | 4 | 8 | 13 | 15 => Outcome::Error,
            _ => Outcome::Good,
        }
    }

    /// The number.
    pub(crate) fn number(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{Empty, Full, StreamBody};

    use super::*;

    fn head(status: u16, kind: &str, code: Option<&str>) -> http::response::Builder {
        let head = Response::builder().status(status).header("content-type", kind);
        match code {
            Some(code) => head.header("grpc-status", code),
            None => head,
        }
    }

    fn empty(status: u16, kind: &str, code: Option<&str>) -> Call {
        Call::of(&head(status, kind, code).body(Empty::<Bytes>::new()).expect("a reply"))
    }

    fn streamed(kind: &str, code: Option<&str>) -> Call {
        let body = StreamBody::new(futures_util::stream::pending::<Result<http_body::Frame<Bytes>, BoxError>>());
        Call::of(&head(200, kind, code).body(body).expect("a reply"))
    }

    type BoxError = Box<dyn std::error::Error>;

    #[test]
    fn what_heads_say() {
        assert_eq!(empty(200, "application/grpc", Some("14")), Call::Over(Code(14)));
        assert_eq!(empty(200, "Application/gRPC+proto", Some("0")), Call::Over(Code(0)));
        assert_eq!(empty(200, "application/grpc", Some("many")), Call::Over(Code(2)));
        assert_eq!(empty(200, "application/grpc", None), Call::Other, "nothing follows");
        assert_eq!(empty(503, "application/grpc", Some("14")), Call::Other, "HTTP's status says it");
        assert_eq!(empty(200, "application/json", Some("14")), Call::Other);
        assert_eq!(streamed("application/grpc", None), Call::Running);
        assert_eq!(streamed("application/grpc", Some("14")), Call::Over(Code(14)));
        assert_eq!(streamed("text/plain", None), Call::Other);
        let sized = head(200, "application/grpc", None).body(Full::new(Bytes::from("x"))).expect("a reply");
        assert_eq!(Call::of(&sized), Call::Other);
    }

    #[test]
    fn what_codes_say_of_the_upstream() {
        let with = |outcome| (0..=17).filter(|code| Code(*code).outcome() == outcome).collect::<Vec<_>>();
        assert_eq!(with(Outcome::Failed), [14]);
        assert_eq!(with(Outcome::Error), [2, 4, 8, 13, 15]);
    }
}
