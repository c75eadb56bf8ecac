//! From messages to bytes, straight into the connection's buffer.

use std::io::Write;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode, Uri};

use super::reply::{Reply, has_no_body};
use crate::codec::error::Fault;
use crate::message::{Named, Role, is_multipart_type, named_fields, without_user};
use crate::{Body, Limits, lazy};

/// Appends a request.
pub(super) fn request(request: &Request<Body>, limits: &Limits, out: &mut Vec<u8>) -> Result<(), Fault> {
    let (method, headers, body) = (request.method(), request.headers(), request.body().as_bytes());
    let host = Host::of(request.uri(), headers)?;
    let (slash, target) = target(request.uri());

    let mut head = HeadWriter::new(out, limits, body.len());
    head.request_line(method, slash, target)?;
    head.line(b"Host", host.as_bytes())?;
    let chunked = head.request_framing(method, body, || is_multipart(headers))?;
    head.fields(headers)?;
    head.end()?;
    append_body(body, chunked, out);
    Ok(())
}

/// Appends a request whose head is text.
pub(super) fn lazy_request(request: &lazy::Request, limits: &Limits, out: &mut Vec<u8>) -> Result<(), Fault> {
    let (method, body) = (request.method(), request.body().as_bytes());
    let is_multipart = || request.head().is_multipart();
    if request.head().canonical_hosts() == Some(1) && !matches!(*method, Method::HEAD | Method::CONNECT) {
        let mut head = HeadWriter::new(out, limits, body.len());
        head.bytes(request.head().text())?;
        let chunked = head.request_framing(method, body, is_multipart)?;
        head.end()?;
        append_body(body, chunked, out);
        return Ok(());
    }
    let uri = if request.target().starts_with('/') { None } else { request.target().parse::<Uri>().ok() };
    let (slash, target) = uri.as_ref().map_or(("", request.target()), target);

    let mut head = HeadWriter::new(out, limits, body.len());
    head.request_line(method, slash, target)?;
    let chunked = head.request_framing(method, body, is_multipart)?;
    let mut hosts = 0;
    for (name, value) in request.head().fields() {
        let is_host = Role::of(name) == Role::Host;
        if is_host && value.is_empty() {
            return Err(Fault::MissingHost);
        }
        hosts += usize::from(is_host);
        head.line(name, value)?;
    }
    match hosts {
        1 => head.end()?,
        0 => return Err(Fault::MissingHost),
        _ => return Err(Fault::RepeatedHost),
    }
    append_body(body, chunked, out);
    Ok(())
}

/// Appends a reply.
pub(super) fn reply(reply: &Reply, limits: &Limits, out: &mut Vec<u8>) -> Result<(), Fault> {
    let (status, body) = (reply.response.status(), reply.response.body().as_bytes());
    let mut head = HeadWriter::new(out, limits, body.len());
    let tail = head.reply_start(status, body, reply.to_head, || reply.true_length())?;
    head.fields(reply.response.headers())?;
    head.end()?;
    out.extend_from_slice(tail);
    Ok(())
}

/// Appends a reply whose head is text.
pub(super) fn lazy_reply(reply: &lazy::Response, limits: &Limits, out: &mut Vec<u8>) -> Result<(), Fault> {
    let (status, body) = (reply.status(), reply.body().as_bytes());
    let mut head = HeadWriter::new(out, limits, body.len());
    let canonical = reply.head().canonical_hosts() == Some(0) && !status.is_informational();
    let tail = if canonical {
        head.bytes(reply.head().text())?;
        head.reply_framing(status, body, reply.is_to_head(), || reply.whole_length())?
    } else {
        let tail = head.reply_start(status, body, reply.is_to_head(), || reply.whole_length())?;
        for (name, value) in reply.head().fields() {
            if Role::of(name) != Role::Host {
                head.line(name, value)?;
            }
        }
        tail
    };
    head.end()?;
    out.extend_from_slice(tail);
    Ok(())
}

/// Appends a status line.
pub(crate) fn status_line(status: StatusCode, out: &mut Vec<u8>) {
    let reason = status.canonical_reason().unwrap_or_default();
    for word in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        out.extend_from_slice(word.as_bytes());
    }
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Writes one head and keeps it within the peer's limit.
struct HeadWriter<'a> {
    out: &'a mut Vec<u8>,
    /// The length that `out` may reach.
    most: usize,
    limit: usize,
}

impl<'a> HeadWriter<'a> {
    fn new(out: &'a mut Vec<u8>, limits: &Limits, body: usize) -> Self {
        let limit = limits.peer_max_head();
        out.reserve(USUAL_HEAD + body);
        Self { most: out.len().saturating_add(limit), limit, out }
    }

    fn request_line(&mut self, method: &Method, slash: &str, target: &str) -> Result<(), Fault> {
        if *method == Method::CONNECT {
            return Err(Fault::Connect);
        }
        // The reader of the reply will not know the method, so HEAD goes as the GET that it is but for the body.
        let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
        self.words(&[method, " ", slash, target, " HTTP/1.1\r\n"])
    }

    /// Says where the body ends, and that a `GET` is a `HEAD`. Tells whether the body has to be chunked.
    fn request_framing(
        &mut self,
        method: &Method,
        body: &[u8],
        is_multipart: impl FnOnce() -> bool,
    ) -> Result<bool, Fault> {
        let chunked = !body.is_empty() && is_multipart();
        if chunked {
            self.words(&[CHUNKED])?;
        } else if !body.is_empty() || expects_body(method) {
            self.length("Content-Length: ", body.len() as u64)?;
        }
        if *method == Method::HEAD {
            self.words(&["Teleport-Method: HEAD\r\n"])?;
        }
        Ok(chunked)
    }

    /// Writes the status line and where the body ends. Gives what comes behind the head.
    fn reply_start<'b>(
        &mut self,
        status: StatusCode,
        body: &'b [u8],
        to_head: bool,
        true_length: impl FnOnce() -> Option<u64>,
    ) -> Result<&'b [u8], Fault> {
        if status.is_informational() {
            return Err(Fault::Interim(status));
        }
        self.status(status)?;
        self.reply_framing(status, body, to_head, true_length)
    }

    /// Says where the body of a reply ends. Gives what comes behind the head.
    fn reply_framing<'b>(
        &mut self,
        status: StatusCode,
        body: &'b [u8],
        to_head: bool,
        true_length: impl FnOnce() -> Option<u64>,
    ) -> Result<&'b [u8], Fault> {
        if has_no_body(status) {
            return Ok(&[]);
        }
        if !to_head {
            self.length("Content-Length: ", body.len() as u64)?;
            return Ok(body);
        }
        self.words(&[CHUNKED])?;
        if let Some(length) = true_length() {
            self.length("Teleport-Head-Length: ", length)?;
        }
        Ok(LAST_CHUNK)
    }

    fn words(&mut self, words: &[&str]) -> Result<(), Fault> {
        self.room(words.iter().map(|word| word.len()).sum())?;
        for word in words {
            self.out.extend_from_slice(word.as_bytes());
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.room(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn line(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        let length = name.len() + value.len() + 4;
        self.room(length)?;
        self.out.reserve(length);
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(b": ");
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn length(&mut self, name: &str, length: u64) -> Result<(), Fault> {
        self.words(&[name, itoa::Buffer::new().format(length), "\r\n"])
    }

    fn status(&mut self, status: StatusCode) -> Result<(), Fault> {
        if status == StatusCode::OK {
            return self.words(&["HTTP/1.1 200 OK\r\n"]);
        }
        let start = self.out.len();
        status_line(status, self.out);
        if self.out.len() > self.most {
            self.out.truncate(start);
            return Err(Fault::PeerHeadLimit { limit: self.limit });
        }
        Ok(())
    }

    /// Writes those of `headers` that do not end at this hop and are not written otherwise.
    fn fields(&mut self, headers: &HeaderMap) -> Result<(), Fault> {
        let start = self.out.len();
        for (name, value) in headers {
            let name = name.as_str().as_bytes();
            let role = Role::of(name);
            if role.is_passed_on() && role != Role::Host {
                self.line(name, value.as_bytes())?;
            } else if role == Role::Connection && named_fields(value.as_bytes()).next().is_some() {
                // Rare, and only known now: what is written may include a field that it names.
                self.out.truncate(start);
                return self.unnamed_fields(headers);
            }
        }
        Ok(())
    }

    /// The same, where `Connection` names fields.
    fn unnamed_fields(&mut self, headers: &HeaderMap) -> Result<(), Fault> {
        let named = Named::by(headers.get_all(header::CONNECTION).into_iter().map(HeaderValue::as_bytes));
        for (name, value) in headers {
            let name = name.as_str().as_bytes();
            let role = Role::of(name);
            if role.is_passed_on() && role != Role::Host && !named.has(name) {
                self.line(name, value.as_bytes())?;
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), Fault> {
        self.words(&["\r\n"])
    }

    fn room(&self, length: usize) -> Result<(), Fault> {
        if length > self.most.saturating_sub(self.out.len()) {
            return Err(Fault::PeerHeadLimit { limit: self.limit });
        }
        Ok(())
    }
}

/// Room made for a head before its length is known.
const USUAL_HEAD: usize = 512;

/// The host of a request.
enum Host<'a> {
    Header(&'a HeaderValue),
    Authority(&'a str),
}

impl<'a> Host<'a> {
    /// From the header, which a user sets to override the URI, or, if there is none or an empty one, from the URI.
    fn of(uri: &'a Uri, headers: &'a HeaderMap) -> Result<Self, Fault> {
        let mut values = headers.get_all(header::HOST).into_iter();
        let (first, more) = (values.next(), values.next());
        if more.is_some() {
            return Err(Fault::RepeatedHost);
        }
        if let Some(value) = first.filter(|value| !value.is_empty()) {
            return Ok(Self::Header(value));
        }
        let host = uri.authority().map_or("", without_user);
        if host.is_empty() { Err(Fault::MissingHost) } else { Ok(Self::Authority(host)) }
    }

    fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Header(value) => value.as_bytes(),
            Self::Authority(host) => host.as_bytes(),
        }
    }
}

/// Path and query as they stand in the URI, nothing decoded or put right, and before them the `/` that stands for an
/// empty path (RFC 9112, 3.2.1).
pub(crate) fn target(uri: &Uri) -> (&'static str, &str) {
    let target = uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    (if target.is_empty() || target.starts_with('?') { "/" } else { "" }, target)
}

/// Whether a request of this method says that its body is empty when it is: origins answer 411 otherwise.
fn expects_body(method: &Method) -> bool {
    // Those whose content has no defined meaning (RFC 9110, 8.6 and 9.3).
    !matches!(*method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS | Method::TRACE)
}

fn is_multipart(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_TYPE).into_iter().any(|value| is_multipart_type(value.as_bytes()))
}

fn append_body(body: &[u8], chunked: bool, out: &mut Vec<u8>) {
    if chunked {
        one_chunk(body, out);
    } else {
        out.extend_from_slice(body);
    }
}

/// A body as one chunk and the last one.
fn one_chunk(body: &[u8], out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{:x}\r\n", body.len());
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(LAST_CHUNK);
}
