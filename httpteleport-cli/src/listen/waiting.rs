//! Clients that wait to be accepted.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Resolves once somebody has connected to the socket who was not accepted yet. Whoever shares the socket may be quicker. Cancel safe.
///
/// # Errors
///
/// The system has no file left.
pub(super) async fn client(socket: BorrowedFd<'_>) -> io::Result<()> {
    // One of its own, as the socket is watched for whoever accepts.
    #[expect(deprecated, reason = "sound for OwnedFd")]
    let socket = AsyncFd::with_interest(socket.try_clone_to_owned()?, Interest::READABLE)?;
    socket.readable().await?.retain_ready();
    Ok(())
}

/// Whether somebody has connected to the socket who was not accepted yet. Takes no file: where there is none left the system says so to who
/// accepts before it looks.
pub(super) fn is_there(socket: BorrowedFd<'_>) -> bool {
    let mut looked = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    poll(&mut looked, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::time::Duration;

    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn who_has_connected_is_seen_until_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let waits = async || timeout(Duration::from_millis(20), client(listener.as_fd())).await.is_ok();
        assert!(!waits().await && !is_there(listener.as_fd()));
        let _client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        client(listener.as_fd()).await.expect("a file");
        client(listener.as_fd()).await.expect("a file");
        assert!(is_there(listener.as_fd()) && is_there(listener.as_fd()));
        listener.accept().await.expect("a connection");
        assert!(!is_there(listener.as_fd()));
        assert!(!waits().await);
    }
}
