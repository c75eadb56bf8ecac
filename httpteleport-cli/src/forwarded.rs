//! Who a request comes from, and what upstreams are told of that: `X-Forwarded-For` and its kin, and `Forwarded` (RFC 7239).
//!
//! What a request says of its way is believed of those proxies alone that the settings name. Of all others it is replaced, so
//! that no client can pass for another.

use std::borrow::Cow;
use std::net::IpAddr;
use std::str::FromStr;

use http::header::{FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue};

use crate::access::Networks;
use crate::listen::Client;
use crate::spelling::Spellings;

mod chain;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// What other proxies tell besides, which is not told here.
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const SERVER: HeaderName = HeaderName::from_static("x-forwarded-server");

/// What only those are believed who are trusted.
static OF_THE_WAY: [HeaderName; 7] = [FOR, PROTO, FORWARDED_HOST, PORT, PREFIX, SERVER, FORWARDED];

/// Which fields upstreams get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that came, whoever sent them.
    #[default]
    None,
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    X,
    /// `Forwarded`.
    Standard,
    /// All of them.
    Both,
}

impl FromStr for Which {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Which, &'static str> {
        match name {
            "none" => Ok(Which::None),
            "x" => Ok(Which::X),
            "standard" => Ok(Which::Standard),
            "both" => Ok(Which::Both),
            _ => Err("use x, standard, both or none"),
        }
    }
}

/// Whom an input believes, and what it tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    /// The proxies that are believed.
    pub(crate) trusted: Networks,
    /// What upstreams are told.
    pub(crate) which: Which,
    /// The field that has the client's address alone.
    pub(crate) header: Option<HeaderName>,
}

impl Identity {
    /// Who sent the request that `peer` has handed over.
    ///
    /// That is the last one on its way whom this input does not trust, as far as those tell that it trusts. Where `X-Forwarded-For` and
    /// `Forwarded` tell of different ones it is the peer: most proxies write one of them, and pass the other one on as their client made it up.
    pub(crate) fn client(&self, headers: &HeaderMap, peer: Client) -> Client {
        if self.trusted.is_empty() || !self.trusted.has_client(peer) {
            return peer;
        }
        let told = |name: &HeaderName| headers.contains_key(name).then(|| self.told(headers, name, peer));
        match (told(&FOR), told(&FORWARDED)) {
            (Some(one), Some(other)) if one.address() != other.address() => peer,
            (one, other) => one.or(other).unwrap_or(peer),
        }
    }

    /// Who that is as far as this field tells.
    fn told(&self, headers: &HeaderMap, name: &HeaderName, peer: Client) -> Client {
        let mut client = peer;
        for address in chain::backwards(headers, name) {
            let Some(address) = address else { break };
            client = Client::Named(address);
            if !self.trusted.has(address) {
                break;
            }
        }
        client
    }

    /// The fields that are told, or believed, here.
    pub(crate) fn spellings(&self) -> Spellings {
        let of_the_way = if self.which == Which::None { &[][..] } else { &OF_THE_WAY };
        Spellings::new(of_the_way.iter().chain(&self.header))
    }

    /// Tells upstreams whose request it is: `peer` has handed it over, over TLS or not, for the client.
    pub(crate) fn tell(&self, headers: &mut HeaderMap, peer: Client, client: Client, tls: bool) {
        if self.which != Which::None {
            self.tell_way(headers, peer, tls);
        }
        if let Some(name) = &self.header {
            match client.address().and_then(value) {
                Some(address) => headers.insert(name, address),
                None => headers.remove(name),
            };
        }
    }

    fn tell_way(&self, headers: &mut HeaderMap, peer: Client, tls: bool) {
        if !self.trusted.has_client(peer) {
            for name in &OF_THE_WAY {
                headers.remove(name);
            }
        }
        let proto = if tls { "https" } else { "http" };
        if matches!(self.which, Which::X | Which::Both) {
            if let Some(address) = peer.address() {
                append(headers, &FOR, &address.to_string());
            }
            headers.entry(&PROTO).or_insert(HeaderValue::from_static(proto));
            if let Some(host) = headers.get(HOST).cloned() {
                headers.entry(&FORWARDED_HOST).or_insert(host);
            }
        }
        if matches!(self.which, Which::Standard | Which::Both) {
            let node = match peer.address() {
                Some(IpAddr::V4(address)) => Cow::Owned(address.to_string()),
                Some(IpAddr::V6(address)) => Cow::Owned(format!("\"[{address}]\"")),
                None => Cow::Borrowed("_unix"),
            };
            let host = headers.get(HOST).and_then(|host| host.to_str().ok()).map(quoted);
            let host = host.map(|host| format!(";host={host}")).unwrap_or_default();
            append(headers, &FORWARDED, &format!("for={node}{host};proto={proto}"));
        }
    }
}

fn value(address: IpAddr) -> Option<HeaderValue> {
    HeaderValue::try_from(address.to_string()).ok()
}

/// Puts one more element at the end of a list, which is one field from then on.
fn append(headers: &mut HeaderMap, name: &HeaderName, element: &str) {
    let mut list: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    list.push(element.as_bytes());
    if let Ok(list) = HeaderValue::from_bytes(&list.join(&b", "[..])) {
        headers.insert(name, list);
    }
}

/// A quoted string (RFC 9110, 5.6.4).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::try_from(*value).expect("a value"));
        }
        headers
    }

    fn peer(address: &str) -> Client {
        Client::Tcp(SocketAddr::new(address.parse().expect("an address"), 4711))
    }

    fn identity(trusted: &str, which: Which) -> Identity {
        let trusted =
            if trusted.is_empty() { Networks::default() } else { Networks::parse_peers(trusted).expect("fine") };
        Identity { trusted, which, header: Some(HeaderName::from_static("x-client")) }
    }

    #[test]
    fn the_client_is_the_last_one_who_is_not_trusted() {
        let id = identity("10.0.0.0/8,unix", Which::X);
        let cases = [
            // What strangers say does not count.
            ("1.1.1.1", &[("x-forwarded-for", "2.2.2.2")][..], "1.1.1.1:4711"),
            ("10.0.0.1", &[], "10.0.0.1:4711"),
            ("10.0.0.1", &[("x-forwarded-for", "2.2.2.2")], "2.2.2.2"),
            // What the stranger said before does not, either.
            ("10.0.0.1", &[("x-forwarded-for", "9.9.9.9, 2.2.2.2, 10.0.0.2")], "2.2.2.2"),
            ("10.0.0.1", &[("x-forwarded-for", "9.9.9.9"), ("x-forwarded-for", "2.2.2.2")], "2.2.2.2"),
            ("10.0.0.1", &[("x-forwarded-for", "10.0.0.3,10.0.0.2")], "10.0.0.3"),
            ("10.0.0.1", &[("x-forwarded-for", "2.2.2.2, what, 10.0.0.2")], "10.0.0.2"),
            ("10.0.0.1", &[("x-forwarded-for", "[2001:db8::1]:80")], "2001:db8::1"),
            (
                "10.0.0.1",
                &[("x-forwarded-for", "2.2.2.2, 10.0.0.2"), ("forwarded", "for=9.9.9.9, for=2.2.2.2")],
                "2.2.2.2",
            ),
            // One of them is the client's own, and nobody can tell which.
            ("10.0.0.1", &[("x-forwarded-for", "2.2.2.2"), ("forwarded", "for=3.3.3.3")], "10.0.0.1:4711"),
            ("10.0.0.1", &[("x-forwarded-for", ""), ("forwarded", "for=3.3.3.3")], "10.0.0.1:4711"),
            ("10.0.0.1", &[("x-forwarded-for", "2.2.2.2"), ("forwarded", "for=_hidden")], "10.0.0.1:4711"),
            ("10.0.0.1", &[("forwarded", "for=9.9.9.9, For=\"[2001:db8::1]:80\";proto=http")], "2001:db8::1"),
            ("10.0.0.1", &[("forwarded", "for=2.2.2.2, for=_hidden, for=10.0.0.2")], "10.0.0.2"),
            ("::ffff:10.0.0.1", &[("x-forwarded-for", "::ffff:2.2.2.2")], "2.2.2.2"),
        ];
        for (from, fields, want) in cases {
            assert_eq!(id.client(&headers(fields), peer(from)).to_string(), want, "{from} {fields:?}");
        }
        let said = headers(&[("x-forwarded-for", "2.2.2.2")]);
        assert_eq!(id.client(&said, Client::Unix).to_string(), "2.2.2.2");
        assert_eq!(identity("10.0.0.0/8", Which::X).client(&said, Client::Unix).to_string(), "unix");
    }

    /// What upstreams see of a request of this peer.
    fn told(id: &Identity, from: Client, fields: &[(&'static str, &str)]) -> Vec<String> {
        let mut headers = headers(fields);
        let client = id.client(&headers, from);
        id.tell(&mut headers, from, client, true);
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_stranger_cannot_forge_and_a_proxy_is_gone_on_from() {
        let forged = [
            ("host", "h:1"),
            ("x-forwarded-for", "9.9.9.9"),
            ("x-forwarded-proto", "gopher"),
            ("x-forwarded-host", "e"),
            ("x-forwarded-port", "1"),
            ("x-forwarded-prefix", "/e"),
            ("x-forwarded-server", "e"),
            ("forwarded", "for=9.9.9.9"),
            ("x-client", "9.9.9.9"),
        ];
        let x = identity("10.0.0.1", Which::X);
        let want = [
            "host: h:1",
            "x-client: 1.1.1.1",
            "x-forwarded-for: 1.1.1.1",
            "x-forwarded-host: h:1",
            "x-forwarded-proto: https",
        ];
        assert_eq!(told(&x, peer("1.1.1.1"), &forged), want);
        assert_eq!(told(&identity("", Which::X), peer("1.1.1.1"), &forged), want);
        let standard = identity("10.0.0.1", Which::Standard);
        let want = ["forwarded: for=1.1.1.1;host=\"h:1\";proto=https", "host: h:1", "x-client: 1.1.1.1"];
        assert_eq!(told(&standard, peer("1.1.1.1"), &forged), want);

        let said = [
            ("host", "h"),
            ("x-forwarded-for", "9.9.9.9"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "http"),
            ("forwarded", "for=2.2.2.2"),
        ];
        let both = identity("10.0.0.1", Which::Both);
        let want = [
            "forwarded: for=2.2.2.2, for=10.0.0.1;host=\"h\";proto=https",
            "host: h",
            "x-client: 2.2.2.2",
            "x-forwarded-for: 9.9.9.9, 2.2.2.2, 10.0.0.1",
            "x-forwarded-host: h",
            "x-forwarded-proto: http",
        ];
        assert_eq!(told(&both, peer("10.0.0.1"), &said), want);
    }

    #[test]
    fn who_is_told_nothing_gets_what_came() {
        let id = Identity::default();
        let fields = [("x-forwarded-for", "9.9.9.9"), ("forwarded", "for=9.9.9.9")];
        assert_eq!(told(&id, peer("1.1.1.1"), &fields), ["forwarded: for=9.9.9.9", "x-forwarded-for: 9.9.9.9"]);
    }

    #[test]
    fn other_peers_have_other_names() {
        let standard = identity("", Which::Standard);
        assert_eq!(told(&standard, peer("2001:db8::1"), &[])[0], "forwarded: for=\"[2001:db8::1]\";proto=https");
        assert_eq!(told(&standard, Client::Unix, &[("x-client", "1.1.1.1")]), ["forwarded: for=_unix;proto=https"]);
        assert_eq!(
            told(&identity("", Which::X), Client::Unix, &[("x-forwarded-for", "9.9.9.9")]),
            ["x-forwarded-proto: https"]
        );
    }
}
