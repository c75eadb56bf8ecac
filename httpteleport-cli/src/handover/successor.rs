//! The old process's side: the one that comes after it.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::wire::{Peer, Word};
use crate::listen::{MOST_SOCKETS, SocketFile};
use crate::listening::Listening;

/// How long a process that comes may take to say who it is, and to take what it is given.
const GREETING: Duration = Duration::from_secs(5);
/// How long it may take to start.
const STARTING: Duration = Duration::from_secs(60);
/// How many may talk at a time.
const MOST_TALKS: usize = 8;
/// How long accepting rests when the system has no file or memory left.
const REST: Duration = Duration::from_millis(100);

/// The path where the next process asks for the sockets of this one.
pub(crate) struct Handover {
    path: PathBuf,
    listener: UnixListener,
    file: SocketFile,
    listening: Arc<Listening>,
    /// Held by the talk with the one process that has been given the sockets.
    turn: Semaphore,
}

impl Handover {
    pub(super) fn new(path: &Path, listener: UnixListener, file: SocketFile, listening: Arc<Listening>) -> Handover {
        Handover { path: path.to_owned(), listener, file, listening, turn: Semaphore::new(1) }
    }

    /// Waits until another process has taken everything over, and tells its id. Nothing changes before that.
    pub(crate) async fn taken_over(self: &Arc<Self>) -> i32 {
        let mut talks = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if talks.len() < MOST_TALKS => match accepted {
                    Ok((stream, _)) => {
                        talks.spawn(Arc::clone(self).talk(stream));
                    }
                    Err(error) => {
                        tracing::warn!("--handover {}: {error}; trying again", self.path.display());
                        sleep(REST).await;
                    }
                },
                talked = talks.join_next(), if !talks.is_empty() => {
                    if let Some(Ok(Some(successor))) = talked {
                        return successor;
                    }
                }
            }
        }
    }

    async fn talk(self: Arc<Self>, stream: UnixStream) -> Option<i32> {
        let who = stream.peer_cred().ok().and_then(|cred| cred.pid()).unwrap_or_default();
        let path = self.path.display();
        match self.hand_over(stream, who).await {
            Ok(true) => Some(who),
            Ok(false) => None,
            Err(error) => {
                tracing::warn!("--handover {path}: process {who} {error:#}; this one goes on");
                None
            }
        }
    }

    /// Shares the sockets with a process, and lets it have them when it is ready. Whether it has them.
    async fn hand_over(&self, stream: UnixStream, who: i32) -> anyhow::Result<bool> {
        let peer = timeout(GREETING, Peer::meet(stream)).await.ok().context("has not said in time who it is")??;
        let Ok(_turn) = self.turn.try_acquire() else {
            peer.say(Word::Busy, None).await.context("has ended")?;
            return Ok(false);
        };
        // What is shared is what it takes over: settings that are read again would open and close others meanwhile.
        let _steady = self.listening.steady().await;
        timeout(GREETING, self.share(&peer)).await.ok().context("has not taken the sockets in time")??;
        tracing::info!("--handover {}: process {who} has the sockets and starts", self.path.display());
        let late = || format!("was not ready within {} s", STARTING.as_secs());
        let (word, _) = timeout(STARTING, peer.hear()).await.ok().with_context(late)??;
        ensure!(word == Word::Ready, "says {word:?} where nobody expects it");
        // From the moment at which it may know, the files are its.
        self.own_files(false);
        if let Err(error) = peer.say(Word::Yours, None).await {
            self.own_files(true);
            return Err(error).context("was ready, and has ended");
        }
        Ok(true)
    }

    async fn share(&self, peer: &Peer) -> anyhow::Result<()> {
        let sockets = self.listening.sockets().context("cannot be given the sockets")?;
        ensure!(sockets.len() <= MOST_SOCKETS, "cannot be given more than {MOST_SOCKETS} sockets");
        for socket in &sockets {
            peer.say(Word::Socket, Some(socket.as_fd())).await.context("has ended")?;
        }
        peer.say(Word::Path, Some(self.listener.as_fd())).await.context("has ended")
    }

    fn own_files(&self, ours: bool) {
        self.file.own(ours);
        self.listening.own_files(ours);
    }
}
