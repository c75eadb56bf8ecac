//! The two ends of a pipe.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Way;

/// One end of a pipe. Dropping it closes it both ways, as closing a socket does: the other end reads what is on its way
/// and then the end, and its writes fail.
#[derive(Debug)]
pub struct End {
    incoming: Way,
    outgoing: Way,
}

/// Makes a pipe; each direction takes 64 KiB of unread bytes until told otherwise.
pub fn duplex() -> (End, End) {
    let (there, back) = (Way::new(), Way::new());
    let here = End { incoming: back.clone(), outgoing: there.clone() };
    (here, End { incoming: there, outgoing: back })
}

impl End {
    /// The handle of the direction that this end reads.
    pub fn incoming(&self) -> Way {
        self.incoming.clone()
    }

    /// The handle of the direction that this end writes.
    pub fn outgoing(&self) -> Way {
        self.outgoing.clone()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.outgoing.end();
        self.incoming.reader_gone();
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.incoming.poll_read(cx, buf)
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.outgoing.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.check().into()
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let checked = self.outgoing.check();
        self.outgoing.end();
        checked.into()
    }
}
