//! Addresses that are listened at.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use rustix::net::sockopt;
use tokio::net::TcpSocket;

/// An address of TCP that somebody listens at, or will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The address and the port.
    pub(crate) address: SocketAddr,
    /// Whether every address of IPv6 is every one of IPv4 as well.
    pub(crate) dual: bool,
}

impl Place {
    /// That of a socket which is not there yet.
    pub(crate) fn new(address: SocketAddr) -> Place {
        // A system without IPv6 has no such place.
        Place { address, dual: TcpSocket::new_v6().is_ok_and(is_dual) }
    }

    /// That of a socket which listens.
    pub(crate) fn of(socket: impl AsFd, address: SocketAddr) -> Place {
        Place { address, dual: is_dual(socket) }
    }

    /// The address in the version of IP that it is of.
    pub(crate) fn ip(self) -> IpAddr {
        self.address.ip().to_canonical()
    }

    /// Whether it is at every address, that of another one among them. The ports are not looked at.
    pub(crate) fn covers(self, other: Place) -> bool {
        self.ip().is_unspecified()
            && (self.ip().is_ipv4() == other.ip().is_ipv4() || (self.ip().is_ipv6() && self.dual))
    }

    /// Of which it is every address, if it is.
    pub(crate) fn families(self) -> &'static str {
        match self.ip() {
            IpAddr::V4(_) => "IPv4",
            IpAddr::V6(_) if self.dual => "IPv6 and IPv4",
            IpAddr::V6(_) => "IPv6",
        }
    }
}

fn is_dual(socket: impl AsFd) -> bool {
    sockopt::ipv6_v6only(socket).is_ok_and(|alone| !alone)
}
