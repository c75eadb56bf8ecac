//! A response whose head stays text.

use std::fmt;

use http::header::{self, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use super::Head;
use crate::Body;
use crate::codec::classic::{has_no_body, length, status_line};
use crate::codec::error::{CodecError, Fault};

/// A response whose headers are looked up in the text that came. Cheap to clone.
///
/// ```
/// use http::{StatusCode, header};
/// use httpteleport::lazy;
///
/// let response = lazy::Response::new(StatusCode::OK)
///     .with_header(&header::CONTENT_TYPE, &http::HeaderValue::from_static("text/plain"))
///     .with_body("hello");
/// assert_eq!(response.header("content-type"), Some(&b"text/plain"[..]));
/// ```
#[derive(Clone)]
pub struct Response {
    head: Head,
    body: Body,
    status: StatusCode,
    /// It answers `HEAD`: it is sent in the short form.
    to_head: bool,
    /// What the body's length would be if it answered `GET`, if that is not the length of `body`.
    whole_length: Option<u64>,
}

impl Response {
    /// A response of this status without headers and body.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        let mut start = Vec::new();
        status_line(status, &mut start);
        let fields = start.len();
        Self::received(Head::new(start.into(), fields, 0).canonical(0), status, None)
    }

    /// One whose head came and was checked.
    pub(crate) fn received(head: Head, status: StatusCode, head_length: Option<u64>) -> Self {
        Self { head, body: Body::empty(), status, to_head: false, whole_length: head_length }
    }

    /// Adds a header behind those that are there. Those that belong to one hop (RFC 9110, 7.6.1) are left out: the wire
    /// writes its own. So is `Content-Length`; for a response to `HEAD` without a body it tells the length that the body
    /// of `GET` has.
    #[must_use]
    pub fn with_header(mut self, name: &HeaderName, value: &HeaderValue) -> Self {
        if *name == header::CONTENT_LENGTH {
            self.whole_length = length(value.as_bytes());
        }
        self.head.push(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The first value of a header, whatever the case of `name`. Walks the head. The length is told by
    /// [`content_length`](Self::content_length).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.head.get(name)
    }

    /// Names and values in the order they came, names in the case they came in.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.fields().map(|(name, value)| (std::str::from_utf8(name).unwrap_or_default(), value))
    }

    /// The length of the body; for a response to `HEAD` that of the body that `GET` has, if the server told it.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        if has_no_body(self.status) {
            return None;
        }
        let length = self.body.len() as u64;
        if self.to_head { self.whole_length.or((length > 0).then_some(length)) } else { Some(length) }
    }

    /// Its body.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Its body, to keep.
    #[must_use]
    pub fn into_body(self) -> Body {
        self.body
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    pub(crate) fn is_to_head(&self) -> bool {
        self.to_head
    }

    /// What it is as the response to a request of the method `asked`, on either side: the body of one to `HEAD` is dropped,
    /// and its length remembered.
    pub(crate) fn answering(mut self, asked: &Method) -> Self {
        self.to_head = asked == Method::HEAD;
        if self.to_head {
            let body = std::mem::take(&mut self.body);
            // An empty body without a word about its length is a server's that does not know it.
            self.whole_length = self.whole_length.or((!body.is_empty()).then_some(body.len() as u64));
        } else {
            self.whole_length = None;
        }
        self
    }

    /// The same in the types of the `http` crate, sharing the memory of the text.
    pub(crate) fn into_http(self) -> Result<http::Response<Body>, Fault> {
        let mut headers = self.head.to_map()?;
        if let Some(length) = self.content_length().filter(|_| self.to_head) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        let mut response = http::Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// What its peer's `Teleport-Head-Length` said.
    pub(crate) fn whole_length(&self) -> Option<u64> {
        self.whole_length
    }
}

impl TryFrom<Response> for http::Response<Body> {
    type Error = CodecError;

    /// Fails only for what no `http::Response` can hold, which is not received either.
    fn try_from(response: Response) -> Result<Self, CodecError> {
        response.into_http().map_err(CodecError::reply)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.head)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
