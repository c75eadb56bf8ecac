//! Where one upstream is.

use std::fmt;
use std::net::IpAddr;

use crate::endpoint::{Address, Endpoint};

/// An upstream's scheme and address, and its part among others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// What is spoken, and where to connect.
    pub(crate) endpoint: Endpoint,
    /// The name that it was looked up by.
    pub(crate) looked_up: Option<LookedUp>,
    /// Its part of the requests, against those of the others: 1 to `u32::MAX`.
    pub(crate) weight: u32,
    /// Those with a larger one are for when all others are out.
    pub(crate) priority: u16,
}

/// A name that led to an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LookedUp {
    /// That of a host.
    Host(String),
    /// That of an SRV record.
    Service {
        /// Which host of it.
        host: String,
        /// The name of the record.
        service: String,
        /// The domain that it belongs to.
        domain: String,
    },
}

impl LookedUp {
    /// What its certificate has to be for.
    fn certified(&self) -> &str {
        match self {
            LookedUp::Host(name) | LookedUp::Service { domain: name, .. } => name,
        }
    }
}

impl fmt::Display for LookedUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LookedUp::Host(name) => f.write_str(name),
            LookedUp::Service { host, service, .. } => write!(f, "{host} of {service}"),
        }
    }
}

impl Place {
    /// Whether two are the same upstream, whatever their parts.
    pub(crate) fn is_same(&self, other: &Place) -> bool {
        self.endpoint == other.endpoint && self.looked_up == other.looked_up
    }

    /// Its address, unless it is a name or a socket.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match &self.endpoint.address {
            Address::Tcp { host, .. } => host.parse().ok(),
            Address::Unix(_) => None,
        }
    }

    /// The name of a server of TLS there.
    pub(crate) fn server_name(&self) -> Option<&str> {
        match (&self.looked_up, &self.endpoint.address) {
            (Some(looked_up), _) => Some(looked_up.certified()),
            (None, Address::Tcp { host, .. }) => Some(host),
            (None, Address::Unix(_)) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.looked_up {
            Some(name) => write!(f, "{} ({name})", self.endpoint),
            None => write!(f, "{}", self.endpoint),
        }
    }
}
