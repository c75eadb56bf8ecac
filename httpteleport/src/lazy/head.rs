//! The text that a head is.

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::codec::classic::lines;
use crate::codec::error::Fault;
use crate::message::{Named, Role, is_multipart_type, named_fields};

/// Header lines, behind whatever else of a head their text holds. Their names and values were checked when they came.
#[derive(Clone, Default)]
pub(crate) struct Head {
    text: Bytes,
    /// Where the header lines begin.
    fields: u32,
    /// Lines that are for the user.
    count: u32,
    /// `Host` lines among them, where the text may be sent on as it is; otherwise none.
    canonical_hosts: Option<u32>,
    /// A `Connection` line, which is not for the user, names others that are not either.
    names_others: bool,
    /// Some `Content-Type` is `multipart/form-data`.
    multipart: bool,
}

impl Head {
    /// A head whose `count` lines for the user, and perhaps others, begin at `fields`. Its text ends with a line's end.
    pub(crate) fn new(text: Bytes, fields: usize, count: usize) -> Self {
        let narrow = |number: usize| u32::try_from(number).expect("a head is limited to 512 MiB");
        Self { text, fields: narrow(fields), count: narrow(count), ..Self::default() }
    }

    /// The same, whose whole text, with so many `Host` lines that are not empty, could be sent on as it is.
    pub(crate) fn canonical(self, hosts: usize) -> Self {
        Self { canonical_hosts: u32::try_from(hosts).ok(), ..self }
    }

    /// The same, of which this is known.
    pub(crate) fn multipart(self, multipart: bool) -> Self {
        Self { multipart, ..self }
    }

    /// Whether a body goes chunked, whichever of several types is believed.
    pub(crate) fn is_multipart(&self) -> bool {
        self.multipart
    }

    /// How many `Host` lines the text has, if it may be sent on as it is.
    pub(crate) fn canonical_hosts(&self) -> Option<u32> {
        self.canonical_hosts
    }

    pub(crate) fn text(&self) -> &Bytes {
        &self.text
    }

    /// The fields that are for the user, in the order of their lines.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let named = self.names_others.then(|| self.named());
        let is_named = move |name: &[u8]| named.as_ref().is_some_and(|named| named.has(name));
        self.lines().filter(move |(name, _)| Role::of(name).is_passed_on() && !is_named(name))
    }

    #[cold]
    fn named(&self) -> Named<'_> {
        let connection = self.lines().filter(|(name, _)| Role::of(name) == Role::Connection);
        Named::by(connection.map(|(_, value)| value))
    }

    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        lines::fields(&self.text[self.fields as usize..])
    }

    /// The first value of the field with this name.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The same as a map, whose values share the text.
    pub(crate) fn to_map(&self) -> Result<HeaderMap, Fault> {
        let mut map = HeaderMap::with_capacity(self.count as usize);
        let named = self.names_others.then(|| self.named());
        for (name, value) in self.lines() {
            if !Role::of(name).is_passed_on() || named.as_ref().is_some_and(|named| named.has(name)) {
                continue;
            }
            let name = HeaderName::from_bytes(name).map_err(|_| Fault::BadName)?;
            let value = HeaderValue::from_maybe_shared(self.text.slice_ref(value)).map_err(|_| Fault::BadValue)?;
            map.try_append(name, value).map_err(|_| Fault::TooManyHeaders { limit: self.count as usize })?;
        }
        Ok(map)
    }

    /// Adds a line. One that says something of a single hop, or of the body's length, is not for the user to write; one of
    /// `Connection` that names others is kept for what it says of them.
    pub(crate) fn push(&mut self, name: &HeaderName, value: &HeaderValue) {
        let role = Role::of(name.as_str().as_bytes());
        let names_others = role == Role::Connection && named_fields(value.as_bytes()).next().is_some();
        if !role.is_passed_on() && !names_others {
            return;
        }
        self.names_others |= names_others;
        self.multipart |= role == Role::ContentType && is_multipart_type(value.as_bytes());
        self.canonical_hosts = match role {
            Role::Connection => None,
            Role::Host if value.is_empty() => None,
            Role::Host => self.canonical_hosts.map(|hosts| hosts + 1),
            _ => self.canonical_hosts,
        };
        let text = std::mem::take(&mut self.text);
        let mut text = text.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.extend_from_slice(part);
        }
        self.text = text.freeze();
        self.count += 1;
    }
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes);
        f.debug_map().entries(self.fields().map(|(name, value)| (text(name), text(value)))).finish()
    }
}
