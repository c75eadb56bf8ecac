//! Who a connection to an upstream is for: the PROXY header of haproxy, version 1 or 2, before everything else on it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use proxy_header::{ProxiedAddress, ProxyHeader};

use crate::listen::Client;

/// Its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// A line of text.
    One,
    /// Bytes.
    Two,
}

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Version, &'static str> {
        match text {
            "1" => Ok(Version::One),
            "2" => Ok(Version::Two),
            _ => Err("use 1 or 2"),
        }
    }
}

/// Whose request it is: what a request carries for the connection that is made for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Introduced {
    /// The client.
    pub(crate) client: Client,
    /// The address that it came to, if that is known.
    pub(crate) to: Option<SocketAddr>,
}

/// The header for a connection; without a client it is this proxy's own, as when it looks whether the upstream lives.
pub(super) fn header(version: Version, introduced: Option<Introduced>) -> Vec<u8> {
    let header = match introduced.and_then(ends) {
        Some((source, destination)) => ProxyHeader::with_address(ProxiedAddress::stream(source, destination)),
        None => ProxyHeader::with_local(),
    };
    let mut bytes = Vec::new();
    let encoded = match version {
        Version::One => header.encode_v1(&mut bytes),
        Version::Two => header.encode_v2(&mut bytes),
    };
    // Addresses alone always have room, and both are of one version of IP.
    if encoded.is_err() {
        tracing::error!("a PROXY header could not be written: {encoded:?}");
    }
    bytes
}

/// Both ends in one version of IP, the client's; what is not known is zero.
fn ends(introduced: Introduced) -> Option<(SocketAddr, SocketAddr)> {
    let port = if let Client::Tcp(address) = introduced.client { address.port() } else { 0 };
    let source = SocketAddr::new(introduced.client.address()?, port);
    let to = introduced.to.map(|to| SocketAddr::new(to.ip().to_canonical(), to.port()));
    let unknown = match source {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let destination = to.filter(|to| to.is_ipv4() == source.is_ipv4()).unwrap_or(SocketAddr::new(unknown, 0));
    Some((source, destination))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(client: Client, to: Option<&str>) -> String {
        let to = to.map(|to| to.parse().expect("an address"));
        String::from_utf8(header(Version::One, Some(Introduced { client, to }))).expect("text")
    }

    fn tcp(address: &str) -> Client {
        Client::Tcp(address.parse().expect("an address"))
    }

    #[test]
    fn both_ends_are_of_one_version_of_ip() {
        let named = |address: &str| Client::Named(address.parse().expect("an address"));
        assert_eq!(one(tcp("1.2.3.4:5"), Some("6.7.8.9:80")), "PROXY TCP4 1.2.3.4 6.7.8.9 5 80\r\n");
        assert_eq!(one(tcp("[::ffff:1.2.3.4]:5"), Some("[::ffff:6.7.8.9]:80")), "PROXY TCP4 1.2.3.4 6.7.8.9 5 80\r\n");
        assert_eq!(one(tcp("[2001:db8::1]:5"), Some("[::1]:80")), "PROXY TCP6 2001:db8::1 ::1 5 80\r\n");
        assert_eq!(one(named("2001:db8::1"), Some("6.7.8.9:80")), "PROXY TCP6 2001:db8::1 :: 0 0\r\n");
        assert_eq!(one(named("1.2.3.4"), None), "PROXY TCP4 1.2.3.4 0.0.0.0 0 0\r\n");
        assert_eq!(one(Client::Unix, None), "PROXY UNKNOWN\r\n");
    }

    #[test]
    fn version_two_begins_as_it_should() {
        let introduced = Introduced { client: tcp("1.2.3.4:5"), to: Some("6.7.8.9:80".parse().expect("an address")) };
        let want = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x06\x07\x08\x09\0\x05\0\x50";
        assert_eq!(header(Version::Two, Some(introduced)), want);
        assert_eq!(header(Version::Two, None)[..13], b"\r\n\r\n\0\r\nQUIT\n\x20"[..]);
        assert_eq!(header(Version::One, None), b"PROXY UNKNOWN\r\n");
    }
}
