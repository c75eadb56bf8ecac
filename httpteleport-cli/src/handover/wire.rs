//! What two processes say to each other at a handover, over a unix stream.
//!
//! Both begin with a line, `httptp-handover 1 PID`, whose number is the version of what follows. Then each says words of one byte:
//!
//! | who | word | with a file | means |
//! |---|---|---|---|
//! | old | `s` | yes | this is a socket that I listen on |
//! | old | `p` | yes | this is the one at our path, and the last |
//! | old | `b` | no | another process is taking over |
//! | new | `r` | no | I have all that I need, and serve when you say so |
//! | old | `y` | no | all of it is yours; I accept nothing more |
//! | old | `n` | no | I wait no longer, and go on |
//!
//! `y` is the answer to `r`, and said before that by an old process that is told to end. A new one that hangs up before it has changed nothing. An
//! old one that has said `p`, and hangs up without `y` and without `n`, has died: it goes on with a word alone.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process;

use anyhow::{Context as _, bail};
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown, recvmsg, sendmsg, shutdown,
};
use rustix::process::geteuid;
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

/// The version of all this.
const VERSION: &str = "1";
/// What the first line begins with.
const NAME: &str = "httptp-handover";
/// Bytes of the first line.
const LONGEST_LINE: usize = 64;

/// What is said after the first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Word {
    Socket = b's',
    Path = b'p',
    Busy = b'b',
    Ready = b'r',
    Yours = b'y',
    No = b'n',
}

impl Word {
    fn of(byte: u8) -> Option<Word> {
        let all = [Word::Socket, Word::Path, Word::Busy, Word::Ready, Word::Yours, Word::No];
        all.into_iter().find(|word| *word as u8 == byte)
    }
}

/// Whether an error of hearing says that the other one has hung up, and nothing else.
pub(super) fn is_end(error: &anyhow::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    let kind = error.root_cause().downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(kind, Some(UnexpectedEof | ConnectionReset | BrokenPipe))
}

/// The process at the other end.
pub(super) struct Peer {
    stream: UnixStream,
    /// Its id, as it says; for people.
    pub(super) pid: u32,
}

impl Peer {
    /// Meets whoever is at the other end.
    ///
    /// # Errors
    ///
    /// It is another user's and not root's, no httptp, or one that speaks another version. The words go on after "it".
    pub(super) async fn meet(mut stream: UnixStream) -> anyhow::Result<Peer> {
        let (user, own) = (stream.peer_cred()?.uid(), geteuid().as_raw());
        if user != own && user != 0 {
            bail!("is of user {user}; this process hands over to and takes over from those of user {own} and root");
        }
        let line = format!("{NAME} {VERSION} {}\n", process::id());
        stream.write_all(line.as_bytes()).await.context("has hung up")?;
        let mut peer = Peer { stream, pid: 0 };
        let line = peer.line().await?;
        let mut words = line.split(' ');
        let (name, version, pid) = (words.next(), words.next(), words.next().and_then(|pid| pid.parse().ok()));
        match (name, version, pid) {
            (Some(NAME), Some(VERSION), Some(pid)) => peer.pid = pid,
            (Some(NAME), Some(other), _) if other != VERSION => bail!(
                "speaks version {other:?} of the handover, and this process version {VERSION}: end the old one, then start the new one"
            ),
            _ => bail!("is no httptp, or none with --handover"),
        }
        Ok(peer)
    }

    async fn line(&self) -> anyhow::Result<String> {
        let mut line = Vec::new();
        while line.len() < LONGEST_LINE {
            match self.receive().await.context("has hung up without a word")? {
                (b'\n', _) => return Ok(String::from_utf8_lossy(&line).into_owned()),
                (byte, _) => line.push(byte),
            }
        }
        bail!("is no httptp: it says more than that would")
    }

    /// Says a word, with a file or without.
    pub(super) async fn say(&self, word: Word, file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        self.send(word as u8, file).await
    }

    /// The next word, and the file that came with it. Cancel safe.
    ///
    /// # Errors
    ///
    /// It has ended, or says what is no word.
    pub(super) async fn hear(&self) -> anyhow::Result<(Word, Option<OwnedFd>)> {
        let (byte, file) = self.receive().await.context("has ended")?;
        let word = Word::of(byte).with_context(|| format!("says what nobody understands: {byte:#04x}"))?;
        Ok((word, file))
    }

    /// Refuses to hear more: what it has not said by now fails at its end.
    pub(super) fn stop_hearing(&self) {
        // It can only fail if the connection has ended.
        let _ = shutdown(&self.stream, Shutdown::Read);
    }

    async fn send(&self, byte: u8, file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let sent = self.stream.async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            let files: Vec<_> = file.into_iter().collect();
            if !files.is_empty() {
                ancillary.push(SendAncillaryMessage::ScmRights(&files));
            }
            Ok(sendmsg(&self.stream, &[IoSlice::new(&[byte])], &mut ancillary, SendFlags::NOSIGNAL)?)
        });
        sent.await.map(drop)
    }

    /// A byte, and the file that came with it. There is room for one, and for a few more as files are small; what is
    /// beyond that the system closes.
    async fn receive(&self) -> io::Result<(u8, Option<OwnedFd>)> {
        self.stream
            .async_io(Interest::READABLE, || {
                let mut byte = [0];
                let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
                let mut ancillary = RecvAncillaryBuffer::new(&mut space);
                let mut buffers = [IoSliceMut::new(&mut byte)];
                // No program that this one starts gets the file.
                let read = recvmsg(&self.stream, &mut buffers, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
                if read.flags.contains(ReturnFlags::CTRUNC) {
                    return Err(io::Error::other("a file was lost: there were too many, here or there"));
                }
                let files = ancillary.drain().filter_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(files) => Some(files),
                    _ => None,
                });
                let mut files = files.flatten();
                match (read.bytes, files.next(), files.next()) {
                    (0, ..) => Err(io::ErrorKind::UnexpectedEof.into()),
                    (_, file, None) => Ok((byte[0], file)),
                    (.., Some(_)) => Err(io::Error::other("more than one file came at a time")),
                }
            })
            .await
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::fd::AsFd as _;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    pub(in crate::handover) async fn pair() -> (Peer, Peer) {
        let (one, two) = UnixStream::pair().expect("a pair");
        let (one, two) = tokio::join!(Peer::meet(one), Peer::meet(two));
        (one.expect("a peer"), two.expect("a peer"))
    }

    #[tokio::test]
    async fn a_file_comes_with_its_word() {
        let (old, new) = pair().await;
        assert_eq!((old.pid, new.pid), (process::id(), process::id()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        for _ in 0..3 {
            old.say(Word::Socket, Some(listener.as_fd())).await.expect("sent");
        }
        old.say(Word::Yours, None).await.expect("sent");
        for _ in 0..3 {
            let (word, file) = new.hear().await.expect("a word");
            let same = std::net::TcpListener::from(file.expect("a file"));
            assert_eq!((word, same.local_addr().ok()), (Word::Socket, listener.local_addr().ok()));
        }
        assert!(matches!(new.hear().await, Ok((Word::Yours, None))));
        drop(old);
        assert!(new.hear().await.is_err());
    }

    #[tokio::test]
    async fn more_files_than_one_are_a_mistake() {
        let (old, new) = pair().await;
        for count in [2, 3, 60] {
            let files = vec![old.stream.as_fd(); count];
            let mut space = vec![MaybeUninit::uninit(); cmsg_space!(ScmRights(60))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&files)));
            sendmsg(&old.stream, &[IoSlice::new(b"s")], &mut ancillary, SendFlags::NOSIGNAL).expect("sent");
            let error = new.hear().await.expect_err("a mistake").root_cause().to_string();
            assert!(error.contains("more than one file") || error.contains("a file was lost"), "{error}");
        }
    }

    /// Whoever has stopped hearing knows whether the other one's last word has come: if it has not, it fails there.
    #[tokio::test]
    async fn a_word_is_heard_or_fails() {
        let (old, new) = pair().await;
        old.say(Word::Yours, None).await.expect("sent");
        new.stop_hearing();
        assert!(matches!(new.hear().await, Ok((Word::Yours, None))));
        let (old, new) = pair().await;
        new.stop_hearing();
        assert!(old.say(Word::Yours, None).await.is_err());
        assert!(new.hear().await.is_err());
    }

    /// What a peer of ours says, with a few bytes put in, taken out or changed.
    fn damaged() -> impl Strategy<Value = Vec<u8>> {
        let said = format!("{NAME} {VERSION} 77\nssspbrynx");
        let bytes = said.len();
        let damage = (0..bytes, 0..3_u8, any::<u8>());
        vec(damage, 0..4).prop_map(move |damages| {
            let mut said = said.clone().into_bytes();
            for (at, how, byte) in damages {
                match how {
                    0 => said.insert(at.min(said.len()), byte),
                    1 if at < said.len() => drop(said.remove(at)),
                    _ if at < said.len() => said[at] = byte,
                    _ => {}
                }
            }
            said
        })
    }

    /// Everything that is read of somebody who says this and then hangs up: how many words, and why that is all.
    async fn heard(said: &[u8]) -> (usize, String) {
        let (stream, mut other) = UnixStream::pair().expect("a pair");
        other.write_all(said).await.expect("sent");
        other.shutdown().await.expect("said");
        let peer = match Peer::meet(stream).await {
            Ok(peer) => peer,
            Err(error) => return (0, format!("{error:#}")),
        };
        let mut words = 0;
        loop {
            match peer.hear().await {
                Ok((_, None)) => words += 1,
                Ok((word, Some(_))) => panic!("a file came with {word:?}"),
                Err(error) => return (words, format!("{error:#}")),
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_said_has_an_end_and_one_line_says_why(
            said in prop_oneof![damaged(), vec(any::<u8>(), 0..200), damaged().prop_map(|mut said| { said.truncate(20); said })],
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let (words, why) = runtime.block_on(heard(&said));
            prop_assert!(words <= said.len());
            prop_assert!(why.len() < 300 && !why.contains('\n'), "{}", why);
        }
    }
}
