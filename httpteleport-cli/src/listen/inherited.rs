//! Sockets that the service manager has opened for this process: systemd, or whoever speaks as it does (sd_listen_fds(3)).

use std::os::fd::OwnedFd;

use listenfd::ListenFd;

use super::given::{Given, Socket};
use crate::misfit::Misfit;

/// The most sockets that are taken over, from whomever.
pub(crate) const MOST_SOCKETS: usize = 1024;

/// Takes them, and the variables that tell of them out of the environment, so that no other program takes them for its own.
///
/// To be called while there is one thread, as the environment has no lock.
///
/// # Errors
///
/// Something else was handed to this process.
pub(crate) fn inherited() -> Result<Given, Misfit> {
    let mut files = ListenFd::from_env(); // None if the variables are for another process.
    if files.len() > MOST_SOCKETS {
        return Err(Misfit::new("LISTEN_FDS: more than 1024 sockets cannot be taken; give fewer of them"));
    }
    let sockets = (0..files.len()).map(|index| {
        let socket = take(&mut files, index).ok_or("is no socket of TCP or unix").and_then(Socket::new);
        // Those that the service manager hands on begin behind stdin, stdout and stderr.
        socket.map_err(|why| Misfit::new(format!("the inherited file {} {why}; correct the socket unit", 3 + index)))
    });
    Ok(Given::new(sockets.collect::<Result<_, _>>()?))
}

fn take(files: &mut ListenFd, index: usize) -> Option<OwnedFd> {
    // What is of the other kind stays where it is.
    let tcp = files.take_tcp_listener(index).ok().flatten().map(OwnedFd::from);
    tcp.or_else(|| files.take_unix_listener(index).ok().flatten().map(OwnedFd::from))
}
