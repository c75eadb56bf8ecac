//! The sockets of one port: one at each address of its host.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use tokio::net::{TcpListener, TcpStream};

use super::{Socket, tcp, waiting};

/// Sockets that listen, at least one.
pub(crate) struct Ports {
    all: Vec<(TcpListener, SocketAddr)>,
    /// Which is asked first, so that none waits for another one's clients.
    turn: AtomicUsize,
}

impl Ports {
    /// Listens at all of these addresses where none of the sockets does that are there already; with `share` other programs may, too.
    /// What the machine has no address for is passed over if there is another one. A port that the system chooses is at the first alone.
    ///
    /// # Errors
    ///
    /// The address that is not to be had, and why.
    pub(crate) fn open(
        addresses: &[SocketAddr],
        there: Vec<Socket>,
        share: bool,
    ) -> Result<Ports, (Option<SocketAddr>, io::Error)> {
        let mut all = Vec::new();
        for socket in there {
            if let Socket::Tcp(listener, address) = socket {
                all.push((TcpListener::from_std(listener).map_err(|error| (Some(address), error))?, address));
            }
        }
        let given = !all.is_empty();
        let every = all.iter().any(|(_, address)| address.ip().is_unspecified());
        let mut absent = (None, io::Error::from(io::ErrorKind::AddrNotAvailable));
        for address in addresses.iter().filter(|_| !every) {
            if all.iter().any(|(_, taken)| taken == address || address.port() == 0) {
                continue;
            }
            match tcp::listen_at(*address, share) {
                Ok(listener) => {
                    let address = listener.local_addr().map_err(|error| (Some(*address), error))?;
                    all.push((listener, address));
                }
                Err(error) if tcp::is_absent(&error) => absent = (Some(*address), error),
                Err(error) if is_left_out(&error, given) => {
                    tracing::warn!(
                        "nothing listens at {address}: {error}; hand over a socket for each address of its host, or name one of them"
                    );
                }
                Err(error) => return Err((Some(*address), error)),
            }
        }
        if all.is_empty() { Err(absent) } else { Ok(Ports { all, turn: AtomicUsize::new(0) }) }
    }

    /// Where they listen.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.all.iter().map(|(_, address)| *address)
    }

    /// The first of these.
    pub(crate) fn address(&self) -> SocketAddr {
        self.all[0].1
    }

    /// The sockets themselves.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.all.iter().map(|(listener, _)| listener.as_fd())
    }

    /// The next client, wherever it has come to. Cancel safe.
    ///
    /// # Errors
    ///
    /// The system has no file left, or the client has gone.
    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        if let [(listener, _)] = &self.all[..] {
            return listener.accept().await;
        }
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.all.len();
        let (before, after) = self.all.split_at(first);
        poll_fn(|context| {
            let polled = after.iter().chain(before).map(|(listener, _)| listener.poll_accept(context));
            first_ready(polled)
        })
        .await
    }

    /// Whether somebody has connected to one of them who was not accepted yet.
    pub(crate) fn has_client(&self) -> bool {
        self.sockets().any(waiting::is_there)
    }

    /// Resolves once somebody has connected to one of them who was not accepted yet. Cancel safe.
    ///
    /// # Errors
    ///
    /// The system has no file left.
    pub(super) async fn client(&self) -> io::Result<()> {
        let mut waits: Vec<_> = self.sockets().map(|socket| Box::pin(waiting::client(socket))).collect();
        poll_fn(|context| first_ready(waits.iter_mut().map(|wait| Pin::new(wait).poll(context)))).await
    }
}

/// Whether an address may be left out: who hands sockets over, as they are not to be had otherwise, may do so for one alone.
fn is_left_out(error: &io::Error, given: bool) -> bool {
    given && error.kind() == io::ErrorKind::PermissionDenied
}

fn first_ready<T>(mut all: impl Iterator<Item = Poll<T>>) -> Poll<T> {
    all.find(Poll::is_ready).unwrap_or(Poll::Pending)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str, port: u16) -> SocketAddr {
        SocketAddr::new(address.parse().expect("an address"), port)
    }

    #[tokio::test]
    async fn all_addresses_are_listened_at_or_none() {
        let one = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = one.local_addr().expect("an address").port();
        let both = [at("127.0.0.1", port), at("127.0.0.2", port)];
        let (failed, error) = Ports::open(&both, Vec::new(), false).err().expect("one is taken");
        assert_eq!((failed, error.kind()), (Some(both[0]), io::ErrorKind::AddrInUse));
        drop(std::net::TcpListener::bind(both[1]).expect("it was closed again"));

        let there = Socket::new(one.into()).expect("it listens");
        // 192.0.2.0/24 belongs to documents.
        let all = [both[0], at("192.0.2.1", port), both[1]];
        let ports = Ports::open(&all, vec![there], false).map_err(|(_, error)| error).expect("what is there is taken");
        assert_eq!(ports.addresses().collect::<Vec<_>>(), both);
        for address in [both[1], both[0], both[1]] {
            let client = TcpStream::connect(address);
            let (client, waits) = tokio::join!(client, ports.client());
            waits.expect("a file");
            let (accepted, from) = ports.accept().await.expect("a client");
            assert_eq!(accepted.local_addr().expect("an address"), address);
            assert_eq!(client.expect("connected").local_addr().expect("an address"), from);
        }
    }

    #[test]
    fn who_may_open_no_such_port_makes_do_with_the_socket_that_was_handed_over() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(is_left_out(&denied, true) && !is_left_out(&denied, false));
        assert!(!is_left_out(&io::Error::from(io::ErrorKind::AddrInUse), true));
    }

    #[tokio::test]
    async fn a_port_that_the_system_chooses_is_at_one_address() {
        let ports = Ports::open(&[at("127.0.0.1", 0), at("127.0.0.2", 0)], Vec::new(), false);
        let ports = ports.map_err(|(_, error)| error).expect("a port");
        assert_eq!((ports.addresses().count(), ports.address().ip()), (1, "127.0.0.1".parse().expect("an address")));
        let (failed, error) = Ports::open(&[at("192.0.2.1", 0)], Vec::new(), false).err().expect("nobody's");
        assert_eq!((failed, error.kind()), (Some(at("192.0.2.1", 0)), io::ErrorKind::AddrNotAvailable));
    }
}
