//! What has arrived of a body and was not read.

use std::collections::VecDeque;
use std::mem;

use bytes::{Bytes, BytesMut};

/// Shorter pieces are joined with those before and behind them: each would take more memory than its bytes.
const SMALL: usize = 1024;
/// Joined pieces are no longer than this.
const JOINED: usize = 16 * 1024;

/// Pieces in the order in which they came. Their memory is little more than their bytes, however short they came.
#[derive(Default)]
pub(super) struct Pieces {
    queue: VecDeque<Bytes>,
    /// Short ones that came last.
    tail: BytesMut,
}

impl Pieces {
    /// Adds a piece that lies in a record of this length.
    pub(super) fn push(&mut self, piece: Bytes, record: usize) {
        if piece.len() < SMALL {
            if self.tail.len() + piece.len() > JOINED {
                self.end_tail();
            }
            return self.tail.extend_from_slice(&piece);
        }
        self.end_tail();
        self.queue.push_back(apart(piece, record));
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        if self.queue.is_empty() {
            self.end_tail();
        }
        self.queue.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.tail.is_empty()
    }

    /// All of them, for whoever throws them away.
    pub(super) fn take(&mut self) -> VecDeque<Bytes> {
        self.end_tail();
        mem::take(&mut self.queue)
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.queue.push_back(mem::take(&mut self.tail).freeze());
        }
    }
}

/// A piece that waits for its reader does not keep a record that is much larger.
fn apart(piece: Bytes, record: usize) -> Bytes {
    if piece.len() < record / 4 { Bytes::copy_from_slice(&piece) } else { piece }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_pieces_are_joined_and_all_come_in_order() {
        let mut pieces = Pieces::default();
        let sent: Vec<u8> = (0..100_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut rest = &sent[..];
        for length in [1, 1, 2000, 3, 30_000, 1023, 1024, 5].into_iter().chain(std::iter::repeat_n(1, 40_000)) {
            let (piece, more) = rest.split_at(length);
            pieces.push(Bytes::copy_from_slice(piece), 64 * 1024);
            rest = more;
        }
        let mut came = Vec::new();
        let mut count = 0;
        while let Some(piece) = pieces.pop() {
            came.extend_from_slice(&piece);
            count += 1;
        }
        assert!(came == sent[..sent.len() - rest.len()] && pieces.is_empty());
        assert!(count < 12, "{count} pieces of 40,008");
    }
}
