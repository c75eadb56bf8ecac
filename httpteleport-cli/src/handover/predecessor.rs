//! The new process's side: the one that was here before.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::wire::{Peer, Word, is_end};
use crate::listen::{MOST_SOCKETS, Socket};
use crate::outbound::plain;
use crate::waits;

/// How long all that it has to say at once may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked again that hangs up before it has shared anything.
const MOST_RETRIES: u32 = 3;
/// How long one that ends may take to close the path, and its ports, when it has hung up.
const REST: Duration = Duration::from_millis(100);

/// What has become of a process whose sockets are another one's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It has handed them over, and ends when what runs is done.
    Drains,
    /// It has died, so that nobody else has them.
    Died,
}

/// A process that has shared its sockets, and goes on until it is told that it need not.
pub(super) struct Predecessor {
    peer: Peer,
    /// The socket at the path.
    listener: UnixListener,
}

impl Predecessor {
    /// Asks the process at the path, if there is one, for its sockets. One that hangs up may be about to end, or to be taken over by somebody
    /// else: it is asked again, until nobody is there.
    ///
    /// # Errors
    ///
    /// What listens there shares none; the words go on after the path.
    pub(super) async fn find(path: &Path) -> anyhow::Result<Option<(Predecessor, Vec<Socket>)>> {
        let late = || {
            let seconds = PATIENCE.as_secs();
            format!(
                "the process that listens there has not shared its sockets within {seconds} s; if it hangs, end it and start again"
            )
        };
        let waits = || {
            let (path, seconds) = (path.display(), PATIENCE.as_secs());
            format!("--handover {path}: waiting for the process that listens there, {seconds} s at the most")
        };
        waits::telling(waits, timeout(PATIENCE, Predecessor::ask(path))).await.ok().with_context(late)?
    }

    async fn ask(path: &Path) -> anyhow::Result<Option<(Predecessor, Vec<Socket>)>> {
        let mut retries = 0;
        loop {
            let stream = match UnixStream::connect(path).await {
                Ok(stream) => stream,
                // Nobody is there, or one that was killed has left its file.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                    if retries > 0 {
                        tracing::info!(
                            "--handover {}: the process that listened there has ended; starting without its sockets",
                            path.display()
                        );
                    }
                    return Ok(None);
                }
                Err(error) => bail!("cannot connect: {}", plain(&error)),
            };
            match Predecessor::meet(stream).await {
                Err(error) if is_end(&error) && retries < MOST_RETRIES => {
                    retries += 1;
                    sleep(REST).await;
                }
                met => return met.map(Some).context("the process that listens there"),
            }
        }
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
    /// It goes on, or does not answer: nothing has changed then. The words go on after the path.
    pub(super) async fn replace(self) -> anyhow::Result<(UnixListener, Fate)> {
        // Whoever has ended does not hear it, but what it has said before that is heard below.
        let _ = self.peer.say(Word::Ready, None).await;
        let heard = match timeout(PATIENCE, self.peer.hear()).await {
            Ok(heard) => heard,
            Err(_) => {
                // It may be on the point of answering. From here on that fails, so that never both of them end, or neither does.
                self.peer.stop_hearing();
                let Ok(heard) = self.peer.hear().await else { bail!("process {} does not answer", self.peer.pid) };
                Ok(heard)
            }
        };
        match heard {
            Ok((Word::Yours, _)) => Ok((self.listener, Fate::Drains)),
            Ok((Word::No, _)) => bail!("process {} waits no longer, and goes on; its log says why", self.peer.pid),
            Ok((word, _)) => bail!("process {} says {word:?} where nobody expects it", self.peer.pid),
            Err(error) if is_end(&error) => Ok((self.listener, Fate::Died)),
            Err(error) => Err(error).with_context(|| format!("process {}", self.peer.pid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::tests::pair;
    use super::*;

    /// What becomes of a handover whose old process says this once it hears that the new one is ready, if it hears that, and then hangs up.
    async fn replaced(words: &[Word], hears: bool) -> Result<Fate, String> {
        let ((old, new), folder) = (pair().await, tempfile::tempdir().expect("a folder"));
        let listener = UnixListener::bind(folder.path().join("path")).expect("a socket");
        let pid = new.pid;
        let old = async move {
            if hears {
                assert!(matches!(old.hear().await, Ok((Word::Ready, None))));
            }
            for word in words {
                old.say(*word, None).await.expect("sent");
            }
        };
        let new = Predecessor { peer: new, listener };
        let replaced = if hears {
            tokio::join!(new.replace(), old).0
        } else {
            old.await;
            new.replace().await
        };
        let fate = replaced.map(|(_, fate)| fate);
        fate.map_err(|error| format!("{error:#}").replace(&pid.to_string(), "PID"))
    }

    #[tokio::test]
    async fn who_hangs_up_without_a_word_has_died_and_who_says_no_goes_on() {
        for hears in [true, false] {
            assert_eq!(replaced(&[Word::Yours], hears).await, Ok(Fate::Drains));
            assert_eq!(replaced(&[], hears).await, Ok(Fate::Died));
            let no = "process PID waits no longer, and goes on; its log says why";
            assert_eq!(replaced(&[Word::No], hears).await, Err(no.to_owned()));
            let odd = "process PID says Busy where nobody expects it";
            assert_eq!(replaced(&[Word::Busy], hears).await, Err(odd.to_owned()));
        }
    }

    /// It dies when the word that the new one is ready has come, before it has read it.
    #[tokio::test]
    async fn who_dies_with_a_word_unread_has_died() {
        let ((old, new), folder) = (pair().await, tempfile::tempdir().expect("a folder"));
        let listener = UnixListener::bind(folder.path().join("path")).expect("a socket");
        new.say(Word::Busy, None).await.expect("sent");
        drop(old);
        let (_, fate) = Predecessor { peer: new, listener }.replace().await.expect("it is gone");
        assert_eq!(fate, Fate::Died);
    }
}
