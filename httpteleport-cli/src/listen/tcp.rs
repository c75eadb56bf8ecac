//! Ports of TCP.

use std::io;
use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpSocket, lookup_host};

use super::MOST_WAITING;

/// The addresses that a host and a port are; an empty host is every address of IPv4.
///
/// # Errors
///
/// One line that names the host.
pub(super) async fn resolve(host: &str, port: u16) -> anyhow::Result<Vec<SocketAddr>> {
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let found = lookup_host((host, port)).await;
    let found =
        found.with_context(|| format!("cannot find the address of {host:?}; use one of this machine's addresses"))?;
    Ok(found.collect())
}

/// Listens on the first of these addresses that will do; with `share` it can be one of several programs.
pub(super) fn bind(addresses: &[SocketAddr], share: bool) -> anyhow::Result<TcpListener> {
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match listen_at(*address, share) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    Err(bind_error(&failed))
}

fn listen_at(address: SocketAddr, share: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?; // A port whose old connections are still closing can be taken again.
    socket.set_reuseport(share)?;
    socket.bind(address)?;
    socket.listen(MOST_WAITING)
}

fn bind_error(error: &io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("address in use: another program listens there; stop it or choose another")
        }
        io::ErrorKind::PermissionDenied => anyhow::anyhow!("permission denied: ports below 1024 need privileges"),
        io::ErrorKind::AddrNotAvailable => {
            anyhow::anyhow!("not an address of this machine; use one of its own, or leave the host out for all")
        }
        _ => anyhow::anyhow!("cannot listen: {error}"),
    }
}
