//! Why no connection could be made: the upstream's fault, or for want of something here.

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::io::Errno;

use super::{Failure, FailureKind, HANDSHAKE, one_line, plain};
use crate::endpoint::Address;
use crate::open_files::is_of_files;
use crate::request::Outgoing;

/// A connection that could not be made.
#[derive(Clone, Debug)]
pub(super) struct Undialled {
    /// One line for the log.
    line: String,
    /// The same for clients: it names nothing of the network in here.
    told: &'static str,
    /// It failed for want of files or ports here: the upstream has no part in that.
    shortage: bool,
}

impl Undialled {
    /// One that says in the log why, and to clients less.
    pub(super) fn new(told: &'static str, line: impl Into<String>) -> Undialled {
        Undialled { line: line.into(), told, shortage: false }
    }

    /// The way to an address has failed. This may have to look whether there is one.
    pub(super) fn of_io(error: &io::Error, to: &Address) -> Undialled {
        let shortage = is_shortage(error, to);
        let told = if shortage { SHORTAGE } else { word(error).unwrap_or("cannot connect") };
        Undialled { line: plain(error), told, shortage }
    }

    /// The same where others have tried and tell of it in an error that has the cause.
    pub(super) fn of_others(error: &(dyn StdError + 'static), line: String, to: &Address) -> Undialled {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref() {
                return Undialled { line, ..Undialled::of_io(error, to) };
            }
            cause = error.source();
        }
        Undialled::new("cannot connect", line)
    }

    /// Whether it says nothing of the upstream.
    pub(super) fn is_shortage(&self) -> bool {
        self.shortage
    }

    /// Why, in one line for the log.
    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// The failure of a request that needed the connection.
    pub(super) fn failure(self, request: Option<Outgoing>) -> Failure {
        let kind = if self.shortage { FailureKind::Shortage } else { FailureKind::Unreachable };
        Failure { unsent: request, ..Failure::logged(kind, self.told, self.line) }
    }
}

/// What clients are told.
const SHORTAGE: &str = "no connection to an upstream can be made now";

/// Whether there are no files left, or no ports.
fn is_shortage(error: &io::Error, to: &Address) -> bool {
    match Errno::from_io_error(error) {
        _ if is_of_files(error) => true,
        // Also what a machine without IPv6 says of an IPv6 address.
        Some(Errno::ADDRNOTAVAIL) => has_way(to),
        _ => false,
    }
}

/// Whether this machine has an address from which to reach that one. Ports of UDP are others, and nothing is sent.
fn has_way(to: &Address) -> bool {
    let Address::Tcp { host, port } = to else { return false };
    // A name has several addresses, of which one did.
    let Ok(ip) = host.parse::<IpAddr>() else { return true };
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    match UdpSocket::bind((any, 0)) {
        Ok(socket) => socket.connect(SocketAddr::new(ip, *port)).is_ok(),
        Err(error) => is_of_files(&error) || Errno::from_io_error(&error) == Some(Errno::ADDRINUSE),
    }
}

/// The kind of an error that says enough of a connection.
fn word(error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => Some("no such socket"),
        ErrorKind::PermissionDenied => Some("permission denied"),
        ErrorKind::ConnectionRefused => Some("connection refused"),
        ErrorKind::ConnectionReset => Some("connection reset"),
        ErrorKind::ConnectionAborted => Some("connection aborted"),
        ErrorKind::HostUnreachable => Some("host unreachable"),
        ErrorKind::NetworkUnreachable => Some("network unreachable"),
        ErrorKind::TimedOut => Some("connecting timed out"),
        _ => None,
    }
}

/// TLS has failed, and what it says may name names.
pub(super) fn tls(error: &io::Error) -> Undialled {
    Undialled::new(HANDSHAKE, format!("TLS: {}", one_line(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(errno: Errno, host: &str) -> Undialled {
        let to = Address::Tcp { host: host.to_owned(), port: 9 };
        Undialled::of_io(&io::Error::from(errno), &to)
    }

    #[test]
    fn what_is_short_here_is_not_the_upstreams_fault() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL] {
            let failure = of(errno, "127.0.0.1").failure(None);
            assert_eq!((failure.kind, failure.told), (FailureKind::Shortage, SHORTAGE), "{errno}");
        }
        assert!(of(Errno::ADDRNOTAVAIL, "far.example.com").is_shortage());
        let failure = of(Errno::CONNREFUSED, "127.0.0.1").failure(None);
        assert_eq!((failure.kind, failure.told), (FailureKind::Unreachable, "connection refused"));
    }

    #[test]
    fn an_address_that_cannot_be_reached_from_here_is_another_thing() {
        // Multicast of a link needs to know which one: no machine has a way there without.
        assert!(!of(Errno::ADDRNOTAVAIL, "ff02::1").is_shortage());
    }

    #[test]
    fn a_cause_below_others_counts() {
        #[derive(Debug)]
        struct Above(io::Error);
        impl std::fmt::Display for Above {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("above")
            }
        }
        impl StdError for Above {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(&self.0)
            }
        }
        let to = Address::Tcp { host: "127.0.0.1".to_owned(), port: 9 };
        let of = |cause: io::Error| Undialled::of_others(&Above(cause), "far.example.com: above".to_owned(), &to);
        let short = of(io::Error::from(Errno::MFILE));
        assert!(short.is_shortage() && short.line() == "far.example.com: above");
        let failure = of(io::Error::other("far.example.com is no good")).failure(None);
        assert_eq!((failure.kind, failure.told), (FailureKind::Unreachable, "cannot connect"));
    }
}
