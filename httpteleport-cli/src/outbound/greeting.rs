//! What an upstream of HTTP/2 says before anything else: its settings (RFC 9113, 3.4), of which the library does not tell when they have come.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// Bytes of the head of a frame.
const HEAD: usize = 9;
/// Bytes of the first frame that are read at most: as many as it may have.
const LONGEST: usize = 16 * 1024;
/// The kind of frame that settings are in.
const SETTINGS: u8 = 4;
/// The setting that says whether other protocols may be asked for (RFC 8441).
const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// Whether an upstream takes requests for other protocols, once it has said that it does or does not; closed where it never will.
pub(super) type TakesOthers = watch::Receiver<Option<bool>>;

/// A stream from an upstream of HTTP/2, which notes what it begins with.
pub(super) struct Greeting<S> {
    stream: S,
    /// Gone once all is known.
    begin: Option<Begin>,
    takes_others: TakesOthers,
}

/// The begin of what comes.
struct Begin {
    bytes: Vec<u8>,
    tell: watch::Sender<Option<bool>>,
}

impl<S> Greeting<S> {
    /// A stream of which nothing has been read.
    pub(super) fn new(stream: S) -> Greeting<S> {
        let (tell, takes_others) = watch::channel(None);
        Greeting { stream, begin: Some(Begin { bytes: Vec::new(), tell }), takes_others }
    }

    /// Where it will be told.
    pub(super) fn takes_others(&self) -> TakesOthers {
        self.takes_others.clone()
    }
}

/// What nobody tells.
pub(super) fn untold() -> TakesOthers {
    watch::channel(None).1
}

impl Begin {
    /// Notes what was read. Tells whether that is enough.
    fn note(&mut self, read: &[u8]) -> bool {
        self.bytes.extend_from_slice(&read[..read.len().min(HEAD + LONGEST - self.bytes.len())]);
        let Some((&[long, middle, short, kind, ..], payload)) = self.bytes.split_first_chunk::<HEAD>() else {
            return false;
        };
        let length = usize::from(long) << 16 | usize::from(middle) << 8 | usize::from(short);
        if kind == SETTINGS && length <= LONGEST && payload.len() < length {
            return false;
        }
        let settings = payload.get(..length).filter(|_| kind == SETTINGS).unwrap_or_default();
        self.tell.send_replace(Some(enables(settings)));
        true
    }
}

/// Whether these settings say that other protocols may be asked for.
fn enables(settings: &[u8]) -> bool {
    let id = ENABLE_CONNECT_PROTOCOL.to_be_bytes();
    settings
        .chunks_exact(6)
        .rfind(|setting| setting.starts_with(&id))
        .is_some_and(|setting| setting[2..] == [0, 0, 0, 1])
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeting<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.begin.take_if(|begin| begin.note(&buf.filled()[before..]));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeting<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// What is known after each byte of these that changes it.
    async fn known(bytes: &[u8]) -> Vec<(usize, bool)> {
        let (mut upstream, stream) = duplex(64 * 1024);
        let mut stream = Greeting::new(stream);
        let told = stream.takes_others();
        let mut known = Vec::new();
        for (count, byte) in bytes.iter().enumerate() {
            upstream.write_all(&[*byte]).await.expect("room");
            stream.read_u8().await.expect("a byte");
            if known.is_empty() {
                known.extend(told.borrow().map(|takes| (count + 1, takes)));
            }
        }
        known
    }

    #[tokio::test]
    async fn the_first_settings_tell() {
        let enable = |value| [0, 8, 0, 0, 0, value];
        let most = [0, 3, 0, 0, 0, 100];
        let frame = |kind, payload: &[u8]| {
            let length = u8::try_from(payload.len()).expect("short");
            [&[0, 0, length, kind, 0, 0, 0, 0, 0], payload, b"more"].concat()
        };
        for (bytes, want) in [
            (frame(SETTINGS, b""), (9, false)),
            (frame(SETTINGS, &most), (15, false)),
            (frame(SETTINGS, &enable(1)), (15, true)),
            (frame(SETTINGS, &[most, enable(1), most].concat()), (27, true)),
            (frame(SETTINGS, &[enable(1), enable(0)].concat()), (21, false)),
            (frame(0, &enable(1)), (9, false)),
            ([&[255, 255, 255, SETTINGS][..], &[0; 9]].concat(), (9, false)),
        ] {
            assert_eq!(known(&bytes).await, [want], "{bytes:?}");
        }
        assert_eq!(known(&frame(SETTINGS, &most)[..14]).await, []);
    }
}
