//! From messages to bytes, straight into the connection's buffer.

use std::collections::HashSet;
use std::io::Write;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri};

use super::reply::{Reply, has_no_body};
use crate::codec::error::Fault;
use crate::message::{Role, named_by_connection, named_fields, without_user};
use crate::{Body, Limits};

/// Appends a request.
pub(super) fn request(request: &Request<Body>, limits: &Limits, out: &mut Vec<u8>) -> Result<(), Fault> {
    let (method, headers, body) = (request.method(), request.headers(), request.body().as_bytes());
    if method == Method::CONNECT {
        return Err(Fault::Connect);
    }
    let host = Host::of(request.uri(), headers)?;
    // The reader of the reply will not know the method, so HEAD goes as the GET that it is but for the body.
    let is_head = method == Method::HEAD;
    let (slash, target) = target(request.uri());

    let mut head = HeadWriter::new(out, limits, body.len());
    head.words(&[if is_head { "GET" } else { method.as_str() }, " ", slash, target, " HTTP/1.1\r\n"])?;
    head.line(b"Host", host.as_bytes())?;
    let chunked = !body.is_empty() && is_multipart(headers);
    if chunked {
        head.words(&[CHUNKED])?;
    } else if !body.is_empty() || expects_body(method) {
        head.length("Content-Length: ", body.len() as u64)?;
    }
    if is_head {
        head.words(&["Teleport-Method: HEAD\r\n"])?;
    }
    head.fields(headers)?;
    head.end()?;
    if chunked {
        one_chunk(body, out);
    } else {
        out.extend_from_slice(body);
    }
    Ok(())
}

/// Appends a reply.
pub(super) fn reply(reply: &Reply, limits: &Limits, out: &mut Vec<u8>) -> Result<(), Fault> {
    let (status, body) = (reply.response.status(), reply.response.body().as_bytes());
    if status.is_informational() {
        return Err(Fault::Interim(status));
    }
    let bodiless = has_no_body(status);

    let mut head = HeadWriter::new(out, limits, body.len());
    head.status(status)?;
    if reply.to_head && !bodiless {
        head.words(&[CHUNKED])?;
        if let Some(length) = reply.true_length() {
            head.length("Teleport-Head-Length: ", length)?;
        }
    } else if !bodiless {
        head.length("Content-Length: ", body.len() as u64)?;
    }
    head.fields(reply.response.headers())?;
    head.end()?;
    match (bodiless, reply.to_head) {
        (true, _) => {}
        (false, true) => out.extend_from_slice(LAST_CHUNK),
        (false, false) => out.extend_from_slice(body),
    }
    Ok(())
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

    fn words(&mut self, words: &[&str]) -> Result<(), Fault> {
        self.room(words.iter().map(|word| word.len()).sum())?;
        for word in words {
            self.out.extend_from_slice(word.as_bytes());
        }
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
        self.words(&["HTTP/1.1 ", status.as_str(), " ", status.canonical_reason().unwrap_or_default(), "\r\n"])
    }

    /// Writes those of `headers` that do not end at this hop and are not written otherwise.
    fn fields(&mut self, headers: &HeaderMap) -> Result<(), Fault> {
        let start = self.out.len();
        for (name, value) in headers {
            let role = Role::of(name);
            if role.is_passed_on() && role != Role::Host {
                self.line(name.as_str().as_bytes(), value.as_bytes())?;
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
        let named: HashSet<HeaderName> = named_by_connection(headers).collect();
        for (name, value) in headers {
            let role = Role::of(name);
            if role.is_passed_on() && role != Role::Host && !named.contains(name) {
                self.line(name.as_str().as_bytes(), value.as_bytes())?;
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
fn target(uri: &Uri) -> (&'static str, &str) {
    let target = uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    (if target.is_empty() || target.starts_with('?') { "/" } else { "" }, target)
}

/// Whether a request of this method says that its body is empty when it is: origins answer 411 otherwise.
fn expects_body(method: &Method) -> bool {
    // Those whose content has no defined meaning (RFC 9110, 8.6 and 9.3).
    !matches!(*method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS | Method::TRACE)
}

/// A Go peer takes a `multipart/form-data` body with a length apart, and loses its place if that fails. Chunked it does not.
fn is_multipart(headers: &HeaderMap) -> bool {
    const TYPE: &[u8] = b"multipart/form-data";
    headers.get_all(header::CONTENT_TYPE).into_iter().any(|value| {
        let value = value.as_bytes().trim_ascii_start();
        value.get(..TYPE.len()).is_some_and(|start| start.eq_ignore_ascii_case(TYPE))
    })
}

/// A body as one chunk and the last one.
fn one_chunk(body: &[u8], out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{:x}\r\n", body.len());
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(LAST_CHUNK);
}
