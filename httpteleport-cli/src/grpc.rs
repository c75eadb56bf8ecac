//! How calls of gRPC went. HTTP's status is 200 for all of them; `grpc-status` tells, behind the body or in a head without one.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;

use crate::balance::Outcome;

/// With `+proto` and such behind it, and `-web`, whose heads are the same.
const TYPE: &[u8] = b"application/grpc";

static STATUS: HeaderName = HeaderName::from_static("grpc-status");
static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The type of the reply to a request, if that is a call.
pub(crate) fn reply_type<B>(request: &Request<B>) -> Option<&'static str> {
    if request.method() != Method::POST {
        return None;
    }
    let kind = request.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let name = kind.split(['+', ';']).next()?.trim_end();
    let all = ["application/grpc", "application/grpc-web", "application/grpc-web-text"];
    all.into_iter().find(|one| one.eq_ignore_ascii_case(name))
}

/// The reply, of that type, to a call that this proxy answers with this status and text: a head and no more, of HTTP's status 200.
pub(crate) fn failure(kind: &'static str, status: StatusCode, why: &str) -> Response<Bytes> {
    let mut reply = Response::new(Bytes::new());
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(STATUS.clone(), u16::from(Code::of_status(status).0).into());
    if let Ok(why) = HeaderValue::from_str(&encoded(why)) {
        headers.insert(MESSAGE.clone(), why);
    }
    reply
}

/// A text as `grpc-message` has it.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(byte.into()),
            _ => {
                let _ = write!(out, "%{byte:02X}"); // Into a string nothing fails.
            }
        }
    }
    out
}

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

    /// What a status of HTTP is among them, where this proxy has one to tell.
    fn of_status(status: StatusCode) -> Code {
        Code(match status.as_u16() {
            499 => 1,              // CANCELLED
            408 | 504 => 4,        // DEADLINE_EXCEEDED
            403 => 7,              // PERMISSION_DENIED
            413 | 429 => 8,        // RESOURCE_EXHAUSTED
            404 | 405 | 501 => 12, // UNIMPLEMENTED
            400 | 417 | 431 => 13, // INTERNAL
            502 | 503 => 14,       // UNAVAILABLE
            _ => 2,                // UNKNOWN
        })
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
    fn which_requests_are_calls() {
        let of = |method: &str, kind: &str| {
            let request = Request::builder().method(method).header("content-type", kind).body(()).expect("a request");
            reply_type(&request)
        };
        assert_eq!(of("POST", "application/grpc"), Some("application/grpc"));
        assert_eq!(of("POST", "Application/gRPC+proto; x=y"), Some("application/grpc"));
        assert_eq!(of("POST", "application/grpc-web+json"), Some("application/grpc-web"));
        assert_eq!(of("POST", "application/grpc-web-text"), Some("application/grpc-web-text"));
        assert_eq!(
            [of("GET", "application/grpc"), of("POST", "application/grpcs"), of("POST", "text/plain")],
            [None; 3]
        );
    }

    #[test]
    fn a_refusal_is_a_head_with_a_code() {
        let reply = failure("application/grpc", StatusCode::PAYLOAD_TOO_LARGE, "100% \u{e9}\n");
        assert!(reply.status() == StatusCode::OK && reply.body().is_empty());
        assert_eq!(
            ["content-type", "grpc-status", "grpc-message"].map(|name| &reply.headers()[name]),
            ["application/grpc", "8", "100%25 %C3%A9%0A"]
        );
        let codes = [400, 403, 404, 408, 413, 429, 431, 499, 501, 502, 503, 504, 418];
        let codes = codes.map(|status| Code::of_status(StatusCode::from_u16(status).expect("a status")).0);
        assert_eq!(codes, [13, 7, 12, 4, 8, 8, 13, 1, 12, 14, 14, 4, 2]);
    }

    #[test]
    fn what_codes_say_of_the_upstream() {
        let with = |outcome| (0..=17).filter(|code| Code(*code).outcome() == outcome).collect::<Vec<_>>();
        assert_eq!(with(Outcome::Failed), [14]);
        assert_eq!(with(Outcome::Error), [2, 4, 8, 13, 15]);
    }
}
