//! Requests that are not forwarded, and what their clients are told.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use crate::body::Body;
use crate::endpoint::Scheme;
use crate::listen::Client;

/// Why a request is not forwarded: the status of its reply, and the same in words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) Cow<'static, str>);

impl Refusal {
    /// A refusal in fixed words.
    pub(crate) const fn new(status: StatusCode, why: &'static str) -> Refusal {
        Refusal(status, Cow::Borrowed(why))
    }
}

/// Who sent a request, and through what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// For logs.
    pub(crate) client: Client,
    /// The input's: its name begins every error text.
    pub(crate) input: Scheme,
}

impl Caller {
    /// An error reply of this proxy: short text that begins with the input's kind.
    pub(crate) fn refuse(self, status: StatusCode, why: &str) -> Response<Body> {
        let text = format!("{}: proxying error: {why}\n", self.input.name());
        let mut reply = Response::new(Body::from(Bytes::from(text)));
        *reply.status_mut() = status;
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        reply
    }
}
