//! Records over a stream of bytes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use super::memory::Reserved;
use crate::io::BoxIo;
use crate::mux::framed::Filled;
use crate::stats::{BatchOf, Counters, Open, Stopwatch, add};
use crate::wire::framed::record::{RecordDecoder, RecordEncoder, RecordError};

/// Wire bytes that may wait unwritten before another record is made: what is in here, nothing overtakes.
const AHEAD: usize = 64 * 1024;

/// One connection's records, both ways.
pub(super) struct RecordLink {
    io: BoxIo,
    counters: Arc<Counters>,
    _open: Open,
    /// What the contexts of the decoder and the encoder may take.
    reserved: Option<Reserved>,
    decoder: RecordDecoder,
    encoder: RecordEncoder,
    input: BytesMut,
    chunk: usize,
    wire: Vec<u8>,
    written: usize,
    flushed: bool,
    encoding: Stopwatch,
    decoding: Stopwatch,
}

/// What a read brought.
pub(super) enum Read {
    /// The plain bytes of a record.
    Record(Bytes),
    /// The peer will send no more; inside, whether it stopped in the middle of a record.
    End { midway: bool },
}

/// Why reading cannot go on.
pub(super) enum ReadError {
    Io(io::Error),
    Record(RecordError),
}

impl RecordLink {
    pub(super) fn new(
        io: BoxIo,
        decoder: RecordDecoder,
        encoder: RecordEncoder,
        chunk: usize,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            io,
            _open: Open::new(&counters),
            counters,
            reserved: None,
            decoder,
            encoder,
            input: BytesMut::new(),
            chunk,
            wire: Vec::new(),
            written: 0,
            flushed: true,
            encoding: Stopwatch::default(),
            decoding: Stopwatch::default(),
        }
    }

    /// Keeps a part of a budget as long as the contexts live.
    pub(super) fn hold(&mut self, mut reserved: Reserved) {
        reserved.begin();
        self.reserved = Some(reserved);
    }

    /// The next record. `heard` is set when bytes came.
    pub(super) fn poll_record(&mut self, cx: &mut Context<'_>, heard: &mut bool) -> Poll<Result<Read, ReadError>> {
        loop {
            let mut plain = BytesMut::new();
            let decode = || self.decoder.decode(&mut self.input, &mut plain);
            match self.decoding.time(&self.counters.decompress_nanos, decode).map_err(ReadError::Record)? {
                Some(0) => continue,
                Some(length) => {
                    add(&self.counters.bytes_in, length as u64);
                    return Poll::Ready(Ok(Read::Record(plain.freeze())));
                }
                None => {}
            }
            // Heads that wait for their callers hold the chunk: what is left of it is used up first.
            let missing = RecordDecoder::missing(&self.input);
            if self.input.capacity() - self.input.len() < missing.max(self.chunk / 2) {
                self.input.reserve(missing.max(self.chunk));
            }
            let read = ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut self.input)).or_else(bare_end);
            let read = read.map_err(ReadError::Io)?;
            if read == 0 {
                return Poll::Ready(Ok(Read::End { midway: !self.input.is_empty() }));
            }
            add(&self.counters.wire_bytes_in, read as u64);
            *heard = true;
        }
    }

    /// Whether another record may be made now.
    pub(super) fn has_room(&self) -> bool {
        self.wire.len() - self.written < AHEAD
    }

    /// Makes a record of frames.
    pub(super) fn seal(&mut self, plain: &[u8], filled: Filled, of: BatchOf) {
        let Self { counters, encoder, encoding, wire, .. } = self;
        match filled {
            Filled::Nothing => return,
            Filled::Frames => encoding.time(&counters.compress_nanos, || encoder.encode(plain, wire)),
            Filled::Raw | Filled::Control => encoder.encode_raw(plain, wire),
        }
        if filled != Filled::Control {
            counters.batch(of, plain.len());
        }
        add(&self.counters.bytes_out, plain.len() as u64);
        self.flushed = false;
    }

    /// Gives the memory of the compression context back, here and at the peer.
    pub(super) fn end_context(&mut self) {
        let before = self.wire.len();
        self.encoder.end_context(&mut self.wire);
        self.flushed &= self.wire.len() == before;
    }

    /// Whether all that was made is written.
    pub(super) fn is_clear(&self) -> bool {
        self.flushed
    }

    /// Writes what the peer takes; ready when all of it is out. `progress` is set when a byte left.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>, progress: &mut bool) -> Poll<io::Result<()>> {
        while self.written < self.wire.len() {
            let wrote = ready!(Pin::new(&mut self.io).poll_write(cx, &self.wire[self.written..]))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *progress = true;
            self.written += wrote;
            if self.written >= AHEAD {
                // More was made behind it meanwhile; what is out need not be kept until all is.
                self.wire.drain(..self.written);
                self.written = 0;
            }
            add(&self.counters.wire_bytes_out, wrote as u64);
        }
        self.wire.clear();
        self.written = 0;
        if !self.flushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads and throws away; false when the peer has ended the connection.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.input.clear();
        self.input.reserve(self.chunk);
        poll_read_buf(Pin::new(&mut self.io), cx, &mut self.input).map(|read| matches!(read, Ok(1..)))
    }

    /// Tells the peer that nothing more comes from here.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// TLS that closes without its goodbye is an end like any other; one within a record is seen as such.
fn bare_end(error: io::Error) -> io::Result<usize> {
    if error.kind() == io::ErrorKind::UnexpectedEof { Ok(0) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::wire::framed::codec::RecordCodec;
    use crate::wire::framed::record::Accepts;

    #[tokio::test]
    async fn what_was_written_to_a_slow_peer_is_not_kept() {
        // Polled by hand here, where nobody gives the runtime its turns.
        tokio::task::coop::unconstrained(write_and_read_little()).await;
    }

    async fn write_and_read_little() {
        let (near, mut far) = tokio::io::duplex(8 * 1024);
        let (decoder, encoder) = (RecordDecoder::new(Accepts::default()), RecordEncoder::new(RecordCodec::None, 22));
        let mut link = RecordLink::new(Box::new(near), decoder, encoder, 1024, Arc::default());
        let mut portion = vec![0; 8 * 1024];
        for _ in 0..1000 {
            while link.has_room() {
                link.seal(&[7; 16_000], Filled::Frames, BatchOf::default());
            }
            let drained = link.poll_drain(&mut Context::from_waker(Waker::noop()), &mut false);
            assert!(drained.is_pending());
            assert!(far.read(&mut portion).await.unwrap() > 0);
        }
        assert!(
            link.wire.len() < 4 * AHEAD,
            "{} bytes for {} that wait",
            link.wire.len(),
            link.wire.len() - link.written
        );
    }
}
