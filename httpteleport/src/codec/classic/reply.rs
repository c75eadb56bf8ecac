//! Replies, and what becomes of one that answers `HEAD`.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};

use crate::Body;

/// A reply as the classic wire carries it.
///
/// Nobody who reads a reply from the wire knows the method it answers, so a reply to `HEAD` has to tell its own end like
/// any other. Therefore a client sends `HEAD` as `GET` with `Teleport-Method: HEAD`. A node of this crate answers that in a
/// short form: no body, and the length that `GET` would have given in `Teleport-Head-Length`. A Go peer answers it as a
/// `GET`. [`into_response`](Self::into_response) makes the same response to `HEAD` of either.
///
/// ```
/// use httpteleport::{Body, Reply};
///
/// let whole = http::Response::new(Body::from("what a Go peer sends"));
/// let response = Reply::new(whole).into_response(&http::Method::HEAD);
/// assert!(response.body().is_empty());
/// assert_eq!(response.headers()["content-length"], "20");
/// ```
#[derive(Debug)]
pub struct Reply {
    pub(super) response: Response<Body>,
    /// It answers `HEAD`: it is sent in the short form.
    pub(super) to_head: bool,
    /// What the peer's `Teleport-Head-Length` said.
    pub(super) head_length: Option<u64>,
}

impl Reply {
    /// The reply to a request of any method but `HEAD`.
    pub fn new(response: Response<Body>) -> Self {
        Self { response, to_head: false, head_length: None }
    }

    /// The reply to a request of the method `asked`.
    ///
    /// For `HEAD` the body is not sent, and the length told is that of the body or, if that is empty, the `Content-Length`
    /// header; if there is neither, none is told.
    pub fn answering(asked: &Method, response: Response<Body>) -> Self {
        Self { response, to_head: asked == Method::HEAD, head_length: None }
    }

    /// The response inside, as it came or as it was given.
    pub fn response(&self) -> &Response<Body> {
        &self.response
    }

    /// The response to a request of the method `asked`.
    ///
    /// For `HEAD` the body is dropped, and `Content-Length` is what `GET` would give, if that is known. For any other method
    /// there is no `Content-Length` header; the body knows its length.
    pub fn into_response(self, asked: &Method) -> Response<Body> {
        let mut response = self.response;
        if asked != Method::HEAD {
            return response;
        }
        let body = std::mem::take(response.body_mut());
        // An empty body without a word about its length is a server's that does not know it.
        let length = self.head_length.or((!body.is_empty()).then_some(body.len() as u64));
        if let Some(length) = length.filter(|_| may_have_length(response.status())) {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        response
    }

    /// What `GET` would have had as `Content-Length`, for the short form.
    pub(super) fn true_length(&self) -> Option<u64> {
        match self.response.body().len() {
            0 => declared_length(self.response.headers()),
            length => Some(length as u64),
        }
    }
}

impl From<Response<Body>> for Reply {
    /// As [`Reply::new`].
    fn from(response: Response<Body>) -> Self {
        Self::new(response)
    }
}

/// Whether a reply of this status has a body, so that it makes sense to tell its length.
fn may_have_length(status: StatusCode) -> bool {
    !has_no_body(status)
}

/// Whether a reply of this status ends with its head, whatever its headers say.
pub(crate) fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The `Content-Length` of a response to `HEAD`, if it is one number.
fn declared_length(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).into_iter();
    let (first, more) = (values.next()?, values.next());
    if more.is_some() { None } else { super::framing::length(first.as_bytes()) }
}
