//! What stands for one upstream or many: a URL of one, a name in DNS, or a file of those.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::endpoint::{Address, Endpoint, Scheme};
use crate::outbound::{LookedUp, Place};

/// A source of upstreams, as `--out` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Where it leads.
    pub(crate) to: To,
    /// The part of each of its upstreams, against those of others: 1 to 1000, or that of a line of a file multiplied by that of the file. Those that
    /// DNS gives are multiplied by it.
    pub(crate) weight: u32,
    /// Whether its upstreams are for when all others are out.
    pub(crate) backup: bool,
}

/// Where a source leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// To the addresses of a host, or to the one that is written there.
    Host(Endpoint),
    /// To the hosts and ports of an SRV record.
    Srv {
        /// What is spoken there.
        scheme: Scheme,
        /// The name of the record: `_teleport._tcp.example.com`.
        name: String,
    },
    /// To what is in a file, a source a line.
    File(PathBuf),
}

const MOST_WEIGHT: u32 = 1000;

/// Upstreams of a backup come after all that SRV records may rank.
const BACKUP: u16 = u16::MAX;

impl Source {
    /// Reads the URL of an [`Endpoint`], `SCHEME+srv://NAME` or `file:PATH`, with `#weight=N`, `#backup` or both
    /// behind it.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write instead. The text given is not repeated in it.
    pub(crate) fn parse(text: &str) -> Result<Source, String> {
        let mut words = text.split('#');
        let mut source = Source { to: To::parse(words.next().unwrap_or_default())?, weight: 1, backup: false };
        for word in words {
            match word.split_once('=') {
                None if word == "backup" => source.backup = true,
                Some(("weight", weight)) => source.weight = parse_weight(weight)?,
                _ => return Err(format!("{word:?} behind the # is unknown; write #weight=3, #backup, or both")),
            }
        }
        Ok(source)
    }

    /// Whether it can lead anywhere.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write instead.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match &self.to {
            To::Host(Endpoint { address: Address::Tcp { host, .. }, .. }) if host.is_empty() => {
                Err("no host; say which machine to connect to")
            }
            To::Host(Endpoint { address: Address::Tcp { port: 0, .. }, .. }) => {
                Err("port 0 cannot be connected to; use 1 to 65535")
            }
            _ => Ok(()),
        }
    }

    /// What is spoken there; not known of a file.
    pub(crate) fn scheme(&self) -> Option<Scheme> {
        match &self.to {
            To::Host(endpoint) => Some(endpoint.scheme),
            To::Srv { scheme, .. } => Some(*scheme),
            To::File(_) => None,
        }
    }

    /// What has to be looked up.
    pub(super) fn name(&self) -> String {
        match &self.to {
            To::Host(Endpoint { address: Address::Tcp { host, .. }, .. }) => host.clone(),
            To::Srv { name, .. } => name.clone(),
            To::Host(_) | To::File(_) => self.to_string(),
        }
    }

    /// Whether something of it may need TLS.
    pub(crate) fn may_use_tls(&self) -> bool {
        self.scheme().is_none_or(Scheme::is_tls)
    }

    /// Whether requests may share connections to something of it.
    pub(crate) fn may_multiplex(&self) -> bool {
        self.scheme().is_none_or(Scheme::may_multiplex)
    }

    /// Whether something of it may speak teleport.
    pub(crate) fn may_teleport(&self) -> bool {
        self.scheme().is_none_or(Scheme::is_teleport)
    }

    /// The one upstream that it is, if there is nothing to be looked up.
    pub(crate) fn fixed(&self) -> Option<Place> {
        match &self.to {
            To::Host(endpoint) if !is_name(&endpoint.address) => Some(self.place(endpoint.clone(), None)),
            _ => None,
        }
    }

    /// An upstream that the same source had, when its part among others was that of `before`.
    pub(super) fn again(&self, before: &Source, place: &Place) -> Place {
        let weight = (place.weight / before.weight).max(1).saturating_mul(self.weight);
        let priority = match (self.backup, before.backup) {
            (true, _) => BACKUP,
            (false, true) => 0,
            (false, false) => place.priority,
        };
        Place { weight, priority, ..place.clone() }
    }

    /// An upstream of it.
    pub(super) fn place(&self, endpoint: Endpoint, looked_up: Option<LookedUp>) -> Place {
        Place { endpoint, looked_up, weight: self.weight, priority: if self.backup { BACKUP } else { 0 } }
    }
}

/// Whether it has to be looked up. `localhost` has not: who connects to it tries all that it may be.
fn is_name(address: &Address) -> bool {
    match address {
        Address::Unix(_) => false,
        Address::Tcp { host, .. } => host.parse::<IpAddr>().is_err() && !host.eq_ignore_ascii_case("localhost"),
    }
}

fn parse_weight(text: &str) -> Result<u32, String> {
    let weight = text.parse().ok().filter(|weight| (1..=MOST_WEIGHT).contains(weight));
    weight.ok_or_else(|| format!("bad weight {text:?}; use 1 to {MOST_WEIGHT}"))
}

impl To {
    fn parse(url: &str) -> Result<To, String> {
        if let Some(path) = url.strip_prefix("file:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err("no path; write for example file:/etc/httptp/upstreams".to_owned());
            }
            return Ok(To::File(PathBuf::from(path)));
        }
        let Some((scheme, name)) = url.split_once("+srv:") else {
            return Ok(To::Host(Endpoint::parse(url)?));
        };
        let schemes = "http+srv, https+srv, h2c+srv, teleport+srv or teleports+srv";
        let scheme = Scheme::parse(scheme)
            .filter(|scheme| *scheme != Scheme::Unix)
            .ok_or_else(|| format!("unknown scheme {scheme:?}+srv; use {schemes}"))?;
        Ok(To::Srv { scheme, name: srv_name(name)? })
    }
}

/// `_service._proto.domain`, as RFC 2782 has it.
fn srv_name(text: &str) -> Result<String, String> {
    let example = "write for example teleport+srv://_teleport._tcp.example.com";
    let name = text.strip_prefix("//").unwrap_or(text);
    let name = name.strip_suffix('/').unwrap_or(name);
    if let Some(bad) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !"-._".contains(*c)) {
        let why =
            if bad == ':' { "an SRV record has the ports".to_owned() } else { format!("{bad:?} cannot be in it") };
        return Err(format!("bad name of an SRV record: {why}; {example}"));
    }
    let mut labels = name.split('.');
    let two = labels.next().zip(labels.next());
    let is_service = two.is_some_and(|(service, proto)| service.starts_with('_') && proto.starts_with('_'));
    if !is_service || labels.next().is_none_or(str::is_empty) || name.len() > 253 {
        return Err(format!("no name of an SRV record; {example}"));
    }
    Ok(name.to_owned())
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            To::Host(endpoint) => write!(f, "{endpoint}")?,
            To::Srv { scheme, name } => write!(f, "{}+srv://{name}", scheme.name())?,
            To::File(path) => write!(f, "file:{}", path.display())?,
        }
        match (self.weight, self.backup) {
            (1, false) => Ok(()),
            (1, true) => f.write_str("#backup"),
            (weight, false) => write!(f, "#weight={weight}"),
            (weight, true) => write!(f, "#weight={weight}#backup"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_shows() {
        let cases = [
            ("http://127.0.0.1:80", "http://127.0.0.1:80"),
            ("http://api.example#weight=3", "http://api.example:80#weight=3"),
            ("unix:/run/a.sock#backup", "unix:/run/a.sock#backup"),
            ("teleports://h:1#backup#weight=2", "teleports://h:1#weight=2#backup"),
            ("teleport+srv://_teleport._tcp.example.com", "teleport+srv://_teleport._tcp.example.com"),
            ("HTTPS+srv://_api._tcp.example./#weight=1000", "https+srv://_api._tcp.example.#weight=1000"),
            ("file:/etc/up", "file:/etc/up"),
            ("file:///etc/up#backup", "file:/etc/up#backup"),
        ];
        for (text, want) in cases {
            assert_eq!(Source::parse(text).map(|source| source.to_string()), Ok(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let cases = [
            ("ftp://h:21", "unknown scheme \"ftp\""),
            ("http://h#weight=0", "bad weight \"0\"; use 1 to 1000"),
            ("http://h#weight=x", "bad weight"),
            ("http://h#x=1", "\"x=1\" behind the # is unknown"),
            ("http://h#", "\"\" behind the # is unknown"),
            ("file:", "no path"),
            ("unix+srv://_a._b.c", "unknown scheme \"unix\"+srv"),
            ("teleport+srv://example.com", "no name of an SRV record; write"),
            ("teleport+srv://_teleport._tcp", "no name of an SRV record; write"),
            ("teleport+srv://_teleport._tcp.x:80", "an SRV record has the ports"),
            ("teleport+srv://_teleport._tcp.x/y", "'/' cannot be in it"),
        ];
        for (text, want) in cases {
            let error = Source::parse(text).expect_err(text);
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    #[test]
    fn what_needs_no_look_up() {
        for (text, fixed) in [
            ("http://10.0.0.1", true),
            ("teleport://[::1]:1", true),
            ("http://localhost:80", true),
            ("unix:/a", true),
            ("http://api.example", false),
            ("http+srv://_a._tcp.b", false),
            ("file:/a", false),
        ] {
            assert_eq!(Source::parse(text).expect(text).fixed().is_some(), fixed, "{text}");
        }
    }
}
