//! Heads into bytes.

use fastrpc::wire::framed::varint;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Uri, request, response};

use super::Protocol;
use super::names::{self, LITERAL_METHOD, LITERAL_NAME, METHODS, PROTOCOL, SCHEME};
use super::rules::{Role, Rules, Section, TRAILERS, asks_for_trailers, is_host, trimmed};
use super::text::{self, FIELD, REQUEST_LINE, STATUS_LINE};
use crate::codec::classic::lines::is_token;
use crate::codec::classic::target;
use crate::codec::error::Fault;
use crate::message::{Named, without_user};

pub(super) fn request(parts: &request::Parts, limit: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
    let protocol = parts.extensions.get::<Protocol>();
    let mut fields = Encoder::new(Section::Request, limit, out);
    fields.method(&parts.method)?;
    if parts.method == Method::CONNECT && protocol.is_none() {
        fields.tunnel(&parts.uri)?;
        return fields.all(&parts.headers, |role| role != Role::Host);
    }
    fields.target(&parts.method, &parts.uri)?;
    if let Some(protocol) = protocol {
        fields.number(PROTOCOL, text::PROTOCOL, protocol.as_str().as_bytes())?;
        if let Some(scheme) = parts.uri.scheme_str() {
            fields.number(SCHEME, text::SCHEME, scheme.as_bytes())?;
        }
    }
    // A header that differs from the URI is taken for meant, unless it is empty.
    let by_header = parts.headers.get(header::HOST).is_some_and(|host| !host.is_empty());
    if !by_header {
        let host = parts.uri.authority().map_or("", without_user);
        if host.is_empty() {
            return Err(Fault::MissingHost);
        }
        fields.field("host", Role::Host, host.as_bytes())?;
    }
    fields.all(&parts.headers, |role| by_header || role != Role::Host)
}

pub(super) fn response(
    parts: &response::Parts,
    section: Section,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    section.allows(parts.status)?;
    let mut fields = Encoder::new(section, limit, out);
    fields.count(STATUS_LINE)?;
    fields.out.extend_from_slice(&parts.status.as_u16().to_le_bytes());
    fields.all(&parts.headers, |_| true)
}

pub(super) fn trailers(trailers: &HeaderMap, limit: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
    Encoder::new(Section::Trailers, limit, out).all(trailers, |_| true)
}

/// No head is longer, whatever the limit: its lengths fit varints.
const LONGEST: usize = 1 << 30;

struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    rules: Rules,
    limit: usize,
    /// What of the limit is left.
    room: usize,
}

impl<'a> Encoder<'a> {
    fn new(section: Section, limit: usize, out: &'a mut Vec<u8>) -> Self {
        let limit = limit.min(LONGEST);
        Self { out, rules: Rules::new(section), limit, room: limit }
    }

    /// Counts bytes of text.
    fn count(&mut self, bytes: usize) -> Result<(), Fault> {
        self.room = self.room.checked_sub(bytes).ok_or(Fault::PeerHeadLimit { limit: self.limit })?;
        Ok(())
    }

    fn method(&mut self, method: &Method) -> Result<(), Fault> {
        let name = method.as_str().as_bytes();
        self.count(REQUEST_LINE + name.len())?;
        if let Some(code) = METHODS.iter().position(|known| known == method) {
            self.varint(code);
            return Ok(());
        }
        if !is_token(name) {
            return Err(Fault::BadMethod);
        }
        self.varint(LITERAL_METHOD as usize + name.len());
        self.out.extend_from_slice(name);
        Ok(())
    }

    fn tunnel(&mut self, uri: &Uri) -> Result<(), Fault> {
        let host = uri.authority().map_or("", without_user).as_bytes();
        if !is_host(host) {
            return Err(Fault::BadTarget);
        }
        self.count(host.len())?;
        self.string(host);
        Ok(())
    }

    fn target(&mut self, method: &Method, uri: &Uri) -> Result<(), Fault> {
        let (slash, target) = target(uri);
        if !slash.is_empty() || target.starts_with('/') || (target == "*" && method == Method::OPTIONS) {
            self.count(slash.len() + target.len())?;
            self.varint(slash.len() + target.len());
            self.out.extend_from_slice(slash.as_bytes());
            self.out.extend_from_slice(target.as_bytes());
            return Ok(());
        }
        Err(Fault::BadTarget)
    }

    /// Writes those of `headers` that may travel and that are wanted by their role.
    fn all(mut self, headers: &HeaderMap, wanted: impl Fn(Role) -> bool) -> Result<(), Fault> {
        let named = Named::by(headers.get_all(header::CONNECTION).into_iter().map(HeaderValue::as_bytes));
        for (name, value) in headers {
            let name = name.as_str();
            let role = Role::of(name);
            if wanted(role) && self.rules.take(role).is_ok() && !named.has(name.as_bytes()) {
                match role {
                    Role::Te if !asks_for_trailers(value.as_bytes()) => {}
                    Role::Te => self.field(name, role, TRAILERS)?,
                    _ => self.field(name, role, trimmed(value.as_bytes()))?,
                }
            }
        }
        Ok(())
    }

    fn field(&mut self, name: &str, role: Role, value: &[u8]) -> Result<(), Fault> {
        if !self.rules.admit(role, value)? {
            return Ok(());
        }
        if let Some(code) = names::code(name) {
            return self.number(code, name, value);
        }
        if !is_token(name.as_bytes()) {
            return Err(Fault::BadName); // The http crate is more generous.
        }
        self.count(FIELD + name.len() + value.len())?;
        self.varint(LITERAL_NAME as usize + name.len());
        self.out.extend_from_slice(name.as_bytes());
        self.string(value);
        Ok(())
    }

    /// Writes a field whose name is a number.
    fn number(&mut self, code: u32, name: &str, value: &[u8]) -> Result<(), Fault> {
        self.count(FIELD + name.len() + value.len())?;
        varint::put(code, self.out);
        self.string(value);
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) {
        self.varint(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    fn varint(&mut self, number: usize) {
        varint::put(u32::try_from(number).expect("no head is longer than 1 GiB"), self.out);
    }
}
