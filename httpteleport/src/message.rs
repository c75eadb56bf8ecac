//! Which header fields belong to one hop only, and which are ours.

use std::cmp::Ordering;

use http::uri::Authority;

/// What a header field means to a node that passes messages on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It concerns the two ends and is passed on.
    EndToEnd,
    /// `Content-Type`: passed on, and looked at on the way.
    ContentType,
    /// `Host`: passed on, exactly one.
    Host,
    /// It concerns the hop it came over and stops here (RFC 9110, 7.6.1).
    HopByHop,
    /// `Connection`: stops here, with every field it names.
    Connection,
    /// `Expect`: the wire sends whole messages only, so there is nothing left to wait for.
    Expect,
    /// `Content-Length`: says where the body ends on this hop; each hop writes its own.
    ContentLength,
    /// `Transfer-Encoding`: likewise.
    TransferEncoding,
    /// `Teleport-Method`: between two nodes only.
    TeleportMethod,
    /// `Teleport-Head-Length`: between two nodes only.
    TeleportHeadLength,
}

impl Role {
    /// The role of the field with this name, in upper or lower case.
    ///
    /// `Proxy-Authenticate` and `Proxy-Authorization` are end to end here: RFC 9110, 7.6.1 does not list them, a pair of
    /// teleport nodes never asks for them, and a proxy behind the pair may.
    pub(crate) fn of(name: &[u8]) -> Self {
        // Names mostly come in one of these two ways, which are quicker to compare with.
        let is = |title: &[u8], lower: &[u8]| name == title || name == lower || name.eq_ignore_ascii_case(lower);
        // The length leaves at most two candidates: cheaper than to compare with every name.
        match name.len() {
            2 if is(b"TE", b"te") => Self::HopByHop,
            4 if is(b"Host", b"host") => Self::Host,
            6 if is(b"Expect", b"expect") => Self::Expect,
            7 if is(b"Trailer", b"trailer") || is(b"Upgrade", b"upgrade") => Self::HopByHop,
            10 if is(b"Connection", b"connection") => Self::Connection,
            10 if is(b"Keep-Alive", b"keep-alive") => Self::HopByHop,
            12 if is(b"Content-Type", b"content-type") => Self::ContentType,
            14 if is(b"Content-Length", b"content-length") => Self::ContentLength,
            15 if is(b"Teleport-Method", b"teleport-method") => Self::TeleportMethod,
            16 if is(b"Proxy-Connection", b"proxy-connection") => Self::HopByHop,
            17 if is(b"Transfer-Encoding", b"transfer-encoding") => Self::TransferEncoding,
            20 if is(b"Teleport-Head-Length", b"teleport-head-length") => Self::TeleportHeadLength,
            _ => Self::EndToEnd,
        }
    }

    /// Whether a field of this role stays in the headers that a user sees or another hop gets.
    pub(crate) fn is_passed_on(self) -> bool {
        matches!(self, Self::EndToEnd | Self::ContentType | Self::Host)
    }
}

/// Host and port of an authority, as `Host` has them: without user and password (RFC 9110, 7.2).
pub(crate) fn without_user(authority: &Authority) -> &str {
    let authority = authority.as_str();
    authority.rfind('@').map_or(authority, |at| &authority[at + 1..])
}

/// The fields that the value of a `Connection` header names, but for those that stop at every hop anyway, and for `Host`,
/// which nobody can declare away.
pub(crate) fn named_fields(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    // By far the most frequent word, and no field.
    let words = words.filter(|word| !word.is_empty() && !word.eq_ignore_ascii_case(b"close"));
    words.filter(|word| !matches!(Role::of(word), Role::Host) && Role::of(word).is_passed_on())
}

/// Whether a `Content-Type` is `multipart/form-data`: a Go peer takes a body of that type with a length apart, and loses its
/// place if that fails. Chunked it does not.
pub(crate) fn is_multipart_type(value: &[u8]) -> bool {
    const TYPE: &[u8] = b"multipart/form-data";
    value.trim_ascii_start().get(..TYPE.len()).is_some_and(|start| start.eq_ignore_ascii_case(TYPE))
}

/// The fields that `Connection` headers name, in an order that makes them quick to find: a hostile head names thousands.
pub(crate) struct Named<'a>(Vec<&'a [u8]>);

impl<'a> Named<'a> {
    /// Those that these values name.
    pub(crate) fn by(connection: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut names: Vec<_> = connection.flat_map(named_fields).collect();
        names.sort_unstable_by(|one, other| by_name(one, other));
        Self(names)
    }

    /// Whether the field with this name is one of them, in upper or lower case.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.0.binary_search_by(|named| by_name(named, name)).is_ok()
    }
}

/// Some order of names in which upper and lower case are the same.
fn by_name<'n>(one: &'n [u8], other: &'n [u8]) -> Ordering {
    let lower = |name: &'n [u8]| name.iter().map(u8::to_ascii_lowercase);
    one.len().cmp(&other.len()).then_with(|| lower(one).cmp(lower(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> Role {
        Role::of(name.as_bytes())
    }

    #[test]
    fn every_field_of_the_hop_is_known_in_any_case() {
        for name in [
            "te",
            "Trailer",
            "UPGRADE",
            "Connection",
            "keep-alive",
            "Proxy-Connection",
            "Transfer-Encoding",
            "content-length",
            "Expect",
            "Teleport-Method",
            "teleport-head-length",
        ] {
            assert!(!role(name).is_passed_on(), "{name}");
        }
    }

    #[test]
    fn names_of_the_same_length_pass() {
        for name in ["x", "dt", "date", "cookie", "accepts", "user-agent", "contend-type", "proxy-authorization"] {
            assert_eq!(role(name), Role::EndToEnd, "{name}");
        }
    }

    #[test]
    fn connection_names_fields_in_lists() {
        assert_eq!(named_fields(b"close , X-One,,x-two").collect::<Vec<_>>(), [&b"X-One"[..], b"x-two"]);
    }

    #[test]
    fn named_fields_are_found_in_any_case() {
        let named = Named::by([&b"X-Two, b"[..], b"X-One,x-two,A"].into_iter());
        assert!([&b"x-one"[..], b"X-TWO", b"a", b"B"].iter().all(|name| named.has(name)));
        assert!(![&b"x-onf"[..], b"", b"c", b"x-one2"].iter().any(|name| named.has(name)));
    }

    #[test]
    fn usual_options_and_host_name_no_field() {
        assert_eq!(named_fields(b"keep-alive, Close, Upgrade, host").next(), None);
    }
}
