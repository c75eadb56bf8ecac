//! Who a request comes from, and what upstreams are told of that: `X-Forwarded-For` and its kin, and `Forwarded` (RFC 7239).
//!
//! What a request says of its way is believed of those proxies alone that the settings name. Of all others it is replaced, so
//! that no client can pass for another.

use std::net::IpAddr;
use std::str::FromStr;

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};

use crate::access::Networks;
use crate::listen::Client;
use crate::spelling::Spellings;

mod chain;
mod telling;
mod way;

use way::Way;

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
    /// `Forwarded` contradict each other it is the peer: most proxies write one of them, and pass the other one on as their client made it up.
    pub(crate) fn client(&self, headers: &HeaderMap, peer: Client) -> Client {
        self.way(headers, peer).and_then(|way| way.client()).map_or(peer, Client::Named)
    }

    /// The way that a request had before this peer, if anything is believed that is said of it.
    fn way(&self, headers: &HeaderMap, peer: Client) -> Option<Way> {
        // Most inputs trust nobody.
        let is_trusted = !self.trusted.is_empty() && self.trusted.has_client(peer);
        is_trusted.then(|| Way::read(headers, &self.trusted)).flatten()
    }

    /// The fields that are told, or believed, here.
    pub(crate) fn spellings(&self) -> Spellings {
        let of_the_way = if self.which == Which::None { &[][..] } else { &OF_THE_WAY };
        Spellings::new(of_the_way.iter().chain(&self.header))
    }

    /// Tells upstreams whose request it is: `peer` has handed it over, over TLS or not, for the client.
    pub(crate) fn tell(&self, headers: &mut HeaderMap, peer: Client, client: Client, tls: bool) {
        if self.which != Which::None {
            telling::tell(self.which, headers, self.way(headers, peer), peer, tls);
        }
        if let Some(name) = &self.header {
            match client.address().and_then(value) {
                Some(address) => headers.insert(name, address),
                None => headers.remove(name),
            };
        }
    }
}

fn value(address: IpAddr) -> Option<HeaderValue> {
    HeaderValue::try_from(address.to_string()).ok()
}

#[cfg(test)]
mod tests;
