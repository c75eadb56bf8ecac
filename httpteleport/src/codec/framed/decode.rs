//! Bytes into heads.

use bytes::Bytes;
use fastrpc::wire::framed::varint;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, StatusCode, Uri, response};

use super::Protocol;
use super::names::{FIRST_NAME, LITERAL_METHOD, LITERAL_NAME, METHODS, NAMES, PROTOCOL, SCHEME};
use super::rules::{Role, Rules, Section, is_host, trimmed};
use super::text::{FIELD, REQUEST_LINE, STATUS_LINE};
use crate::Limits;
use crate::codec::classic::lines::is_token;
use crate::codec::error::Fault;

pub(super) fn request<B>(head: &Bytes, limits: &Limits, request: &mut Request<B>) -> Result<(), Fault> {
    let mut input = &head[..];
    let method = take_method(&mut input)?;
    let target = take_string(&mut input)?;
    let count = count(input, REQUEST_LINE + method.as_str().len() + target.len(), limits)?;
    let mut fields = Fields::take(head, input, count, Section::Request)?;
    let target = head.slice_ref(target);
    let uri = if method == Method::CONNECT && fields.protocol.is_none() {
        fields.tunnel_to(target)?
    } else {
        fields.origin_form(&method, target)?
    };
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = fields.map;
    if let Some(protocol) = fields.protocol {
        request.extensions_mut().insert(protocol);
    }
    Ok(())
}

pub(super) fn response(head: &Bytes, limits: &Limits, section: Section) -> Result<response::Parts, Fault> {
    let (status, fields) = head.split_first_chunk().ok_or(Fault::CutHead)?;
    let status = StatusCode::from_u16(u16::from_le_bytes(*status)).map_err(|_| Fault::BadStatus)?;
    section.allows(status)?;
    let count = count(fields, STATUS_LINE, limits)?;
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = status;
    parts.headers = Fields::take(head, fields, count, section)?.map;
    Ok(parts)
}

pub(super) fn trailers(fields: &Bytes, limits: &Limits) -> Result<HeaderMap, Fault> {
    let count = count(fields, 0, limits)?;
    Ok(Fields::take(fields, fields, count, Section::Trailers)?.map)
}

/// Counts the fields, and goes by the limits before a byte is allocated for them. Their text begins with `start` bytes.
fn count(mut input: &[u8], start: usize, limits: &Limits) -> Result<usize, Fault> {
    let (mut count, mut size) = (0, start);
    while !input.is_empty() {
        let (name, value) = take_field(&mut input)?;
        count += 1;
        size += FIELD + name.len() + value.len();
    }
    if size > limits.max_head() {
        return Err(Fault::HeadTooLarge { limit: limits.max_head() });
    }
    if count > limits.max_headers() {
        return Err(Fault::TooManyHeaders { limit: limits.max_headers() });
    }
    Ok(count)
}

/// The fields of a head, and what those of a request that are no headers say.
struct Fields {
    map: HeaderMap,
    rules: Rules,
    protocol: Option<Protocol>,
    scheme: Option<Scheme>,
}

impl Fields {
    /// Takes the `count` fields that `input`, which lies in `head`, consists of.
    fn take(head: &Bytes, mut input: &[u8], count: usize, section: Section) -> Result<Self, Fault> {
        let map = HeaderMap::with_capacity(count);
        let mut fields = Self { map, rules: Rules::new(section), protocol: None, scheme: None };
        while !input.is_empty() {
            let (name, value) = take_field(&mut input)?;
            let name = match name {
                Name::Known(name) => name.clone(),
                Name::Literal(name) if is_token(name) => {
                    HeaderName::from_lowercase(name).map_err(|_| Fault::BadName)?
                }
                Name::Literal(_) => return Err(Fault::BadName),
                Name::Protocol | Name::Scheme if section != Section::Request => return Err(Fault::BadProtocol),
                Name::Protocol => {
                    once(&mut fields.protocol, Protocol::from_bytes(value).ok())?;
                    continue;
                }
                Name::Scheme => {
                    once(&mut fields.scheme, Scheme::try_from(value).ok())?;
                    continue;
                }
            };
            let role = Role::of(name.as_str());
            fields.rules.take(role)?;
            if fields.rules.admit(role, value)? {
                fields.append(name, head.slice_ref(value))?;
            }
        }
        Ok(fields)
    }

    fn append(&mut self, name: HeaderName, value: Bytes) -> Result<(), Fault> {
        if trimmed(&value).len() != value.len() {
            return Err(Fault::BadValue);
        }
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| Fault::BadValue)?;
        let limit = self.map.len();
        self.map.try_append(name, value).map(|_| ()).map_err(|_| Fault::TooManyHeaders { limit })
    }

    /// The URI of a `CONNECT`, whose target is the host.
    fn tunnel_to(&mut self, target: Bytes) -> Result<Uri, Fault> {
        if self.scheme.is_some() {
            return Err(Fault::BadProtocol);
        }
        if self.rules.has_host() {
            return Err(Fault::RepeatedHost);
        }
        if !is_host(&target) {
            return Err(Fault::BadTarget);
        }
        self.append(header::HOST, target.clone())?;
        Authority::from_maybe_shared(target).map(Uri::from).map_err(|_| Fault::BadTarget)
    }

    /// The URI of any other request: as it stands in the start line or, where the scheme is known, whole.
    fn origin_form(&self, method: &Method, target: Bytes) -> Result<Uri, Fault> {
        if !self.rules.has_host() {
            return Err(Fault::MissingHost);
        }
        if target.first() != Some(&b'/') && !(&target[..] == b"*" && method == Method::OPTIONS) {
            return Err(Fault::BadTarget);
        }
        let length = target.len();
        let path = PathAndQuery::from_maybe_shared(target).map_err(|_| Fault::BadTarget)?;
        if path.as_str().len() != length {
            return Err(Fault::BadTarget); // A fragment was cut off.
        }
        let Some(scheme) = self.scheme.clone() else { return Ok(path.into()) };
        if self.protocol.is_none() {
            return Err(Fault::BadProtocol);
        }
        let host = self.map.get(header::HOST).map_or(&[][..], HeaderValue::as_bytes);
        let host = Authority::try_from(host).map_err(|_| Fault::BadHost)?;
        let builder = Uri::builder().scheme(scheme).authority(host).path_and_query(path);
        builder.build().map_err(|_| Fault::BadTarget)
    }
}

/// Keeps what may be said once.
fn once<T>(place: &mut Option<T>, value: Option<T>) -> Result<(), Fault> {
    let value = value.filter(|_| place.is_none()).ok_or(Fault::BadProtocol)?;
    *place = Some(value);
    Ok(())
}

/// A name as it lies in a head.
enum Name<'a> {
    Protocol,
    Scheme,
    Known(&'static HeaderName),
    Literal(&'a [u8]),
}

impl Name<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Protocol => super::text::PROTOCOL.len(),
            Self::Scheme => super::text::SCHEME.len(),
            Self::Known(name) => name.as_str().len(),
            Self::Literal(name) => name.len(),
        }
    }
}

fn take_field<'a>(input: &mut &'a [u8]) -> Result<(Name<'a>, &'a [u8]), Fault> {
    let name = match varint::take(input).ok_or(Fault::CutHead)? {
        PROTOCOL => Name::Protocol,
        SCHEME => Name::Scheme,
        code if code < LITERAL_NAME => Name::Known(&NAMES[(code - FIRST_NAME) as usize]),
        code => Name::Literal(take_bytes(input, code - LITERAL_NAME)?),
    };
    Ok((name, take_string(input)?))
}

fn take_method(input: &mut &[u8]) -> Result<Method, Fault> {
    let code = varint::take(input).ok_or(Fault::CutHead)?;
    if code < LITERAL_METHOD {
        return METHODS.get(code as usize).cloned().ok_or(Fault::BadMethod);
    }
    let method = take_bytes(input, code - LITERAL_METHOD)?;
    if !is_token(method) {
        return Err(Fault::BadMethod);
    }
    Method::from_bytes(method).map_err(|_| Fault::BadMethod)
}

fn take_string<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Fault> {
    let length = varint::take(input).ok_or(Fault::CutHead)?;
    take_bytes(input, length)
}

fn take_bytes<'a>(input: &mut &'a [u8], length: u32) -> Result<&'a [u8], Fault> {
    let (bytes, rest) = input.split_at_checked(length as usize).ok_or(Fault::CutHead)?;
    *input = rest;
    Ok(bytes)
}
