//! Which header fields belong to one hop only, and which are ours.

use http::header::{self, HeaderMap};

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
    /// The role of the field with this name, in any letter case.
    ///
    /// `Proxy-Authenticate` and `Proxy-Authorization` are end to end here: RFC 9110, 7.6.1 does not list them, a pair of
    /// teleport nodes never asks for them, and a proxy behind the pair may.
    pub(crate) fn of(name: &[u8]) -> Self {
        // One length leaves at most two names to compare with.
        let (known, role): (&[u8], _) = match name.len() {
            2 => (b"te", Self::HopByHop),
            4 => (b"host", Self::Host),
            6 => (b"expect", Self::Expect),
            7 if name[0] | 0x20 == b't' => (b"trailer", Self::HopByHop),
            7 => (b"upgrade", Self::HopByHop),
            10 if name[0] | 0x20 == b'c' => (b"connection", Self::Connection),
            10 => (b"keep-alive", Self::HopByHop),
            12 => (b"content-type", Self::ContentType),
            14 => (b"content-length", Self::ContentLength),
            15 => (b"teleport-method", Self::TeleportMethod),
            16 => (b"proxy-connection", Self::HopByHop),
            17 => (b"transfer-encoding", Self::TransferEncoding),
            20 => (b"teleport-head-length", Self::TeleportHeadLength),
            _ => return Self::EndToEnd,
        };
        if name.eq_ignore_ascii_case(known) { role } else { Self::EndToEnd }
    }

    /// Whether a field of this role stays in the headers that a user sees or another hop gets.
    pub(crate) fn is_passed_on(self) -> bool {
        matches!(self, Self::EndToEnd | Self::ContentType | Self::Host)
    }
}

/// The fields that `Connection` headers declare to be hop-by-hop.
#[derive(Clone, Copy)]
pub(crate) struct NamedByConnection<'a> {
    /// `None` when they name no field, as nearly always.
    headers: Option<&'a HeaderMap>,
}

impl<'a> NamedByConnection<'a> {
    /// Those in `headers`; nothing is copied.
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        let any = all_named_fields(headers).next().is_some();
        Self { headers: any.then_some(headers) }
    }

    /// Whether the field `name` is among them.
    pub(crate) fn contain(&self, name: &str) -> bool {
        self.headers.is_some_and(|headers| all_named_fields(headers).any(|field| field.eq_ignore_ascii_case(name)))
    }
}

fn all_named_fields(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::CONNECTION).into_iter().flat_map(|value| named_fields(value.as_bytes()))
}

/// The fields that the value of a `Connection` header names, but for those that stop at every hop anyway, and for `Host`,
/// which nobody can declare away.
pub(crate) fn named_fields(value: &[u8]) -> impl Iterator<Item = &str> {
    let words = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let fields = words.filter(|word| {
        let role = Role::of(word);
        !word.is_empty() && !word.eq_ignore_ascii_case(b"close") && role.is_passed_on() && role != Role::Host
    });
    fields.filter_map(|field| str::from_utf8(field).ok())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn every_hop_field_is_known_in_any_case() {
        for name in [
            "te",
            "trailer",
            "upgrade",
            "connection",
            "keep-alive",
            "proxy-connection",
            "transfer-encoding",
            "content-length",
            "expect",
            "teleport-method",
            "teleport-head-length",
        ] {
            assert!(!Role::of(name.as_bytes()).is_passed_on(), "{name}");
            assert!(!Role::of(name.to_uppercase().as_bytes()).is_passed_on(), "{name}");
        }
    }

    #[test]
    fn names_of_the_same_length_pass() {
        for name in ["", "x", "dt", "date", "cookie", "accepts", "user-agent", "contend-type", "proxy-authorization"] {
            assert_eq!(Role::of(name.as_bytes()), Role::EndToEnd, "{name}");
        }
    }

    #[test]
    fn connection_names_fields_in_all_its_lines() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONNECTION, HeaderValue::from_static("close , X-One,"));
        headers.append(header::CONNECTION, HeaderValue::from_static("x-two"));
        let named = NamedByConnection::of(&headers);
        assert!(named.contain("x-one") && named.contain("x-two"));
        assert!(!named.contain("x-three"));
    }

    #[test]
    fn usual_options_and_host_name_no_field() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONNECTION, HeaderValue::from_static("keep-alive, close, Upgrade, host"));
        assert!(NamedByConnection::of(&headers).headers.is_none());
    }
}
