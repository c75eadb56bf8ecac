//! Listening sockets that others have opened: the service manager, or the process that was here before.

use std::borrow::Borrow;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketType, getsockname, sockopt};

use super::{Place, tcp};
use crate::endpoint::Address;
use crate::misfit::Misfit;

/// A listening socket, and where it listens.
#[derive(Debug)]
pub(crate) enum Socket {
    /// Of TCP.
    Tcp(TcpListener, SocketAddr),
    /// A unix one; without a path if no file leads to it.
    Unix(UnixListener, Option<PathBuf>),
}

impl Socket {
    /// What a file that came from elsewhere is.
    ///
    /// # Errors
    ///
    /// It is no listening socket of TCP or unix; the words go on after "it".
    pub(crate) fn new(fd: OwnedFd) -> Result<Socket, &'static str> {
        let odd = "is no socket of TCP or unix";
        if sockopt::socket_type(&fd).map_err(|_| odd)? != SocketType::STREAM {
            return Err(odd);
        }
        if !sockopt::socket_acceptconn(&fd).map_err(|_| odd)? {
            return Err("is a socket that does not listen");
        }
        Socket::of(fd).map_err(|_| odd)
    }

    fn of(fd: OwnedFd) -> io::Result<Socket> {
        let socket = match getsockname(&fd)?.address_family() {
            AddressFamily::INET | AddressFamily::INET6 => {
                let listener = TcpListener::from(fd);
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                Socket::Tcp(listener, address)
            }
            AddressFamily::UNIX => {
                let listener = UnixListener::from(fd);
                listener.set_nonblocking(true)?;
                let path = listener.local_addr()?.as_pathname().map(Path::to_owned);
                Socket::Unix(listener, path)
            }
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(socket)
    }

    /// Where it listens, for people.
    pub(crate) fn told(&self) -> String {
        match self {
            Socket::Tcp(_, address) => address.to_string(),
            Socket::Unix(_, Some(path)) => path.display().to_string(),
            Socket::Unix(_, None) => "an address without a path".to_owned(),
        }
    }

    /// Where it listens, if that is at an address of TCP.
    pub(crate) fn place(&self) -> Option<Place> {
        match self {
            Socket::Tcp(listener, address) => Some(Place::of(listener, *address)),
            Socket::Unix(..) => None,
        }
    }
}

/// An address that was looked up.
enum Wanted<'a> {
    Tcp {
        addresses: Vec<SocketAddr>,
        /// No host was named. Who opens a port for a service usually opens it for IPv6 and IPv4 together, and nothing says that this
        /// is not meant.
        any: bool,
    },
    Unix(&'a Path),
}

impl Wanted<'_> {
    async fn new(address: &Address) -> anyhow::Result<Wanted<'_>> {
        Ok(match address {
            Address::Tcp { host, port } => {
                Wanted::Tcp { addresses: tcp::resolve(host, *port).await?, any: host.is_empty() }
            }
            Address::Unix(path) => Wanted::Unix(path),
        })
    }

    /// Takes the sockets that listen there out of those that are left: one for each address, as others may be another listener's.
    fn take_from<S: Borrow<Socket>>(&self, left: &mut Vec<S>) -> Vec<S> {
        let mut taken = Vec::new();
        let mut take = |is_it: &dyn Fn(&Socket) -> bool| {
            taken.extend(left.iter().position(|socket| is_it(socket.borrow())).map(|index| left.remove(index)));
        };
        match self {
            Wanted::Tcp { addresses, any } => {
                for address in addresses {
                    take(&|socket| match socket {
                        Socket::Tcp(_, own) => {
                            own == address || (*any && own.ip().is_unspecified() && own.port() == address.port())
                        }
                        Socket::Unix(..) => false,
                    });
                }
            }
            Wanted::Unix(path) => {
                take(&|socket| matches!(socket, Socket::Unix(_, Some(own)) if same_file(own, path)));
            }
        }
        taken
    }
}

/// Whether two paths lead to one socket, as /run and /var/run do.
fn same_file(one: &Path, other: &Path) -> bool {
    one == other || matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}

/// Sockets that wait for the listeners that name their addresses.
#[derive(Debug, Default)]
pub(crate) struct Given(Vec<Socket>);

impl Given {
    /// These.
    pub(crate) fn new(sockets: Vec<Socket>) -> Given {
        Given(sockets)
    }

    /// Those that listen at an address, or at one of those that its host has.
    ///
    /// # Errors
    ///
    /// One line: the host has no address.
    pub(crate) async fn take(&mut self, address: &Address) -> anyhow::Result<Vec<Socket>> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        Ok(Wanted::new(address).await?.take_from(&mut self.0))
    }

    /// Where those listen that each of these addresses would take in turn, if they are of TCP.
    pub(crate) async fn shared_out(&self, addresses: impl Iterator<Item = &Address>) -> Vec<Vec<Place>> {
        let (mut left, mut places) = (self.0.iter().collect::<Vec<_>>(), Vec::new());
        for address in addresses {
            let wanted = if left.is_empty() { None } else { Wanted::new(address).await.ok() };
            let taken = wanted.map(|wanted| wanted.take_from(&mut left)).unwrap_or_default();
            places.push(taken.into_iter().filter_map(Socket::place).collect());
        }
        places
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Closes them, and removes the files of unix sockets: nobody else does it.
    pub(crate) fn close(self) {
        for socket in self.0 {
            if let Socket::Unix(_, Some(path)) = socket {
                // Gone already is fine, and nothing can be done about the rest.
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Checks that each is at one of these addresses.
    ///
    /// # Errors
    ///
    /// One line that names those that are not.
    pub(crate) async fn all_named(&self, addresses: &[Address]) -> Result<(), Misfit> {
        let mut left: Vec<&Socket> = self.0.iter().collect();
        for address in addresses {
            // Who listens at a host that is unknown says so.
            let Ok(wanted) = Wanted::new(address).await else { return Ok(()) };
            wanted.take_from(&mut left);
        }
        if left.is_empty() {
            return Ok(());
        }
        let places = left.iter().map(|socket| socket.told()).collect::<Vec<_>>().join(", ");
        Err(Misfit::new(format!(
            "sockets were handed to this process that no listener and no admin address names: {places}; name them with --in or --admin, \
             or take them out of the socket unit"
        )))
    }
}
