//! Sockets that accept: TCP and unix.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use crate::counters::Count;
use crate::endpoint::{Address, Endpoint};

/// How long accepting rests when the system has no file or memory left.
const REST: Duration = Duration::from_millis(100);

/// A socket that accepts connections.
pub(crate) enum Listener {
    /// TCP, on the address that was really bound.
    Tcp(TcpListener, SocketAddr),
    /// A unix socket; its file goes when the listener goes.
    Unix { socket: UnixListener, _file: SocketFile },
}

/// One accepted connection.
pub(crate) enum Accepted {
    /// Over TCP.
    Tcp(TcpStream, Peer),
    /// Over a unix socket.
    Unix(UnixStream),
}

impl Accepted {
    /// Who has connected.
    pub(crate) fn client(&self) -> Client {
        match self {
            Accepted::Tcp(_, peer) => Client::Tcp(peer.remote),
            Accepted::Unix(_) => Client::Unix,
        }
    }
}

/// Both ends of a TCP connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// The address the client came to.
    pub(crate) local: SocketAddr,
    /// The address it came from.
    pub(crate) remote: SocketAddr,
}

/// Who sent a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    /// Somebody at this address.
    Tcp(SocketAddr),
    /// Somebody at this address, as a proxy tells that is believed.
    Named(IpAddr),
    /// A program on this machine.
    Unix,
}

impl Client {
    /// The address, in the version of IP that it is of; none for a program on this machine.
    pub(crate) fn address(self) -> Option<IpAddr> {
        match self {
            Client::Tcp(address) => Some(address.ip().to_canonical()),
            Client::Named(address) => Some(address.to_canonical()),
            Client::Unix => None,
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Client::Tcp(address) => address.fmt(f),
            Client::Named(address) => address.fmt(f),
            Client::Unix => f.write_str("unix"),
        }
    }
}

/// Connections that may wait to be accepted: all clients of a node come back at the same moment when it was restarted. The
/// system may allow fewer.
const MOST_WAITING: u32 = 4096;

impl Listener {
    /// Binds the endpoint of `--in`; with `share` a TCP port can be one of several programs.
    ///
    /// # Errors
    ///
    /// One line that begins with `--in URL` and says what to do.
    pub(crate) async fn bind(endpoint: &Endpoint, share: bool) -> anyhow::Result<Listener> {
        match &endpoint.address {
            Address::Tcp { host, port } => bind_tcp(host, *port, share).await,
            Address::Unix(path) => bind_unix(path).await,
        }
        .with_context(|| format!("--in {endpoint}"))
    }

    /// The endpoint with the address that was really bound, for people.
    pub(crate) fn describe(&self, endpoint: &Endpoint) -> String {
        match self {
            Listener::Tcp(_, address) => format!("{}://{address}", endpoint.scheme.name()),
            Listener::Unix { .. } => endpoint.to_string(),
        }
    }

    /// The address that was really bound; none for a unix socket.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(_, address) => Some(*address),
            Listener::Unix { .. } => None,
        }
    }

    /// Waits for the next connection. Never fails: what the system lacks now it may have later; that is counted. Cancel safe.
    pub(crate) async fn accept(&self, errors: &Count) -> Accepted {
        loop {
            match self.try_accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    errors.add();
                    tracing::warn!("cannot accept a connection: {error}; trying again");
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    async fn try_accept(&self) -> io::Result<Accepted> {
        match self {
            Listener::Tcp(listener, _) => {
                let (stream, remote) = listener.accept().await?;
                // Replies are written whole; waiting to fill a segment only delays them.
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?;
                Ok(Accepted::Tcp(stream, Peer { local, remote }))
            }
            Listener::Unix { socket, .. } => Ok(Accepted::Unix(socket.accept().await?.0)),
        }
    }
}

/// Errors that mean this one connection is gone, nothing more.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | ConnectionRefused | NotConnected | InvalidInput)
}

async fn bind_tcp(host: &str, port: u16, share: bool) -> anyhow::Result<Listener> {
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
        .await
        .with_context(|| format!("cannot find the address of {host:?}; use one of this machine's addresses"))?
        .collect();
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match listen_at(address, share) {
            Ok(listener) => {
                let address = listener.local_addr()?;
                return Ok(Listener::Tcp(listener, address));
            }
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

async fn bind_unix(path: &Path) -> anyhow::Result<Listener> {
    remove_stale(path).await?;
    let socket = UnixListener::bind(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => anyhow::anyhow!("its directory does not exist; create it"),
        io::ErrorKind::PermissionDenied => anyhow::anyhow!("permission denied: its directory must be writable"),
        _ => anyhow::anyhow!("cannot listen: {error}"),
    })?;
    Ok(Listener::Unix { socket, _file: SocketFile(path.to_owned()) })
}

/// Removes what a program that died has left behind: only a socket, and only when nobody answers on it.
async fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        bail!("a file of that name exists and is no socket; remove it or choose another path");
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).context("cannot remove the stale socket file")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            bail!("cannot tell whether the socket there is in use: {error}; remove it or choose another path")
        }
        Ok(_) => bail!("address in use: another program listens there; stop it or choose another path"),
    }
}

/// A socket's file, removed when its listener is dropped.
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is fine, and nothing can be done about the rest.
        let _ = fs::remove_file(&self.0);
    }
}
