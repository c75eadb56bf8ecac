//! The new process's side: the one that was here before.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::wire::{Peer, Word};
use crate::listen::{MOST_SOCKETS, Socket};
use crate::outbound::plain;

/// How long all that it has to say at once may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process that has shared its sockets, and goes on until it is told that it need not.
pub(super) struct Predecessor {
    peer: Peer,
    /// The socket at the path.
    listener: UnixListener,
}

impl Predecessor {
    /// Asks the process at the path, if there is one, for its sockets.
    ///
    /// # Errors
    ///
    /// What listens there shares none; the words go on after the path.
    pub(super) async fn find(path: &Path) -> anyhow::Result<Option<(Predecessor, Vec<Socket>)>> {
        let stream = match UnixStream::connect(path).await {
            Ok(stream) => stream,
            // Nobody is there, or one that was killed has left its file.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => bail!("cannot connect: {}", plain(&error)),
        };
        let found = timeout(PATIENCE, Predecessor::meet(stream)).await;
        let late = || {
            let seconds = PATIENCE.as_secs();
            format!(
                "the process that listens there has not shared its sockets within {seconds} s; if it hangs, end it and start again"
            )
        };
        found.ok().with_context(late)?.map(Some).context("the process that listens there")
    }

    async fn meet(stream: UnixStream) -> anyhow::Result<(Predecessor, Vec<Socket>)> {
        let peer = Peer::meet(stream).await?;
        let mut sockets = Vec::new();
        while sockets.len() <= MOST_SOCKETS {
            let (word, file) = peer.hear().await?;
            let socket =
                file.map(|file| Socket::new(file).map_err(|why| anyhow::anyhow!("has sent a file that {why}")));
            match (word, socket.transpose()?) {
                (Word::Socket, Some(socket)) => sockets.push(socket),
                (Word::Path, Some(Socket::Unix(listener, _))) => return Ok((Predecessor { peer, listener }, sockets)),
                (Word::Busy, _) => {
                    bail!("is being taken over by another one at this moment; start again when that is over")
                }
                (word, _) => bail!("says {word:?} where nobody expects it"),
            }
        }
        bail!("has more than {MOST_SOCKETS} sockets, which cannot be taken")
    }

    /// Its id, for people.
    pub(super) fn pid(&self) -> u32 {
        self.peer.pid
    }

    /// Tells it that it is not needed any more. When this returns, all that it listened on is this process's alone.
    ///
    /// # Errors
    ///
    /// It has ended, or does not answer: nothing has changed then, and it goes on if it can. The words go on after the path.
    pub(super) async fn replace(self) -> anyhow::Result<UnixListener> {
        let ends = || format!("process {} hung up before it had handed over; its log says why", self.peer.pid);
        self.peer.say(Word::Ready, None).await.with_context(ends)?;
        let heard = match timeout(PATIENCE, self.peer.hear()).await {
            Ok(heard) => heard,
            Err(_) => {
                // It may be on the point of answering. From here on that fails, so that never both of them end, or neither does.
                self.peer.stop_hearing();
                let late = || format!("process {} does not answer", self.peer.pid);
                self.peer.hear().await.with_context(late)
            }
        };
        match heard.with_context(ends)? {
            (Word::Yours, _) => Ok(self.listener),
            (word, _) => bail!("process {} says {word:?} where nobody expects it", self.peer.pid),
        }
    }
}
