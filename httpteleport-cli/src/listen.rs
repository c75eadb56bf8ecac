//! Sockets that accept: TCP and unix.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

pub(crate) use self::given::{Given, Socket};
pub(crate) use self::inherited::{MOST_SOCKETS, inherited};
pub(crate) use self::place::Place;
pub(crate) use self::ports::Ports;
pub(crate) use self::tcp::{InUse, addresses, is_here};
pub(crate) use self::unix::{Mode, SocketFile, bind as bind_unix, try_to as try_unix};

use crate::counters::Count;
use crate::endpoint::{Address, Endpoint};
use crate::open_files::is_of_files;
use crate::seldom::Seldom;

mod given;
mod inherited;
mod place;
mod ports;
mod tcp;
mod unix;
mod waiting;

/// How long accepting rests when the system has no file or memory left.
const REST: Duration = Duration::from_millis(100);
/// How long a name may take that is looked up for a warning.
const LOOK: Duration = Duration::from_secs(2);

/// A socket that accepts connections.
pub(crate) enum Listener {
    /// TCP, on the addresses that were really bound.
    Tcp(Ports),
    /// A unix socket; its file goes when the listener goes.
    Unix {
        /// Goes first: once nobody listens, the file may be another process's.
        file: SocketFile,
        socket: UnixListener,
    },
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

/// Who else may have to do with a socket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sharing {
    /// A TCP port can be one of several programs.
    pub(crate) reuse_port: bool,
    /// Who may connect to a unix socket; without it the umask decides.
    pub(crate) mode: Option<Mode>,
}

impl Listener {
    /// Opens the endpoint of `--in`, or takes the socket that is there already.
    ///
    /// # Errors
    ///
    /// One line that begins with `--in URL` and says what to do; [`InUse`] if somebody listens there.
    pub(crate) async fn open(endpoint: &Endpoint, how: Sharing, given: &mut Given) -> anyhow::Result<Listener> {
        let open = async {
            let there = given.take(&endpoint.address).await?;
            match &endpoint.address {
                Address::Tcp { host, port } => Listener::tcp(&tcp::resolve(host, *port).await?, there, how),
                Address::Unix(path) => match there.into_iter().next() {
                    Some(Socket::Unix(listener, path)) => {
                        let file = SocketFile::of_another(path.unwrap_or_default());
                        Ok(Listener::Unix { socket: UnixListener::from_std(listener)?, file })
                    }
                    _ => {
                        let (socket, file) = unix::bind(path, how.mode).await?;
                        Ok(Listener::Unix { socket, file })
                    }
                },
            }
        };
        open.await.with_context(|| format!("--in {endpoint}"))
    }

    fn tcp(addresses: &[SocketAddr], there: Vec<Socket>, how: Sharing) -> anyhow::Result<Listener> {
        let ports = Ports::open(addresses, there, how.reuse_port).map_err(|(address, error)| {
            let why = tcp::bind_error(&error);
            match address.filter(|_| addresses.len() > 1) {
                Some(address) => why.context(address),
                None => why,
            }
        })?;
        Ok(Listener::Tcp(ports))
    }

    /// Lets those connect from now on that this says, if it says anything of it.
    ///
    /// # Errors
    ///
    /// One line that begins with `--in URL`: the system does not let it.
    pub(crate) fn keep_to(&self, endpoint: &Endpoint, how: Sharing) -> anyhow::Result<()> {
        match (self, how.mode) {
            (Listener::Unix { file, .. }, Some(mode)) => {
                file.set_mode(mode).with_context(|| format!("--in {endpoint}"))
            }
            _ => Ok(()),
        }
    }

    /// The sockets themselves.
    pub(crate) fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Listener::Tcp(ports) => ports.sockets().collect(),
            Listener::Unix { socket, .. } => vec![socket.as_fd()],
        }
    }

    /// Where it listens, on which port of TCP.
    pub(crate) fn places(&self) -> Vec<Place> {
        match self {
            Listener::Tcp(ports) => {
                ports.sockets().zip(ports.addresses()).map(|(socket, address)| Place::of(socket, address)).collect()
            }
            Listener::Unix { .. } => Vec::new(),
        }
    }

    /// Whether the file of a unix socket is this process's from now on, and goes with it.
    pub(crate) fn own_file(&self, ours: bool) {
        if let Listener::Unix { file, .. } = self {
            file.own(ours);
        }
    }

    /// The endpoint with the address that was really bound, for people.
    pub(crate) fn describe(&self, endpoint: &Endpoint) -> String {
        match self {
            Listener::Tcp(ports) => format!("{}://{}", endpoint.scheme.name(), ports.address()),
            Listener::Unix { .. } => endpoint.to_string(),
        }
    }

    /// The address that was really bound, of several the first; none for a unix socket.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(ports) => Some(ports.address()),
            Listener::Unix { .. } => None,
        }
    }

    /// The addresses that were bound beside that one.
    pub(crate) fn other_addresses(&self) -> Vec<SocketAddr> {
        match self {
            Listener::Tcp(ports) => ports.addresses().skip(1).collect(),
            Listener::Unix { .. } => Vec::new(),
        }
    }

    /// That the name it was opened by has other addresses now than those that it listens at, in a line that begins with `--in URL`; none if it is
    /// no name, or cannot be looked up soon.
    pub(crate) async fn moved(&self, endpoint: &Endpoint) -> Option<String> {
        let (Listener::Tcp(ports), Address::Tcp { host, port }) = (self, &endpoint.address) else { return None };
        let open: Vec<_> = ports.addresses().map(|address| address.ip()).collect();
        // A port that the system chooses is at one address alone.
        let any = host.is_empty() || *port == 0 || open.iter().any(IpAddr::is_unspecified);
        if any || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return None;
        }
        let found = timeout(LOOK, addresses(host, *port)).await.ok()?.ok()?;
        let missing = found.iter().filter(|address| !open.contains(&address.ip()) && is_here(**address).is_ok());
        let missing = listed("nothing listens at", missing.map(SocketAddr::ip));
        let gone = open.iter().filter(|ip| !found.iter().any(|address| address.ip() == **ip));
        let gone = listed("still open is", gone.copied());
        let what = missing.into_iter().chain(gone).collect::<Vec<_>>().join("; ");
        let line = format!("--in {endpoint}: its name has other addresses now, which a restart alone follows: {what}");
        (!what.is_empty()).then_some(line)
    }

    /// Waits for the next connection. Never fails: what the system lacks now it may have later; that is counted, and told now and
    /// then. Where it lacks files, what is done about that shortens the wait. Cancel safe.
    pub(crate) async fn accept<R: Future<Output = ()>>(
        &self,
        errors: &Count,
        lines: &Seldom,
        on_shortage: impl Fn() -> R,
    ) -> Accepted {
        loop {
            match self.try_accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_the_clients(&error) => {}
                // Nobody is to leave for nobody.
                Err(error) if is_of_files(&error) && !self.has_client() => sleep(REST).await,
                Err(error) => {
                    errors.add();
                    lines.warn(format_args!("cannot accept a connection: {error}; trying again"));
                    if is_of_files(&error) {
                        let _ = timeout(REST, on_shortage()).await;
                    } else {
                        sleep(REST).await;
                    }
                }
            }
        }
    }

    /// Resolves once a client waits to be accepted, if that can be told, or if there is no file left to find out. Cancel safe.
    pub(crate) async fn client_waits(&self) {
        let waits = match self {
            Listener::Tcp(ports) => ports.client().await,
            Listener::Unix { socket, .. } => waiting::client(socket.as_fd()).await,
        };
        match waits {
            // It may be that nobody waits, and there are too few files in any case.
            Err(error) if is_of_files(&error) => {}
            Err(_) => std::future::pending().await,
            Ok(()) => {}
        }
    }

    fn has_client(&self) -> bool {
        match self {
            Listener::Tcp(ports) => ports.has_client(),
            Listener::Unix { socket, .. } => waiting::is_there(socket.as_fd()),
        }
    }

    async fn try_accept(&self) -> io::Result<Accepted> {
        match self {
            Listener::Tcp(ports) => {
                let (stream, remote) = ports.accept().await?;
                // Replies are written whole; waiting to fill a segment only delays them.
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?;
                Ok(Accepted::Tcp(stream, Peer { local, remote }))
            }
            Listener::Unix { socket, .. } => Ok(Accepted::Unix(socket.accept().await?.0)),
        }
    }
}

/// These addresses, each once, behind what is to be said of them; nothing if there are none.
fn listed(what: &str, addresses: impl Iterator<Item = IpAddr>) -> Option<String> {
    let each: BTreeSet<_> = addresses.collect();
    let each: Vec<_> = each.iter().map(IpAddr::to_string).collect();
    (!each.is_empty()).then(|| format!("{what} {}", each.join(", ")))
}

/// Whether this user may not open the port of the endpoint of `--in`. A service manager may, or give the right to.
pub(crate) async fn is_denied(endpoint: &Endpoint) -> bool {
    match &endpoint.address {
        Address::Tcp { host, port } => {
            addresses(host, *port).await.is_ok_and(|found| found.into_iter().any(tcp::is_denied))
        }
        Address::Unix(_) => false,
    }
}

/// Errors that mean this one connection is gone, nothing more.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | ConnectionRefused | NotConnected | InvalidInput)
}

/// Whether the endpoint of `--in` could be opened, as far as that is known without doing it: its host has an address of this machine, or
/// its socket's file could be made.
///
/// # Errors
///
/// One line that begins with `--in URL` and says what to do.
pub(crate) async fn try_to(endpoint: &Endpoint) -> anyhow::Result<()> {
    let option = format!("--in {endpoint}");
    match &endpoint.address {
        Address::Tcp { host, port } => {
            let found = tcp::resolve(host, *port).await;
            found.and_then(|addresses| tcp::try_at(&addresses)).context(option)
        }
        Address::Unix(path) => try_unix(path, &option),
    }
}
