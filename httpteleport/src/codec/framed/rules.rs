//! Which fields a head may hold. What is written keeps to it, and what is read is refused where it does not: as HTTP/1.1
//! text behind the next hop it could end a message early, go to another host, or pass for somebody else's.

use http::StatusCode;

use crate::codec::classic::length;
use crate::codec::classic::lines::table;
use crate::codec::error::Fault;

/// What a list of fields belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Request,
    Reply,
    Interim,
    Trailers,
}

impl Section {
    /// Whether a head of this status belongs here. An interim 101 would turn the connection of the next hop into another
    /// protocol's. A reply of 101 agrees to a request with a [`Protocol`](super::Protocol).
    pub(super) fn allows(self, status: StatusCode) -> Result<(), Fault> {
        match (self == Self::Interim, status.is_informational()) {
            (false, true) if status == StatusCode::SWITCHING_PROTOCOLS => Ok(()),
            (false, true) => Err(Fault::Interim(status)),
            (true, true) if status != StatusCode::SWITCHING_PROTOCOLS => Ok(()),
            (true, _) => Err(Fault::NotInterim(status)),
            (false, false) => Ok(()),
        }
    }
}

/// What a field means to a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing in particular.
    Free,
    Host,
    ContentLength,
    /// It concerns one connection (RFC 9110, 7.6.1), of which this is none.
    Connection,
    /// Likewise, but for the word `trailers` of a request.
    Te,
    /// It says who asks, or what is asked or answered: known before the body, or not believed (RFC 9110, 6.5.1).
    HeadOnly,
}

impl Role {
    /// The role of the field with this name, in lower case.
    pub(super) fn of(name: &str) -> Self {
        // The length leaves a few candidates: cheaper than to compare with every name.
        match name.len() {
            2 if name == "te" => Self::Te,
            3 if name == "age" => Self::HeadOnly,
            4 if name == "host" => Self::Host,
            5 if name == "range" => Self::HeadOnly,
            6 if matches!(name, "cookie" | "expect" | "pragma") => Self::HeadOnly,
            7 if name == "upgrade" => Self::Connection,
            7 if name == "trailer" => Self::HeadOnly,
            8 if matches!(name, "if-match" | "if-range" | "location") => Self::HeadOnly,
            10 if matches!(name, "connection" | "keep-alive") => Self::Connection,
            10 if name == "set-cookie" => Self::HeadOnly,
            12 if matches!(name, "content-type" | "max-forwards") => Self::HeadOnly,
            13 if matches!(name, "authorization" | "cache-control" | "content-range" | "if-none-match") => {
                Self::HeadOnly
            }
            14 if name == "content-length" => Self::ContentLength,
            16 if name == "proxy-connection" => Self::Connection,
            16 if matches!(name, "content-encoding" | "www-authenticate") => Self::HeadOnly,
            17 if name == "transfer-encoding" => Self::Connection,
            17 if name == "if-modified-since" => Self::HeadOnly,
            18 if name == "proxy-authenticate" => Self::HeadOnly,
            19 if matches!(name, "proxy-authorization" | "if-unmodified-since") => Self::HeadOnly,
            _ => Self::Free,
        }
    }
}

/// What has been seen of one list of fields.
#[derive(Debug)]
pub(super) struct Rules {
    section: Section,
    has_host: bool,
    length: Option<u64>,
}

impl Rules {
    pub(super) fn new(section: Section) -> Self {
        Self { section, has_host: false, length: None }
    }

    /// Whether there is a host.
    pub(super) fn has_host(&self) -> bool {
        self.has_host
    }

    /// Whether fields of this role may be in the list at all.
    pub(super) fn take(&self, role: Role) -> Result<(), Fault> {
        match (role, self.section) {
            (Role::Free, _) | (Role::Te, Section::Request) => Ok(()),
            (Role::Connection | Role::Te, _) => Err(Fault::ConnectionField),
            (_, Section::Trailers) => Err(Fault::NotATrailer),
            (Role::ContentLength, Section::Interim) => Err(Fault::BadLength),
            (Role::Host | Role::ContentLength | Role::HeadOnly, _) => Ok(()),
        }
    }

    /// Whether this field, whose role is taken, goes with those before it; false for one that says what was said already.
    pub(super) fn admit(&mut self, role: Role, value: &[u8]) -> Result<bool, Fault> {
        match role {
            Role::Host if self.section == Section::Request => {
                if std::mem::replace(&mut self.has_host, true) {
                    return Err(Fault::RepeatedHost);
                }
                if is_host(value) { Ok(true) } else { Err(Fault::BadHost) }
            }
            Role::ContentLength => {
                let length = length(value).ok_or(Fault::BadLength)?;
                match self.length.replace(length) {
                    None => Ok(true),
                    Some(before) if before == length => Ok(false),
                    Some(_) => Err(Fault::BadLength),
                }
            }
            Role::Te if value != TRAILERS => Err(Fault::ConnectionField),
            _ => Ok(true),
        }
    }
}

/// All that a `TE` may say.
pub(super) const TRAILERS: &[u8] = b"trailers";

/// Whether the value of a `TE` has this word.
pub(super) fn asks_for_trailers(te: &[u8]) -> bool {
    te.split(|byte| *byte == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(TRAILERS))
}

/// Whether this can be the host, and perhaps the port, of an authority (RFC 3986, 3.2): no user, no path, nothing that
/// would make two of one.
pub(super) fn is_host(host: &[u8]) -> bool {
    const HOST: [bool; 256] = table(b"-._~!$&'()*+;=:%[]");
    !host.is_empty() && host.iter().all(|byte| HOST[usize::from(*byte)])
}

/// Whether this is the name of a protocol, with a version or without (RFC 9110, 7.8).
pub(super) fn is_protocol(name: &[u8]) -> bool {
    let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(byte);
    !name.is_empty() && name.iter().all(belongs)
}

/// `value` without the blanks around it, which text would not keep.
pub(super) fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
