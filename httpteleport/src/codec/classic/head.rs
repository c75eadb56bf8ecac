//! What the head of a message says.

use bytes::Bytes;
use http::{Method, StatusCode};

use super::framing::{Extent, Framing, length};
use super::lines::{Field, is_value, whole_line};
use super::reply::has_no_body;
use super::rewrite::Rewritten;
use super::target::{RequestLine, Target};
use crate::codec::error::Fault;
use crate::lazy::{self, Head};
use crate::message::{Role, is_multipart_type, named_fields};
use crate::{Body, Limits};

/// A head that is read: what its message is, or why it is refused once its body is read; and where the two end.
pub(super) struct Read<F> {
    pub(super) facts: Result<F, Fault>,
    pub(super) extent: Extent,
    /// Bytes of the head without its blank line, and with it.
    pub(super) text: usize,
    pub(super) end: usize,
}

/// What a message is, apart from the text of its head and its body.
pub(super) trait Facts: Sized {
    type Message;

    /// Reads the head at the front of `input`; `None` if it is not whole. An error only counts if it is: another part of the
    /// input may be to blame. `bodiless`: nothing follows the head, whatever it says.
    fn read(input: &[u8], bodiless: bool, limits: &Limits) -> Result<Option<Read<Self>>, Fault>;

    /// The message with this text of its head, the blank line left out, and this body.
    fn into_message(self, text: Bytes, body: Body) -> Self::Message;
}

pub(super) struct RequestFacts {
    method: Method,
    target: Target,
    http_1_0: bool,
    fields: Fields,
}

impl Facts for RequestFacts {
    type Message = lazy::Request;

    #[inline]
    fn read(input: &[u8], _: bool, limits: &Limits) -> Result<Option<Read<Self>>, Fault> {
        let Some((line, at)) = whole_line(input, 0) else { return Ok(None) };
        let start = RequestLine::split(line)?;
        let Some(mut fields) = Fields::read(input, at, limits)? else { return Ok(None) };
        let http_1_0 = start.is_http_1_0();
        let extent = fields.framing.of_request(http_1_0)?;
        let (text, end) = (fields.text, fields.end);
        fields.canonical &= line.len() + 2 == at && !http_1_0;
        let facts = start.settle(&fields).map(|(method, target)| Self { method, target, http_1_0, fields });
        Ok(Some(Read { facts, extent, text, end }))
    }

    #[inline]
    fn into_message(self, text: Bytes, body: Body) -> lazy::Request {
        let Self { method, target, http_1_0, fields } = self;
        let (head, target) = match target {
            Target::InPlace(target) => (fields.head(text), target),
            Target::Rewritten(target, host) => {
                let head = Rewritten::new(&target).host(host.as_deref()).fields(&text[fields.at..]).into_head();
                (head, 0..target.len())
            }
        };
        lazy::Request::received(head.multipart(fields.multipart), target, method, http_1_0).with_body(body)
    }
}

pub(super) struct ReplyFacts {
    status: StatusCode,
    fields: Fields,
}

impl Facts for ReplyFacts {
    type Message = lazy::Response;

    #[inline]
    fn read(input: &[u8], bodiless: bool, limits: &Limits) -> Result<Option<Read<Self>>, Fault> {
        let Some((line, at)) = whole_line(input, 0) else { return Ok(None) };
        let status = status(line)?;
        let Some(fields) = Fields::read(input, at, limits)? else { return Ok(None) };
        let extent = fields.framing.of_reply(bodiless || status.is_ok_and(has_no_body))?;
        let (text, end) = (fields.text, fields.end);
        let facts = status.and_then(|status| {
            if status.is_informational() {
                return Err(Fault::Interim(status));
            }
            fields.refusal.map_or(Ok(()), Err)?;
            Ok(Self { status, fields })
        });
        Ok(Some(Read { facts, extent, text, end }))
    }

    #[inline]
    fn into_message(self, text: Bytes, body: Body) -> lazy::Response {
        let Self { status, mut fields } = self;
        fields.canonical = false; // Its status line is the peer's own.
        let head = if fields.names_others {
            Rewritten::new("").fields(&text[fields.at..]).into_head()
        } else {
            fields.head(text)
        };
        lazy::Response::received(head, status, fields.head_length).with_body(body)
    }
}

/// The status of a status line, after any protocol word. The inner error is one that leaves the framing clear.
#[inline]
pub(super) fn status(line: &[u8]) -> Result<Result<StatusCode, Fault>, Fault> {
    if let Some([code @ .., b' ']) = line.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.first_chunk::<4>())
        && let Ok(status) = StatusCode::from_bytes(code)
    {
        return Ok(Ok(status));
    }
    let mut words = line.split(|byte| *byte == b' ');
    let (protocol, code) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if protocol.is_empty() || code.is_empty() || !code.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Malformed("it does not begin with HTTP/1.1 STATUS"));
    }
    Ok(StatusCode::from_bytes(code).map_err(|_| Fault::BadStatus))
}

/// What the header lines of a head amount to.
#[derive(Default)]
pub(super) struct Fields {
    /// Where they begin, where the last of them ends, and where the blank line behind them ends.
    at: usize,
    text: usize,
    end: usize,
    framing: Framing,
    /// Lines that are for the user.
    count: usize,
    pub(super) hosts: usize,
    /// `Teleport-Method: HEAD` was among them.
    pub(super) is_head: bool,
    head_length: Option<u64>,
    /// `Connection` names fields that would be for the user otherwise.
    pub(super) names_others: bool,
    /// Some `Content-Type` is `multipart/form-data`.
    multipart: bool,
    /// Every line could be sent on as it is.
    canonical: bool,
    /// Why the message is not acceptable, although its end is clear.
    pub(super) refusal: Option<Fault>,
}

impl Fields {
    /// Reads the lines from `at` on, up to the blank one; `None` if that is not there.
    #[inline]
    fn read(input: &[u8], at: usize, limits: &Limits) -> Result<Option<Self>, Fault> {
        let mut fields = Self { at, text: at, canonical: true, ..Self::default() };
        let mut lines = 0;
        loop {
            let Some((line, end)) = whole_line(input, fields.text) else { return Ok(None) };
            if line.is_empty() {
                fields.end = end;
                break;
            }
            lines += 1;
            fields.canonical &= line.len() + 2 == end - fields.text;
            fields.text = end;
            let field = Field::read(line)?;
            fields.canonical &= field.canonical;
            match field.name {
                Ok(name) => fields.note(name, field.value)?,
                Err(fault) => fields.refusal = fields.refusal.or(Some(fault)),
            }
        }
        if lines > limits.max_headers() {
            fields.refusal = Some(Fault::TooManyHeaders { limit: limits.max_headers() });
        }
        Ok(Some(fields))
    }

    /// Acts on a field that concerns us, and counts one that concerns the user.
    #[inline]
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        let role = Role::of(name);
        match role {
            Role::ContentLength | Role::TransferEncoding => {
                self.canonical = false;
                return self.framing.note(role, value);
            }
            Role::EndToEnd => {}
            Role::ContentType => self.multipart |= is_multipart_type(value),
            Role::Host => {
                self.hosts += 1;
                self.canonical &= !value.is_empty();
            }
            Role::Connection => self.names_others |= named_fields(value).next().is_some(),
            Role::TeleportMethod => self.is_head = value == b"HEAD",
            Role::TeleportHeadLength => self.head_length = length(value),
            Role::HopByHop | Role::Expect => {}
        }
        if role.is_passed_on() {
            self.count += 1;
            if !is_value(value) {
                self.refusal = self.refusal.or(Some(Fault::BadValue));
            }
        } else {
            self.canonical = false;
        }
        Ok(())
    }

    /// The head with this text, where it needs no change.
    #[inline]
    fn head(&self, text: Bytes) -> Head {
        let head = Head::new(text, self.at, self.count);
        if self.canonical { head.canonical(self.hosts) } else { head }
    }
}
