//! Both directions of one connection after the hello: bytes in, decompressed; batches out, compressed.
//!
//! Reading and writing advance independently; neither ever waits for the other.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::chunks::Chunks;
use super::handshake::Opened;
use crate::config::LinkConfig;
use crate::io::BoxIo;
use crate::stats::{BatchOf, Counters, Stopwatch, add};
use crate::wire::compress::{Decoder, Encoder, Progress};

/// Plain bytes compressed at once.
const PIECE: usize = 256 * 1024;
/// Reads per turn, after which a driver lets others run, whatever they brought.
pub(crate) const READS_PER_TURN: usize = 32;

/// Counts bytes written.
pub(crate) type Meter = Arc<AtomicU64>;

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// More bytes in the plain buffer.
    More,
    /// Bytes that say nothing, such as padding between compressed blocks.
    Nothing,
    /// The peer will send no more.
    End,
}

/// One connection's stream, both ways.
pub(crate) struct Link {
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Outbound,
    io: BoxIo,
    /// Bytes written below TLS, which takes ours in long before they leave, and how many there were when last looked.
    meter: Option<(Meter, u64)>,
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
    chunks: Chunks,
    stopwatch: Stopwatch,
}

/// The writing side.
pub(crate) struct Outbound {
    encoder: Encoder,
    /// The batch being formed or taken; compressed by [`Outbound::seal`].
    pub(crate) plain: Vec<u8>,
    /// Bytes of a large batch in `plain` that are sealed already; zero between batches.
    sealed: usize,
    /// Where the next piece of a large batch is compressed from.
    piece: Vec<u8>,
    wire: Vec<u8>,
    written: usize,
    flushed: bool,
    keep: usize,
    stopwatch: Stopwatch,
}

impl Link {
    pub(crate) fn new(opened: Opened, config: &LinkConfig) -> Self {
        let inbound = Inbound {
            decoder: Decoder::new(opened.theirs),
            wire: WireBuffer::default(),
            plain: BytesMut::new(),
            more_inside: false,
            ended: false,
            chunk: config.read_buffer,
            chunks: Chunks::new(config.read_buffer),
            stopwatch: Stopwatch::default(),
        };
        let outbound = Outbound {
            encoder: Encoder::new(config.compression),
            plain: Vec::new(),
            sealed: 0,
            piece: Vec::new(),
            wire: Vec::new(),
            written: 0,
            flushed: true,
            keep: config.write_buffer * 4,
            stopwatch: Stopwatch::default(),
        };
        Self { inbound, outbound, io: opened.io, meter: opened.meter.map(|meter| (meter, 0)) }
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
        let drained = self.outbound.poll_drain(&mut *self.io, cx, counters, progress);
        if let Some((meter, before)) = &mut self.meter {
            let now = meter.load(Ordering::Relaxed);
            *progress |= now > std::mem::replace(before, now);
        }
        drained
    }

    /// Tells the peer that nothing more comes from here.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(cx)
    }

    /// Reads and forgets, to see the peer's end. A peer that has much to say is heard a part of it at a time.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scrap = [0; 4096];
        for _ in 0..READS_PER_TURN {
            let mut buffer = ReadBuf::new(&mut scrap);
            match ready!(Pin::new(&mut *self.io).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
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
        self.chunks.make_room(&mut self.plain);
        let read = ready!(poll_read_buf(Pin::new(io), cx, &mut self.plain)).or_else(bare_end)?;
        add(&counters.wire_bytes_in, read as u64);
        Poll::Ready(Ok(if read == 0 { Fill::End } else { Fill::More }))
    }

    fn poll_read_compressed(
        &mut self,
        io: &mut (impl AsyncRead + Unpin + ?Sized),
        cx: &mut Context<'_>,
        counters: &Counters,
    ) -> Poll<io::Result<Fill>> {
        if !self.more_inside && self.wire.unread().is_empty() && !self.ended {
            let read = ready!(self.wire.poll_read(io, cx, self.chunk)).or_else(bare_end)?;
            add(&counters.wire_bytes_in, read as u64);
            self.ended = read == 0;
        }
        if self.ended {
            return Poll::Ready(Ok(Fill::End));
        }
        let before = self.plain.len();
        self.decode(counters)?;
        Poll::Ready(Ok(if self.plain.len() > before { Fill::More } else { Fill::Nothing }))
    }

    fn decode(&mut self, counters: &Counters) -> io::Result<()> {
        let mut wire = self.wire.unread();
        let before = wire.len();
        self.chunks.make_room(&mut self.plain);
        let decode = |plain: &mut BytesMut| self.decoder.decode(&mut wire, plain, self.chunk);
        let progress = self.stopwatch.time(&counters.decompress_nanos, || self.chunks.watch(&mut self.plain, decode));
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
        self.written == self.wire.len() && self.flushed && self.sealed == 0
    }

    /// Bytes that wait here in any form.
    pub(crate) fn backlog(&self) -> usize {
        self.plain.len() - self.sealed + self.wire.len() - self.written
    }

    /// Compresses the batch in `plain`, a large one its first piece; it has to be written whole from now on.
    pub(crate) fn seal(&mut self, counters: &Counters, of: BatchOf) {
        debug_assert!(self.is_clear(), "a batch is sealed after the one before was written");
        if self.plain.is_empty() {
            return;
        }
        counters.batch(of, self.plain.len());
        self.wire.clear();
        self.written = 0;
        self.flushed = false;
        if self.plain.len() > PIECE {
            return self.seal_piece(counters);
        }
        add(&counters.bytes_out, self.plain.len() as u64);
        self.stopwatch.time(&counters.compress_nanos, || self.encoder.encode(&mut self.plain, &mut self.wire));
    }

    /// Goes on with a large batch whose last piece is written. False when there is none.
    pub(crate) fn seal_rest(&mut self, counters: &Counters) -> bool {
        if self.sealed == 0 {
            return false;
        }
        self.seal_piece(counters);
        true
    }

    /// Compressing tens of megabytes at once would keep everything else waiting.
    fn seal_piece(&mut self, counters: &Counters) {
        let end = self.plain.len().min(self.sealed + PIECE);
        self.piece.extend_from_slice(&self.plain[self.sealed..end]);
        add(&counters.bytes_out, self.piece.len() as u64);
        self.stopwatch.time(&counters.compress_nanos, || self.encoder.encode(&mut self.piece, &mut self.wire));
        self.flushed = false;
        self.sealed = end;
        if end == self.plain.len() {
            self.sealed = 0;
            self.plain.clear();
            self.piece = Vec::new();
        }
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

/// Go peers close TLS without its goodbye: that is an end like any other, and one within a message is seen as such.
fn bare_end(error: io::Error) -> io::Result<usize> {
    if error.kind() == io::ErrorKind::UnexpectedEof { Ok(0) } else { Err(error) }
}

/// Compressed bytes between the socket and the decoder.
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
