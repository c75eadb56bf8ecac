//! Where to listen or to connect, written as a URL: `teleports://dc2.example.com:4443`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// The longest path a unix socket address can hold on every platform that matters (its field has 104 or 108 bytes).
const LONGEST_SOCKET_PATH: usize = 103;

/// What is spoken at an endpoint, and over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// HTTP over TCP.
    Http,
    /// HTTP/2 over TCP, without asking. For outputs: inputs see what a client speaks.
    H2c,
    /// HTTP over TLS.
    Https,
    /// HTTP over a unix socket.
    Unix,
    /// The teleport wire over TCP.
    Teleport,
    /// The teleport wire over TLS.
    Teleports,
}

impl Scheme {
    /// The name as written in a URL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::H2c => "h2c",
            Scheme::Https => "https",
            Scheme::Unix => "unix",
            Scheme::Teleport => "teleport",
            Scheme::Teleports => "teleports",
        }
    }

    /// Whether it is carried by TLS.
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Scheme::Https | Scheme::Teleports)
    }

    /// Whether it speaks the teleport wire.
    pub(crate) fn is_teleport(self) -> bool {
        matches!(self, Scheme::Teleport | Scheme::Teleports)
    }

    /// Whether requests share its connections, or may: the peer of an `https` endpoint says whether it speaks HTTP/2.
    pub(crate) fn may_multiplex(self) -> bool {
        self.is_teleport() || matches!(self, Scheme::H2c | Scheme::Https)
    }

    fn default_port(self) -> Option<u16> {
        match self {
            Scheme::Http | Scheme::H2c => Some(80),
            Scheme::Https => Some(443),
            Scheme::Unix | Scheme::Teleport | Scheme::Teleports => None,
        }
    }

    /// The scheme of that name, in any case.
    pub(crate) fn parse(name: &str) -> Option<Scheme> {
        [Scheme::Http, Scheme::H2c, Scheme::Https, Scheme::Unix, Scheme::Teleport, Scheme::Teleports]
            .into_iter()
            .find(|scheme| scheme.name().eq_ignore_ascii_case(name))
    }
}

/// The address part of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A host name or address without brackets, and a port. An empty host means every IPv4 address, for inputs.
    Tcp {
        /// Name or address.
        host: String,
        /// 0 lets the system choose, for inputs.
        port: u16,
    },
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// One side of the proxy: a scheme and an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// What is spoken there.
    pub(crate) scheme: Scheme,
    /// Where it is.
    pub(crate) address: Address,
}

impl Endpoint {
    /// Reads the endpoint of an input.
    ///
    /// # Errors
    ///
    /// As [`Endpoint::parse`].
    pub(crate) fn parse_input(text: &str) -> Result<Endpoint, String> {
        // The path of a unix socket may have commas.
        if text.contains(',') && text.split(':').next().and_then(Scheme::parse) != Some(Scheme::Unix) {
            return Err("takes one URL; write several listeners into a file for --config, each with its own".to_owned());
        }
        let endpoint = Endpoint::parse_one_of(text, "http, https, unix, teleport or teleports")?;
        match endpoint.scheme {
            Scheme::H2c => {
                Err("is for outputs; an http input speaks HTTP/2 with clients that do: use http://".to_owned())
            }
            _ => Ok(endpoint),
        }
    }

    /// Reads the endpoint of an output: `SCHEME://HOST[:PORT]`, `unix:PATH` or `unix:///ABSOLUTE/PATH`.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write instead. The text given is not repeated in it.
    pub(crate) fn parse(text: &str) -> Result<Endpoint, String> {
        let schemes = "http, https, h2c for HTTP/2 and gRPC without TLS, unix, teleport or teleports, with +srv for an SRV record, or \
                       file:PATH";
        Endpoint::parse_one_of(text, schemes)
    }

    fn parse_one_of(text: &str, schemes: &str) -> Result<Endpoint, String> {
        if text.trim().is_empty() {
            return Err("is empty; write for example http://127.0.0.1:8080".to_owned());
        }
        let (name, rest) = match text.split_once(':') {
            Some((name, rest)) if rest.starts_with("//") || Scheme::parse(name) == Some(Scheme::Unix) => (name, rest),
            _ => return Err(format!("no scheme; write for example http://{}, or use {schemes}", or_example(text))),
        };
        let scheme = Scheme::parse(name).ok_or_else(|| format!("unknown scheme {name:?}; use {schemes}"))?;
        let address = match scheme {
            Scheme::Unix => unix_address(rest)?,
            _ => tcp_address(scheme, rest.strip_prefix("//").unwrap_or(rest))?,
        };
        Ok(Endpoint { scheme, address })
    }
}

/// What the user typed when it could be an address, else an example of one.
fn or_example(text: &str) -> &str {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b));
    if plain && !text.is_empty() { text } else { "127.0.0.1:8080" }
}

fn unix_address(rest: &str) -> Result<Address, String> {
    let path = match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') || path.is_empty() => path,
        Some(path) => {
            return Err(format!("write unix:///{path} for an absolute path or unix:{path} for a relative one"));
        }
        None => rest,
    };
    if path.is_empty() {
        return Err("no socket path; write for example unix:///run/httptp.sock".to_owned());
    }
    socket_path(path).map(Address::Unix)
}

/// Reads the path of a unix socket.
///
/// # Errors
///
/// It is longer than such paths can be.
pub(crate) fn socket_path(path: &str) -> Result<PathBuf, String> {
    if path.len() > LONGEST_SOCKET_PATH {
        return Err(format!("the socket path is longer than {LONGEST_SOCKET_PATH} bytes; use a shorter one"));
    }
    Ok(PathBuf::from(path))
}

fn tcp_address(scheme: Scheme, rest: &str) -> Result<Address, String> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if !matches!(path, "" | "/") {
        return Err("an endpoint has no path; every request keeps its own: remove what follows the address".to_owned());
    }
    if authority.contains('@') {
        return Err("a user or password in the URL is not supported; remove what stands before the @".to_owned());
    }
    let (host, port) = split_port(authority)?;
    let port = match port {
        Some(port) => port.parse().map_err(|_| format!("bad port {port:?}; use 1 to 65535"))?,
        None => scheme.default_port().ok_or_else(|| {
            format!(
                "no port; write for example {}://{}:9876",
                scheme.name(),
                if host.is_empty() { "10.0.0.2" } else { host }
            )
        })?,
    };
    Ok(Address::Tcp { host: host.to_owned(), port })
}

/// Splits `host[:port]`; an IPv6 address stands in brackets and comes out without them.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("a [ without its ]; write an IPv6 address as [::1]:8080")?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err(format!("{host:?} in brackets is no IPv6 address"));
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err("only a :PORT may follow the ]".to_owned()),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((_, rest)) if rest.contains(':') => {
            let is_six = authority.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte));
            return Err(if is_six {
                format!("put the IPv6 address in brackets: [{authority}]:PORT")
            } else {
                "more than one port; write HOST:PORT".to_owned()
            });
        }
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if let Some(bad) = host.chars().find(|&c| !c.is_ascii_alphanumeric() && !"-._".contains(c)) {
        return Err(format!("{bad:?} cannot be part of a host name"));
    }
    check_host(host)?;
    Ok((host, port))
}

/// Whether it can be a host. What ends in a number is an address of IPv4 or nothing: systems take `127.0.0`, `1` and `0x7f.1` for addresses
/// that nobody has meant.
///
/// # Errors
///
/// It is no such address; the error says what to write.
pub(crate) fn check_host(host: &str) -> Result<(), String> {
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_hex = hex.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let is_number = is_hex || (!last.is_empty() && last.bytes().all(|digit| digit.is_ascii_digit()));
    if is_number && host.parse::<Ipv4Addr>().is_err() {
        return Err(format!("{host:?} is no IPv4 address; write all four numbers, such as 127.0.0.1, or a name"));
    }
    Ok(())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.name();
        match &self.address {
            Address::Unix(path) => write!(f, "{scheme}:{}", path.display()),
            Address::Tcp { host, port } if host.contains(':') => write!(f, "{scheme}://[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_shows() {
        let cases = [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("HTTP://Example.com", "http://Example.com:80"),
            ("https://example.com/", "https://example.com:443"),
            ("http://:80", "http://:80"),
            ("http://1.example.5a", "http://1.example.5a:80"),
            ("http://0xg", "http://0xg:80"),
            ("teleport://[::1]:9876", "teleport://[::1]:9876"),
            ("https://[::1]", "https://[::1]:443"),
            ("teleports://my_host:4443", "teleports://my_host:4443"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("unix:///run/a.sock", "unix:/run/a.sock"),
            ("unix:run/a b.sock", "unix:run/a b.sock"),
        ];
        for (text, want) in cases {
            assert_eq!(Endpoint::parse(text).map(|e| e.to_string()), Ok(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let long = format!("unix:/{}", "x".repeat(200));
        let cases = [
            ("", "is empty; write for example http://127.0.0.1:8080"),
            ("127.0.0.1:9", "no scheme; write for example http://127.0.0.1:9,"),
            (
                "ftp://h:21",
                "unknown scheme \"ftp\"; use http, https, h2c for HTTP/2 and gRPC without TLS, unix, teleport",
            ),
            ("grpc://h:21", "with +srv for an SRV record, or file:PATH"),
            ("teleport://h", "no port; write for example teleport://h:9876"),
            ("http://h:0x50", "bad port \"0x50\""),
            ("http://h:65536", "bad port"),
            ("http://h:", "bad port"),
            ("http://h/path", "no path"),
            ("http://h:1?q", "no path"),
            ("http://user:pw@h:1", "user or password"),
            ("http://::1:80", "in brackets: [::1:80]:PORT"),
            ("http://[::1", "without its ]"),
            ("http://[h]:1", "no IPv6 address"),
            ("http://[::1]80", "only a :PORT"),
            ("http://a b:1", "' ' cannot be part"),
            ("http://127.0.0", "\"127.0.0\" is no IPv4 address; write all four numbers"),
            ("http://1", "\"1\" is no IPv4 address"),
            ("http://127.0.0.1.:80", "no IPv4 address"),
            ("http://127.0.0.01:80", "no IPv4 address"),
            ("http://256.0.0.1:80", "no IPv4 address"),
            ("http://0x7f000001", "no IPv4 address"),
            ("http://0x7f.0x1:80", "no IPv4 address"),
            ("http://a.5:80", "no IPv4 address"),
            ("unix:", "no socket path"),
            ("unix://", "no socket path"),
            ("unix://tmp/x", "write unix:///tmp/x for an absolute path or unix:tmp/x"),
            (&long, "longer than 103"),
        ];
        for (text, want) in cases {
            let error = Endpoint::parse(text).expect_err(text);
            assert!(error.contains(want), "{text}: {error}");
            assert!(!error.contains("pw"), "{text}: {error}");
        }
    }
}
