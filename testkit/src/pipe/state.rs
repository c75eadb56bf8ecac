//! What one direction of a pipe holds, and what may pass.

use std::collections::VecDeque;
use std::io;
use std::task::Waker;

use tokio::io::ReadBuf;

#[derive(Debug)]
pub(super) struct State {
    /// Written, not yet read.
    pub(super) bytes: VecDeque<u8>,
    pub(super) capacity: usize,
    /// How many more bytes writers may hand over; `None` is no limit.
    pub(super) allowance: Option<usize>,
    /// How many more bytes readers may get; `None` is no limit.
    pub(super) delivery: Option<usize>,
    /// The most bytes of one read, used in turn, over and over. Empty is no limit.
    pub(super) read_pieces: VecDeque<usize>,
    /// The most bytes of one write.
    pub(super) write_piece: usize,
    /// No byte will be added: readers meet the end after what is there.
    pub(super) ended: bool,
    pub(super) reader_gone: bool,
    pub(super) broken: Option<io::ErrorKind>,
    pub(super) written: u64,
    pub(super) read: u64,
    pub(super) record: Option<Vec<u8>>,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) watchers: Vec<Waker>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            bytes: VecDeque::new(),
            capacity: 64 * 1024,
            allowance: None,
            delivery: None,
            read_pieces: VecDeque::new(),
            write_piece: usize::MAX,
            ended: false,
            reader_gone: false,
            broken: None,
            written: 0,
            read: 0,
            record: None,
            reader: None,
            writer: None,
            watchers: Vec::new(),
        }
    }

    pub(super) fn write_error(&self) -> Option<io::Error> {
        let gone = (self.ended || self.reader_gone).then_some(io::ErrorKind::BrokenPipe);
        self.broken.or(gone).map(io::Error::from)
    }

    /// How many bytes the next write may hand over.
    pub(super) fn room(&self) -> usize {
        let free = self.capacity.saturating_sub(self.bytes.len());
        free.min(self.allowance.unwrap_or(usize::MAX)).min(self.write_piece)
    }

    /// How many bytes the next read may get.
    pub(super) fn ready(&self) -> usize {
        let piece = self.read_pieces.front().copied().unwrap_or(usize::MAX);
        self.bytes.len().min(self.delivery.unwrap_or(usize::MAX)).min(piece)
    }

    /// Hands `len` bytes, which are there and may be read, to the reader.
    pub(super) fn take(&mut self, len: usize, buf: &mut ReadBuf<'_>) {
        let (front, back) = self.bytes.as_slices();
        let from_front = front.len().min(len);
        buf.put_slice(&front[..from_front]);
        buf.put_slice(&back[..len - from_front]);
        self.bytes.drain(..len);
        self.read += len as u64;
        self.delivery = self.delivery.map(|left| left - len);
        let used = self.read_pieces.pop_front();
        self.read_pieces.extend(used);
    }

    /// Takes bytes, for which there is room, from the writer.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.written += bytes.len() as u64;
        self.allowance = self.allowance.map(|left| left - bytes.len());
        if let Some(record) = &mut self.record {
            record.extend_from_slice(bytes);
        }
    }

    /// Everybody who may have waited for a change.
    pub(super) fn sleepers(&mut self) -> Vec<Waker> {
        self.watchers.drain(..).chain(self.reader.take()).chain(self.writer.take()).collect()
    }
}
