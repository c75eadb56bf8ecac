//! What the head of a message says.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};

use super::framing::{Extent, Framing, length};
use super::lines::{Field, fields, is_plain_path, is_value, split_line};
use super::reply::has_no_body;
use crate::Limits;
use crate::codec::error::Fault;
use crate::lazy::{self, Head};
use crate::message::{Role, named_fields, without_user};

/// A message whose head is read: what it is, or why it is refused once its body is read; and where that ends.
pub(super) type Read<M> = (Result<M, Fault>, Extent);

/// Reads a request's head of so many lines, the blank one left out.
pub(super) fn request(head: Bytes, lines: usize, limits: &Limits) -> Result<Read<lazy::Request>, Fault> {
    let (line, rest) = split_line(&head);
    let start = RequestLine::split(line)?;
    let fields = Fields::read(rest, lines - 1, limits)?;
    let http_1_0 = start.is_http_1_0();
    let extent = fields.framing.of_request(http_1_0)?;
    let fields_at = head.len() - rest.len();
    let settled = start.settle(&fields);
    let message = settled.map(|(method, target)| {
        let (head, target) = match target {
            Target::InPlace(target) => (Head::new(head, fields_at, fields.count), target),
            Target::Rewritten(target, host) => {
                let text = Rewritten::new(&target).host(host).fields(&head[fields_at..]);
                (text.into_head(), 0..target.len())
            }
        };
        lazy::Request::received(head, target, method, http_1_0)
    });
    Ok((message, extent))
}

/// Reads a reply's head of so many lines, the blank one left out. `bodiless`: it answers `HEAD` and nothing follows it.
pub(super) fn reply(
    head: Bytes,
    lines: usize,
    bodiless: bool,
    limits: &Limits,
) -> Result<Read<lazy::Response>, Fault> {
    let (line, rest) = split_line(&head);
    let status = status(line)?;
    let fields = Fields::read(rest, lines - 1, limits)?;
    let extent = fields.framing.of_reply(bodiless || status.is_ok_and(has_no_body))?;
    let fields_at = head.len() - rest.len();
    let message = status.and_then(|status| {
        if status.is_informational() {
            return Err(Fault::Interim(status));
        }
        fields.refusal.map_or(Ok(()), Err)?;
        let head = if fields.names_others {
            Rewritten::new("").fields(&head[fields_at..]).into_head()
        } else {
            Head::new(head, fields_at, fields.count)
        };
        Ok(lazy::Response::received(head, status, fields.head_length))
    });
    Ok((message, extent))
}

/// A request line, in its three parts.
struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: &'a [u8],
}

/// Where a request's target is.
enum Target {
    /// In the text that came.
    InPlace(std::ops::Range<usize>),
    /// It, the host that it names, or other fields have to be put differently.
    Rewritten(String, Option<String>),
}

impl<'a> RequestLine<'a> {
    /// The target is all that is between the first space and the last, as Go has it.
    fn split(line: &'a [u8]) -> Result<Self, Fault> {
        let first = line.iter().position(|byte| *byte == b' ');
        let last = line.iter().rposition(|byte| *byte == b' ');
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

    /// What the request asks for, if it is acceptable as a whole.
    fn settle(&self, fields: &Fields) -> Result<(Method, Target), Fault> {
        if !matches!(self.version, b"HTTP/1.1" | b"HTTP/1.0") {
            return Err(Fault::BadVersion);
        }
        let method = Method::from_bytes(self.method).map_err(|_| Fault::BadMethod)?;
        if method == Method::CONNECT {
            return Err(Fault::Connect);
        }
        let uri = if is_plain_path(self.target) { None } else { Some(self.uri()?) };
        fields.refusal.map_or(Ok(()), Err)?;
        // One `Host`, as RFC 9112, 3.2 wants it; HTTP/1.0 and a target with an authority may do without.
        if fields.hosts > 1 {
            return Err(Fault::RepeatedHost);
        }
        let host = uri.as_ref().map_or(Ok(None), host_of)?;
        if fields.hosts == 0 && host.is_none() && !self.is_http_1_0() {
            return Err(Fault::MissingHost);
        }
        let method = if fields.is_head && method == Method::GET { Method::HEAD } else { method };
        Ok((method, self.place(uri.as_ref(), host, fields.names_others)))
    }

    /// The target as a URI, with the `/` that stands for an empty path (RFC 9112, 3.2.1).
    fn uri(&self) -> Result<Uri, Fault> {
        let uri = Uri::try_from(self.target).map_err(|_| Fault::BadTarget)?;
        match (uri.authority(), uri.scheme()) {
            (None, _) => Ok(uri),
            // A lone authority has no path to pass on, and belongs to CONNECT alone (RFC 9112, 3.2.3).
            (Some(_), None) => Err(Fault::BadTarget),
            (Some(_), Some(_)) => with_path(uri),
        }
    }

    fn place(&self, uri: Option<&Uri>, host: Option<String>, names_others: bool) -> Target {
        let start = self.method.len() + 1;
        let target = uri.map(Uri::to_string);
        let same = target.as_ref().is_none_or(|target| target.as_bytes() == self.target);
        if same && host.is_none() && !names_others {
            return Target::InPlace(start..start + self.target.len());
        }
        Target::Rewritten(target.unwrap_or_else(|| String::from_utf8_lossy(self.target).into_owned()), host)
    }
}

/// The authority of a target replaces what `Host` says (RFC 9112, 3.2.2), so that nobody behind us can be told two hosts.
fn host_of(uri: &Uri) -> Result<Option<String>, Fault> {
    let Some(authority) = uri.authority() else { return Ok(None) };
    if authority.host().is_empty() {
        return Err(Fault::BadTarget);
    }
    Ok(Some(without_user(authority).to_owned()))
}

fn with_path(uri: Uri) -> Result<Uri, Fault> {
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
    framing: Framing,
    /// Lines that are for the user.
    count: usize,
    hosts: usize,
    /// `Teleport-Method: HEAD` was among them.
    is_head: bool,
    head_length: Option<u64>,
    /// `Connection` names fields that would be for the user otherwise.
    names_others: bool,
    /// Why the message is not acceptable, although its end is clear.
    refusal: Option<Fault>,
}

impl Fields {
    /// Reads `count` lines.
    fn read(mut lines: &[u8], count: usize, limits: &Limits) -> Result<Self, Fault> {
        let mut fields = Self::default();
        if count > limits.max_headers() {
            fields.refusal = Some(Fault::TooManyHeaders { limit: limits.max_headers() });
        }
        for _ in 0..count {
            let (line, rest) = split_line(lines);
            lines = rest;
            let field = Field::read(line)?;
            match field.name {
                Ok(name) => fields.note(name, field.value)?,
                Err(fault) => fields.refusal = fields.refusal.or(Some(fault)),
            }
        }
        Ok(fields)
    }

    /// Acts on a field that concerns us, and counts one that concerns the user.
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        let role = Role::of(name);
        match role {
            Role::ContentLength | Role::TransferEncoding => return self.framing.note(role, value),
            Role::Connection => self.names_others |= named_fields(value).next().is_some(),
            Role::TeleportMethod => self.is_head = value == b"HEAD",
            Role::TeleportHeadLength => self.head_length = length(value),
            Role::Host => self.hosts += 1,
            Role::EndToEnd | Role::ContentType | Role::HopByHop | Role::Expect => {}
        }
        if role.is_passed_on() {
            self.count += 1;
            if !is_value(value) {
                self.refusal = self.refusal.or(Some(Fault::BadValue));
            }
        }
        Ok(())
    }
}

/// A head that is put differently from how it came.
struct Rewritten {
    text: Vec<u8>,
    start: usize,
    count: usize,
}

impl Rewritten {
    fn new(start: &str) -> Self {
        Self { text: [start.as_bytes(), b"\r\n"].concat(), start: start.len() + 2, count: 0 }
    }

    /// Begins with this host, if there is one.
    fn host(mut self, host: Option<String>) -> Self {
        if let Some(host) = host {
            self.line(b"Host", host.as_bytes());
        }
        self
    }

    /// Goes on with the fields of `lines` that are for the user, but for those that `Connection` names, and for a second host.
    fn fields(mut self, lines: &[u8]) -> Self {
        let role = |name| Role::of(name);
        let connection = fields(lines).filter(|(name, _)| role(name) == Role::Connection);
        let named: Vec<&[u8]> = connection.flat_map(|(_, value)| named_fields(value)).collect();
        let has_host = self.count > 0;
        for (name, value) in fields(lines) {
            let is_named = named.iter().any(|named| named.eq_ignore_ascii_case(name));
            let is_host = role(name) == Role::Host;
            if role(name).is_passed_on() && !is_named && !(is_host && has_host) {
                self.line(name, value);
            }
        }
        self
    }

    fn line(&mut self, name: &[u8], value: &[u8]) {
        for part in [name, b": ", value, b"\r\n"] {
            self.text.extend_from_slice(part);
        }
        self.count += 1;
    }

    fn into_head(self) -> Head {
        Head::new(self.text.into(), self.start, self.count)
    }
}
