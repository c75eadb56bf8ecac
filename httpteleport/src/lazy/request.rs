//! A request whose head stays text.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Uri, Version};

use super::Head;
use crate::Body;
use crate::codec::error::{CodecError, Fault};
use crate::message::without_user;

/// A request whose headers are looked up in the text that came. Cheap to clone.
///
/// ```
/// use http::{Method, header};
/// use httpteleport::lazy;
///
/// let uri = http::Uri::from_static("http://example.com/a%2Fb?c");
/// let request = lazy::Request::new(Method::PUT, &uri)
///     .with_header(&header::ACCEPT, &http::HeaderValue::from_static("*/*"))
///     .with_body("hello");
/// assert_eq!((request.target(), request.host()), ("/a%2Fb?c", Some("example.com")));
/// assert_eq!(request.header("Accept"), Some(&b"*/*"[..]));
/// let request = http::Request::try_from(request)?;
/// assert_eq!(request.uri(), "/a%2Fb?c");
/// # Ok::<(), httpteleport::CodecError>(())
/// ```
#[derive(Clone)]
pub struct Request {
    head: Head,
    body: Body,
    method: Method,
    target: (u32, u32),
    http_1_0: bool,
}

impl Request {
    /// A request of this method for the path and query of `uri`. Its authority, if it has one, becomes the `Host` header;
    /// otherwise one has to be added. A fragment stays behind.
    #[must_use]
    pub fn new(method: Method, uri: &Uri) -> Self {
        let target = match uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str) {
            "" => "/".to_owned(),
            query if query.starts_with('?') => format!("/{query}"),
            target => target.to_owned(),
        };
        let start = format!("{method} {target} HTTP/1.1\r\n");
        let (at, len) = (method.as_str().len() + 1, target.len());
        let host = uri.authority().and_then(|authority| HeaderValue::from_str(without_user(authority)).ok());
        let fields = start.len();
        let head = Head::new(start.into(), fields, 0).canonical(0);
        let mut request = Self::received(head, at..at + len, method, false);
        if let Some(host) = host.filter(|host| !host.is_empty()) {
            request.head.push(&header::HOST, &host);
        }
        request
    }

    /// One whose head came, or was made, and was checked. The target lies in its text.
    pub(crate) fn received(head: Head, target: Range<usize>, method: Method, http_1_0: bool) -> Self {
        let narrow = |number: usize| u32::try_from(number).expect("a head is limited to 512 MiB");
        let target = (narrow(target.start), narrow(target.end));
        Self { head, body: Body::empty(), method, target, http_1_0 }
    }

    /// Adds a header behind those that are there. Those that belong to one hop (RFC 9110, 7.6.1) or tell the length of the
    /// body are left out: the wire writes its own.
    #[must_use]
    pub fn with_header(mut self, name: &HeaderName, value: &HeaderValue) -> Self {
        self.head.push(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Its method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Its target as it stands in the start line: path and query, `*`, or a whole URI.
    #[must_use]
    pub fn target(&self) -> &str {
        std::str::from_utf8(&self.head.text()[self.target_range()]).unwrap_or_default()
    }

    /// The host that it is for.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.head.get("host").and_then(|host| std::str::from_utf8(host).ok())
    }

    /// HTTP/1.1, or HTTP/1.0 if a peer said so.
    #[must_use]
    pub fn version(&self) -> Version {
        if self.http_1_0 { Version::HTTP_10 } else { Version::HTTP_11 }
    }

    /// The first value of a header, whatever the case of `name`. Walks the head.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.head.get(name)
    }

    /// Names and values in the order they came, names in the case they came in.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.fields().map(|(name, value)| (std::str::from_utf8(name).unwrap_or_default(), value))
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

    /// The target and its memory.
    fn shared_target(&self) -> Bytes {
        self.head.text().slice(self.target_range())
    }

    fn target_range(&self) -> Range<usize> {
        self.target.0 as usize..self.target.1 as usize
    }

    /// The same in the types of the `http` crate, sharing the memory of the text.
    pub(crate) fn into_http(self) -> Result<http::Request<Body>, Fault> {
        let uri = Uri::from_maybe_shared(self.shared_target()).map_err(|_| Fault::BadTarget)?;
        let headers = self.head.to_map()?;
        let version = self.version();
        let mut request = http::Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.version_mut() = version;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

impl TryFrom<Request> for http::Request<Body> {
    type Error = CodecError;

    /// Fails only for what no `http::Request` can hold, which is not received either.
    fn try_from(request: Request) -> Result<Self, CodecError> {
        request.into_http().map_err(CodecError::request)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("target", &self.target())
            .field("version", &self.version())
            .field("headers", &self.head)
            .field("body", &self.body)
            .finish()
    }
}
