//! Heads: where one ends, and what is in it.
//!
//! Lines are split here and not by a library, for the sake of what Go peers send and such libraries refuse: any protocol word
//! in a status line, any target, spaces before a colon. Names, values, methods and URIs are checked by the `http` crate.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, Version};

use super::framing::{Extent, Framing, length};
use super::reply::{Reply, has_no_body};
use crate::codec::error::Fault;
use crate::message::{Role, named_fields, without_user};
use crate::{Body, Limits};

/// Searches the end of a head, and never looks at a byte twice, however few arrive at a time.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Up to here there is nothing to find.
    scanned: usize,
    lines: usize,
}

/// What a [`Search`] has come to.
pub(super) enum Found {
    /// The head is not whole yet.
    Nothing,
    /// The head is the first `end` bytes; that is `lines` lines, without the blank one.
    End { end: usize, lines: usize },
    /// The head is longer than allowed.
    TooLong,
}

impl Search {
    /// Looks through what is new in `input`: for a blank line, ended by CRLF or by LF alone.
    pub(super) fn advance(&mut self, input: &[u8], max: usize) -> Found {
        while let Some(at) = memchr::memchr(b'\n', &input[self.scanned..]) {
            let line_feed = self.scanned + at;
            let line_end = line_feed + 1;
            let blank = match input[line_end..] {
                [b'\n', ..] => 1,
                [b'\r', b'\n', ..] => 2,
                // Not enough of the next line to tell: this line end is looked at again.
                [] | [b'\r'] => {
                    self.scanned = line_feed;
                    return if input.len() > max { Found::TooLong } else { Found::Nothing };
                }
                _ => 0,
            };
            self.scanned = line_end;
            self.lines += 1;
            if blank > 0 {
                let end = line_end + blank;
                return if end > max { Found::TooLong } else { Found::End { end, lines: self.lines } };
            }
        }
        self.scanned = input.len();
        if input.len() > max { Found::TooLong } else { Found::Nothing }
    }
}

/// A message whose head is read: what it is, or why it is refused once its body is read, and where that ends.
pub(super) struct Head {
    pub(super) message: Result<Message, Fault>,
    pub(super) extent: Extent,
}

/// A message that has no body yet.
pub(super) enum Message {
    Request(Request<Body>),
    Reply(Reply),
}

/// Reads a request's head of so many lines.
pub(super) fn request(head: &[u8], lines: usize, limits: &Limits) -> Result<Head, Fault> {
    let head = Bytes::copy_from_slice(head);
    let (line, rest) = split_line(&head);
    let start = RequestLine::split(line)?;
    let mut fields = Fields::read(&head, rest, lines - 1, limits)?;
    let extent = fields.framing.of_request(start.is_http_1_0())?;
    let message = start.parse(&head).and_then(|(method, uri, version)| {
        fields.refusal.map_or(Ok(()), Err)?;
        fields.settle_host(&uri, version)?;
        let disguised = fields.is_head && method == Method::GET;
        let mut request = Request::new(Body::empty());
        *request.method_mut() = if disguised { Method::HEAD } else { method };
        *request.uri_mut() = uri;
        *request.version_mut() = version;
        *request.headers_mut() = fields.headers;
        Ok(Message::Request(request))
    });
    Ok(Head { message, extent })
}

/// Reads a reply's head of so many lines. `bodiless`: it answers `HEAD` and nothing follows it.
pub(super) fn reply(head: &[u8], lines: usize, bodiless: bool, limits: &Limits) -> Result<Head, Fault> {
    let head = Bytes::copy_from_slice(head);
    let (line, rest) = split_line(&head);
    let status = status(line)?;
    let fields = Fields::read(&head, rest, lines - 1, limits)?;
    let extent = fields.framing.of_reply(bodiless || status.is_ok_and(has_no_body))?;
    let message = status.and_then(|status| {
        if status.is_informational() {
            return Err(Fault::Interim(status));
        }
        fields.refusal.map_or(Ok(()), Err)?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        *response.headers_mut() = fields.headers;
        Ok(Message::Reply(Reply { response, to_head: false, head_length: fields.head_length }))
    });
    Ok(Head { message, extent })
}

/// A request line, in its three parts.
struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: &'a [u8],
}

impl<'a> RequestLine<'a> {
    /// The target is all that is between the first space and the last, as Go has it.
    fn split(line: &'a [u8]) -> Result<Self, Fault> {
        let first = memchr::memchr(b' ', line);
        let last = memchr::memrchr(b' ', line);
        match (first, last) {
            (Some(first), Some(last)) if first < last && line[last + 1..].starts_with(b"HTTP/") => {
                Ok(Self { method: &line[..first], target: &line[first + 1..last], version: &line[last + 1..] })
            }
            _ => Err(Fault::Malformed("it does not begin with METHOD TARGET HTTP/1.1")),
        }
    }

    fn is_http_1_0(&self) -> bool {
        self.version == b"HTTP/1.0"
    }

    /// The parts as `http` has them. `head` is the memory that they lie in.
    fn parse(&self, head: &Bytes) -> Result<(Method, Uri, Version), Fault> {
        let version = match self.version {
            b"HTTP/1.1" => Version::HTTP_11,
            b"HTTP/1.0" => Version::HTTP_10,
            _ => return Err(Fault::BadVersion),
        };
        let method = Method::from_bytes(self.method).map_err(|_| Fault::BadMethod)?;
        if method == Method::CONNECT {
            return Err(Fault::Connect);
        }
        let uri = Uri::from_maybe_shared(head.slice_ref(self.target)).map_err(|_| Fault::BadTarget)?;
        // A lone authority has no path to pass on, and belongs to CONNECT alone (RFC 9112, 3.2.3).
        if uri.authority().is_some() && uri.scheme().is_none() {
            return Err(Fault::BadTarget);
        }
        Ok((method, with_path(uri)?, version))
    }
}

/// `uri` with the `/` that stands for an empty path, if it has one before a query or a fragment (RFC 9112, 3.2.1).
fn with_path(uri: Uri) -> Result<Uri, Fault> {
    if uri.authority().is_none() {
        return Ok(uri);
    }
    let mut parts = uri.into_parts();
    let target = parts.path_and_query.as_ref().map_or("", PathAndQuery::as_str);
    let slash = if target.starts_with('/') { "" } else { "/" };
    parts.path_and_query = Some(format!("{slash}{target}").parse().map_err(|_| Fault::BadTarget)?);
    Uri::from_parts(parts).map_err(|_| Fault::BadTarget)
}

/// The status of a status line, after any protocol word. The inner error is one that leaves the framing clear.
pub(super) fn status(line: &[u8]) -> Result<Result<StatusCode, Fault>, Fault> {
    let mut words = line.split(|byte| *byte == b' ');
    let (protocol, code) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if protocol.is_empty() || code.is_empty() || !code.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Malformed("it does not begin with HTTP/1.1 STATUS"));
    }
    Ok(StatusCode::from_bytes(code).map_err(|_| Fault::BadStatus))
}

/// What the header lines of a head amount to.
#[derive(Default)]
struct Fields {
    /// Those that are for the user.
    headers: HeaderMap,
    framing: Framing,
    hosts: usize,
    /// `Teleport-Method: HEAD` was among them.
    is_head: bool,
    head_length: Option<u64>,
    /// Why the message is not acceptable, although its end is clear.
    refusal: Option<Fault>,
}

impl Fields {
    /// Reads `count` lines at the front of `lines`, which lies in `head`.
    fn read(head: &Bytes, mut lines: &[u8], count: usize, limits: &Limits) -> Result<Self, Fault> {
        let mut fields = Self::default();
        if count > limits.max_headers() {
            fields.refusal = Some(Fault::TooManyHeaders { limit: limits.max_headers() });
        } else {
            fields.headers.reserve(count);
        }
        let mut named = Vec::new();
        for _ in 0..count {
            let (field, rest) = Field::take(lines)?;
            lines = rest;
            match field.name {
                Ok(name) => fields.note(head, name, field.value, &mut named)?,
                Err(fault) => fields.refusal = fields.refusal.or(Some(fault)),
            }
        }
        for name in named {
            fields.headers.remove(name);
        }
        Ok(fields)
    }

    /// Acts on a field that concerns us, and keeps one that concerns the user.
    fn note(&mut self, head: &Bytes, name: HeaderName, value: &[u8], named: &mut Vec<HeaderName>) -> Result<(), Fault> {
        let role = Role::of(&name);
        match role {
            Role::ContentLength | Role::TransferEncoding => self.framing.note(role, value)?,
            Role::Connection => named.extend(named_fields(value)),
            Role::TeleportMethod => self.is_head = value == b"HEAD",
            Role::TeleportHeadLength => self.head_length = length(value),
            Role::Host => self.hosts += 1,
            Role::EndToEnd | Role::ContentType | Role::HopByHop | Role::Expect => {}
        }
        if !role.is_passed_on() || self.refusal.is_some() {
            return Ok(());
        }
        match HeaderValue::from_maybe_shared(head.slice_ref(value)) {
            Ok(value) => {
                self.headers.append(name, value);
            }
            Err(_) => self.refusal = Some(Fault::BadValue),
        }
        Ok(())
    }

    /// One `Host`, as RFC 9112, 3.2 wants it; HTTP/1.0 and a target with an authority may do without. Such an authority
    /// replaces what `Host` says (3.2.2), so that nobody behind us can be told two hosts.
    fn settle_host(&mut self, uri: &Uri, version: Version) -> Result<(), Fault> {
        if self.hosts > 1 {
            return Err(Fault::RepeatedHost);
        }
        if let Some(authority) = uri.authority() {
            let host = HeaderValue::from_str(without_user(authority)).map_err(|_| Fault::BadTarget)?;
            if authority.host().is_empty() {
                return Err(Fault::BadTarget);
            }
            self.headers.insert(header::HOST, host);
        } else if self.hosts == 0 && version == Version::HTTP_11 {
            return Err(Fault::MissingHost);
        }
        Ok(())
    }
}

/// The first line without its end, and what follows it.
pub(super) fn split_line(lines: &[u8]) -> (&[u8], &[u8]) {
    let Some(end) = memchr::memchr(b'\n', lines) else { return (lines, &[]) };
    let line = &lines[..end];
    (line.strip_suffix(b"\r").unwrap_or(line), &lines[end + 1..])
}

/// A header line, without the spaces around its colon and at its end.
pub(super) struct Field<'a> {
    /// A fault that leaves the framing clear: a name that is none is not one that tells a length.
    pub(super) name: Result<HeaderName, Fault>,
    pub(super) value: &'a [u8],
}

impl<'a> Field<'a> {
    /// The first of `lines`, and those that follow it.
    pub(super) fn take(lines: &'a [u8]) -> Result<(Self, &'a [u8]), Fault> {
        if let [b' ' | b'\t', ..] = lines {
            return Err(Fault::Malformed("a header line begins with a space"));
        }
        const NO_COLON: Fault = Fault::Malformed("a header line has no colon");
        let colon = memchr::memchr(b':', lines).ok_or(NO_COLON)?;
        let (name, value) = (trim_spaces(&lines[..colon]), &lines[colon + 1..]);
        let name = match HeaderName::from_bytes(name) {
            Ok(name) => Ok(name),
            // It is the colon of a later line.
            Err(_) if name.contains(&b'\n') => return Err(NO_COLON),
            Err(_) => Err(Fault::BadName),
        };
        let (value, rest) = split_line(value);
        Ok((Self { name, value: trim_spaces(value) }, rest))
    }
}

/// `value` without the spaces and tabs around it; other white space is part of it, and not allowed there.
fn trim_spaces(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
