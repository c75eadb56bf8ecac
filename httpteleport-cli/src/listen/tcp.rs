//! Ports of TCP.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use anyhow::Context as _;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpSocket, lookup_host};

use super::MOST_WAITING;
use crate::waits;

/// Ports below this one are for those who have the privilege, unless the system is set otherwise.
const FIRST_FREE: u16 = 1024;

/// The addresses that a host and a port are, in the order in which they are tried; an empty host is every address of IPv4.
///
/// # Errors
///
/// Nobody knows the host.
pub(crate) async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    Ok(lookup_host((host, port)).await?.collect())
}

/// The same for `--in`.
///
/// # Errors
///
/// One line that names the host.
pub(super) async fn resolve(host: &str, port: u16) -> anyhow::Result<Vec<SocketAddr>> {
    let waits = || format!("waiting for the address of {host:?}, where a listener is to be");
    let found = waits::telling(waits, addresses(host, port)).await;
    found.with_context(|| format!("cannot find the address of {host:?}; use one of this machine's addresses"))
}

/// Whether one of these addresses is of this machine, whoever has the port.
///
/// # Errors
///
/// What to do: none of them is.
pub(super) fn try_at(addresses: &[SocketAddr]) -> anyhow::Result<()> {
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match is_here(*address) {
            Ok(()) => return Ok(()),
            Err(error) => failed = error,
        }
    }
    Err(bind_error(&failed))
}

/// Whether an address is of this machine, whoever has the port: nothing is opened there.
///
/// # Errors
///
/// Why nobody could listen there.
pub(crate) fn is_here(mut address: SocketAddr) -> io::Result<()> {
    address.set_port(0);
    socket_for(address)?.bind(address)
}

/// Whether this user may not open a port. What says so is the attempt, of a socket that accepts nothing and is gone at once.
pub(super) fn is_denied(address: SocketAddr) -> bool {
    if address.port() >= FIRST_FREE || address.port() == 0 {
        return false;
    }
    let tried = socket_for(address).and_then(|socket| {
        socket.set_reuseaddr(true)?;
        socket.bind(address)
    });
    tried.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Whether an error says that the machine has no such address, or no addresses of that version of IP.
pub(super) fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}

/// Listens at an address; with `share` it can be one of several programs.
///
/// # Errors
///
/// It is not to be had.
pub(super) fn listen_at(address: SocketAddr, share: bool) -> io::Result<TcpListener> {
    let socket = socket_for(address)?;
    socket.set_reuseaddr(true)?; // A port whose old connections are still closing can be taken again.
    socket.set_reuseport(share)?;
    socket.bind(address)?;
    socket.listen(MOST_WAITING)
}

fn socket_for(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

/// An address at which somebody listens.
#[derive(Debug)]
pub(crate) struct InUse;

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("address in use: another program listens there; stop it or choose another")
    }
}

impl std::error::Error for InUse {}

/// What to do about an address that is not to be had: [`InUse`], or words.
pub(super) fn bind_error(error: &io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::Error::new(InUse),
        io::ErrorKind::PermissionDenied => anyhow::anyhow!("permission denied: ports below 1024 need privileges"),
        io::ErrorKind::AddrNotAvailable => {
            anyhow::anyhow!("not an address of this machine; use one of its own, or leave the host out for all")
        }
        _ => anyhow::anyhow!("cannot listen: {error}"),
    }
}
