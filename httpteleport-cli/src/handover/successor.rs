//! The old process's side: the one that comes after it.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{MutexGuard, Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

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
    /// Goes first: once nobody listens, the file may be another process's.
    file: SocketFile,
    listener: UnixListener,
    listening: Arc<Listening>,
    /// Held by the talk with the one process that has been given the sockets.
    turn: Semaphore,
    /// This process ends.
    leaving: CancellationToken,
}

/// A process that has the sockets and starts, while nobody else is given them and they stay as they are.
struct Starting<'a> {
    peer: Peer,
    _turn: SemaphorePermit<'a>,
    _steady: MutexGuard<'a, ()>,
}

impl Handover {
    pub(super) fn new(path: &Path, listener: UnixListener, file: SocketFile, listening: Arc<Listening>) -> Handover {
        let (turn, leaving) = (Semaphore::new(1), CancellationToken::new());
        Handover { path: path.to_owned(), file, listener, listening, turn, leaving }
    }

    /// This process ends: who has the sockets and starts has them alone from now on, and nobody else gets any.
    pub(crate) fn leave(&self) {
        self.leaving.cancel();
    }

    /// Waits until another process has taken everything over, and tells its id. Nothing changes before that. Once this process leaves it
    /// waits no longer: then it is one that still starts, or nobody.
    pub(crate) async fn taken_over(self: Arc<Self>) -> Option<i32> {
        let mut talks = JoinSet::new();
        loop {
            let leaves = self.leaving.is_cancelled();
            if leaves && talks.is_empty() {
                return None;
            }
            tokio::select! {
                () = self.leaving.cancelled(), if !leaves => {}
                accepted = self.listener.accept(), if !leaves && talks.len() < MOST_TALKS => match accepted {
                    Ok((stream, _)) => {
                        talks.spawn(Arc::clone(&self).talk(stream));
                    }
                    Err(error) => {
                        tracing::warn!("--handover {}: {error}; trying again", self.path.display());
                        sleep(REST).await;
                    }
                },
                talked = talks.join_next(), if !talks.is_empty() => {
                    if let Some(Ok(Some(successor))) = talked {
                        return Some(successor);
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
                let what = if self.leaving.is_cancelled() { "this one ends all the same" } else { "this one goes on" };
                tracing::warn!("--handover {path}: process {who} {error:#}; {what}");
                None
            }
        }
    }

    /// Shares the sockets with a process, and lets it have them when it is ready, or when this one leaves. Whether it has them.
    async fn hand_over(&self, stream: UnixStream, who: i32) -> anyhow::Result<bool> {
        // Whoever does not have them all by then starts without.
        let begun = self.leaving.run_until_cancelled(self.begin(stream)).await.transpose()?;
        let Some(Starting { peer, .. }) = &begun.flatten() else { return Ok(false) };
        let path = self.path.display();
        tracing::info!("--handover {path}: process {who} has the sockets and starts");
        if let Some(heard) = self.leaving.run_until_cancelled(is_ready(peer)).await
            && let Err(error) = heard
        {
            // Without this it would think that this process has died.
            let _ = peer.say(Word::No, None).await;
            return Err(error);
        }
        // From the moment at which it may know, the files are its.
        self.own_files(false);
        if let Err(error) = peer.say(Word::Yours, None).await {
            self.own_files(true);
            return Err(error).context("has the sockets, and has ended");
        }
        Ok(true)
    }

    /// Shares the sockets with a process, unless another one has them.
    async fn begin(&self, stream: UnixStream) -> anyhow::Result<Option<Starting<'_>>> {
        let peer = timeout(GREETING, Peer::meet(stream)).await.ok().context("has not said in time who it is")??;
        let Ok(turn) = self.turn.try_acquire() else {
            peer.say(Word::Busy, None).await.context("has ended")?;
            return Ok(None);
        };
        // What is shared is what it takes over: settings that are read again would open and close others meanwhile.
        let steady = self.listening.steady().await;
        timeout(GREETING, self.share(&peer)).await.ok().context("has not taken the sockets in time")??;
        Ok(Some(Starting { peer, _turn: turn, _steady: steady }))
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

/// Waits until it is ready.
///
/// # Errors
///
/// It has ended, or takes too long.
async fn is_ready(peer: &Peer) -> anyhow::Result<()> {
    let late = || format!("was not ready within {} s", STARTING.as_secs());
    let (word, _) = timeout(STARTING, peer.hear()).await.ok().with_context(late)??;
    ensure!(word == Word::Ready, "says {word:?} where nobody expects it");
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// One that has been given everything, and what it has still to hear.
    async fn given(handover: &Arc<Handover>) -> (UnixStream, tokio::task::JoinHandle<Option<i32>>) {
        let taken_over = tokio::spawn(Arc::clone(handover).taken_over());
        let mut stream = UnixStream::connect(&handover.path).await.expect("somebody listens");
        stream.write_all(b"httptp-handover 1 77\n").await.expect("sent");
        for last in *b"\np" {
            while stream.read_u8().await.expect("one more") != last {}
        }
        (stream, taken_over)
    }

    fn handover(folder: &Path) -> Arc<Handover> {
        let path = folder.join("path");
        let listener = UnixListener::bind(&path).expect("a socket");
        let file = SocketFile::of_another(path.clone());
        file.own(true);
        Arc::new(Handover::new(&path, listener, file, Arc::default()))
    }

    #[tokio::test]
    async fn who_goes_on_says_so_and_who_leaves_gives_what_was_shared() {
        let folder = tempfile::tempdir().expect("a folder");
        let handover = handover(folder.path());
        let (mut stream, taken_over) = given(&handover).await;
        stream.write_all(b"x").await.expect("sent");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.expect("readable");
        assert_eq!(rest, "n");
        taken_over.abort();
        assert!(taken_over.await.is_err(), "it waits on");

        let (mut stream, taken_over) = given(&handover).await;
        handover.leave();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.expect("readable");
        assert_eq!(rest, "y");
        assert!(taken_over.await.expect("no panic").is_some());
        let path = handover.path.clone();
        drop(handover);
        assert!(path.exists(), "it is that of the other one");
    }

    #[tokio::test]
    async fn who_leaves_keeps_its_files_if_the_other_one_has_gone_or_has_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let handover = handover(folder.path());
        let mut silent = UnixStream::connect(&handover.path).await.expect("somebody listens");
        let (stream, taken_over) = given(&handover).await;
        drop(stream);
        handover.leave();
        assert_eq!(taken_over.await.expect("no panic"), None);
        let mut rest = Vec::new();
        silent.read_to_end(&mut rest).await.expect("readable");
        assert!(rest.starts_with(b"httptp-handover 1 ") && rest.ends_with(b"\n"));
        let path = handover.path.clone();
        drop(handover);
        assert!(!path.exists());
    }
}
