//! Both directions of one connection after the hello: bytes in, decompressed; batches out, compressed.
//!
//! Reading and writing advance independently; neither ever waits for the other.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::io::BoxIo;
use crate::stats::{Counters, add};
use crate::wire::compress::{Compression, Decoder, Encoder, Progress};

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// More bytes in the plain buffer.
    More,
    /// The peer will send no more.
    End,
}

/// One connection's stream, both ways.
pub(crate) struct Link {
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Outbound,
    io: BoxIo,
}

/// The reading side.
pub(crate) struct Inbound {
    decoder: Decoder,
    wire: WireBuffer,
    /// Decompressed and not yet decoded.
    pub(crate) plain: BytesMut,
    /// The decoder may hold more output than there was room for.
    more_inside: bool,
    ended: bool,
    chunk: usize,
}

/// The writing side.
pub(crate) struct Outbound {
    encoder: Encoder,
    /// The batch being formed or taken; compressed by [`Outbound::seal`].
    pub(crate) plain: Vec<u8>,
    wire: Vec<u8>,
    written: usize,
    flushed: bool,
    keep: usize,
}

impl Link {
    pub(crate) fn new(io: BoxIo, ours: Compression, theirs: Compression, read_buffer: usize, keep: usize) -> Self {
        let inbound = Inbound {
            decoder: Decoder::new(theirs),
            wire: WireBuffer::default(),
            plain: BytesMut::new(),
            more_inside: false,
            ended: false,
            chunk: read_buffer,
        };
        let outbound = Outbound {
            encoder: Encoder::new(ours),
            plain: Vec::new(),
            wire: Vec::new(),
            written: 0,
            flushed: true,
            keep,
        };
        Self { inbound, outbound, io }
    }

    /// Brings more plain bytes, a buffer's worth at the most.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, counters: &Counters) -> Poll<io::Result<Fill>> {
        self.inbound.poll_fill(&mut *self.io, cx, counters)
    }

    /// Writes what is sealed; ready when all of it is written and flushed. `progress` is set when a byte left.
    pub(crate) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        counters: &Counters,
        progress: &mut bool,
    ) -> Poll<io::Result<()>> {
        self.outbound.poll_drain(&mut *self.io, cx, counters, progress)
    }

    /// Tells the peer that nothing more comes from here.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(cx)
    }

    /// Reads and forgets, to see the peer's end.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scrap = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scrap);
            match ready!(Pin::new(&mut *self.io).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl Inbound {
    fn poll_fill(
        &mut self,
        io: &mut (impl AsyncRead + Unpin + ?Sized),
        cx: &mut Context<'_>,
        counters: &Counters,
    ) -> Poll<io::Result<Fill>> {
        let before = self.plain.len();
        let fill = if self.decoder.is_identity() {
            ready!(self.poll_read_plain(io, cx, counters))?
        } else {
            ready!(self.poll_read_compressed(io, cx, counters))?
        };
        add(&counters.bytes_in, (self.plain.len() - before) as u64);
        Poll::Ready(Ok(fill))
    }

    fn poll_read_plain(
        &mut self,
        io: &mut (impl AsyncRead + Unpin + ?Sized),
        cx: &mut Context<'_>,
        counters: &Counters,
    ) -> Poll<io::Result<Fill>> {
        if self.plain.capacity() - self.plain.len() < self.chunk / 2 {
            self.plain.reserve(self.chunk);
        }
        let read = ready!(poll_read_buf(Pin::new(io), cx, &mut self.plain))?;
        add(&counters.wire_bytes_in, read as u64);
        Poll::Ready(Ok(if read == 0 { Fill::End } else { Fill::More }))
    }

    fn poll_read_compressed(
        &mut self,
        io: &mut (impl AsyncRead + Unpin + ?Sized),
        cx: &mut Context<'_>,
        counters: &Counters,
    ) -> Poll<io::Result<Fill>> {
        loop {
            if self.ended {
                return Poll::Ready(Ok(Fill::End));
            }
            if self.more_inside || !self.wire.unread().is_empty() {
                let before = self.plain.len();
                self.decode()?;
                if self.plain.len() > before {
                    return Poll::Ready(Ok(Fill::More));
                }
                continue;
            }
            let read = ready!(self.wire.poll_read(io, cx, self.chunk))?;
            add(&counters.wire_bytes_in, read as u64);
            self.ended = read == 0;
        }
    }

    fn decode(&mut self) -> io::Result<()> {
        let mut wire = self.wire.unread();
        let before = wire.len();
        let progress = self.decoder.decode(&mut wire, &mut self.plain, self.chunk);
        let used = before - wire.len();
        self.wire.consume(used);
        match progress.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            Progress::NeedInput => self.more_inside = false,
            Progress::Full => self.more_inside = true,
            Progress::End => self.ended = true,
        }
        Ok(())
    }

    /// Gives memory back between bursts: buffers that grew past `keep` and hold nothing.
    pub(crate) fn shrink(&mut self, keep: usize) {
        if self.plain.is_empty() && self.plain.capacity() > keep {
            self.plain = BytesMut::new();
        }
    }
}

impl Outbound {
    /// Whether all that was sealed has been written and flushed.
    pub(crate) fn is_clear(&self) -> bool {
        self.written == self.wire.len() && self.flushed
    }

    /// Bytes that wait here in any form.
    pub(crate) fn backlog(&self) -> usize {
        self.plain.len() + self.wire.len() - self.written
    }

    /// Compresses the batch in `plain`; it has to be written whole from now on.
    pub(crate) fn seal(&mut self, counters: &Counters) {
        debug_assert!(self.is_clear(), "a batch is sealed after the one before was written");
        if self.plain.is_empty() {
            return;
        }
        add(&counters.batches, 1);
        add(&counters.bytes_out, self.plain.len() as u64);
        self.wire.clear();
        self.written = 0;
        self.encoder.encode(&mut self.plain, &mut self.wire);
        self.flushed = false;
    }

    fn poll_drain(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin + ?Sized),
        cx: &mut Context<'_>,
        counters: &Counters,
        progress: &mut bool,
    ) -> Poll<io::Result<()>> {
        while self.written < self.wire.len() {
            let wrote = ready!(Pin::new(&mut *io).poll_write(cx, &self.wire[self.written..]))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *progress = true;
            self.written += wrote;
            add(&counters.wire_bytes_out, wrote as u64);
        }
        if !self.flushed {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.flushed = true;
            self.release();
        }
        Poll::Ready(Ok(()))
    }

    fn release(&mut self) {
        self.wire.clear();
        self.written = 0;
        self.wire.shrink_to(self.keep);
        if self.plain.is_empty() {
            self.plain.shrink_to(self.keep);
        }
    }
}

/// Compressed bytes between the socket and the decoder. Allocated while there are any.
#[derive(Default)]
struct WireBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl WireBuffer {
    fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn consume(&mut self, used: usize) {
        self.start += used;
    }

    /// Reads into the empty buffer.
    fn poll_read(
        &mut self,
        io: &mut (impl AsyncRead + Unpin + ?Sized),
        cx: &mut Context<'_>,
        size: usize,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.unread().is_empty(), "read after everything was decoded");
        self.bytes.resize(size, 0);
        let mut buffer = ReadBuf::new(&mut self.bytes);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        let read = buffer.filled().len();
        self.start = 0;
        self.end = read;
        Poll::Ready(Ok(read))
    }
}

/// What a peer's bad bytes are called in errors, apart from plain I/O failures.
pub(crate) fn is_bad_data(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// A connection's name in errors and logs.
pub(crate) type Peer = Option<Arc<str>>;
