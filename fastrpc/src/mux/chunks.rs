//! The memory that input is read into, and that decoded messages may share.
//!
//! A message that is not copied keeps the whole chunk alive that it arrived in. One that is kept for long in each of many
//! chunks would keep much more memory than it is worth, so that a connection whose messages hold many chunks goes on with
//! small ones.

use bytes::{Bytes, BytesMut};

/// So many times the usual size may be held by messages before chunks become small.
const MOST_HELD: usize = 16;
/// A small chunk.
const SMALL: usize = 4096;

/// Gives out chunks, and knows which of the earlier ones are still held.
#[derive(Debug)]
pub(super) struct Chunks {
    usual: usize,
    /// The size of the chunk at hand.
    current: usize,
    /// A share of each chunk that was left while messages held it, and its size.
    held: Vec<(Bytes, usize)>,
}

impl Chunks {
    pub(super) fn new(usual: usize) -> Self {
        Self { usual, current: 0, held: Vec::new() }
    }

    /// Makes room behind what `plain` holds: in its chunk, if there is some or nobody else holds it, or in a new one.
    #[inline]
    pub(super) fn make_room(&mut self, plain: &mut BytesMut) {
        if plain.capacity() - plain.len() < self.usual / 2 {
            self.renew(plain);
        }
    }

    fn renew(&mut self, plain: &mut BytesMut) {
        self.forget();
        let held: usize = self.held.iter().map(|(_, size)| size).sum();
        let size = if held < MOST_HELD * self.usual { self.usual } else { SMALL.min(self.usual) };
        // As much again as is there already: what grows for long is moved seldom.
        let size = size.max(plain.len());
        // A large chunk is not used up: what did not fit its end would move to another large one.
        if size >= self.current && (plain.capacity() - plain.len() >= size / 2 || plain.try_reclaim(size)) {
            return;
        }
        self.current = size;
        let mut new = BytesMut::with_capacity(plain.len() + size);
        new.extend_from_slice(plain);
        let old = std::mem::replace(plain, new);
        if old.capacity() > 0 {
            self.leave(old);
        }
    }

    /// Runs `fill`, which appends to `plain` and may move it to a chunk of its own making.
    pub(super) fn watch<T>(&mut self, plain: &mut BytesMut, fill: impl FnOnce(&mut BytesMut) -> T) -> T {
        let (before, share) = (plain.as_ptr(), plain.split_to(0));
        let filled = fill(plain);
        if plain.as_ptr() != before {
            self.current = plain.capacity();
            self.forget();
            self.leave(share);
        }
        filled
    }

    fn leave(&mut self, old: BytesMut) {
        let size = old.capacity().max(self.usual);
        let share = old.freeze();
        if !share.is_unique() {
            self.held.push((share, size));
        }
    }

    /// Lets go of chunks that nobody else holds any more.
    fn forget(&mut self) {
        self.held.retain(|(share, _)| !share.is_unique());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: usize = 64 * 1024;

    /// Fills the chunk at hand with messages of a hundred bytes, and gives the first of them.
    fn message_of_each_chunk(chunks: &mut Chunks, plain: &mut BytesMut) -> Bytes {
        chunks.make_room(plain);
        let (mut first, size) = (None, plain.capacity());
        while plain.capacity() >= size / 2 {
            plain.extend_from_slice(&[7; 100]);
            let message = plain.split_to(100).freeze();
            first.get_or_insert(message);
        }
        first.expect("a chunk has room for a message")
    }

    #[test]
    fn a_chunk_whose_messages_are_gone_is_used_again() {
        let (mut chunks, mut plain) = (Chunks::new(USUAL), BytesMut::new());
        chunks.make_room(&mut plain);
        let place = plain.as_ptr();
        for _ in 0..100 {
            drop(message_of_each_chunk(&mut chunks, &mut plain));
            chunks.make_room(&mut plain);
            assert_eq!(plain.as_ptr(), place);
        }
    }

    #[test]
    fn kept_messages_hold_a_bounded_number_of_chunks_and_small_ones_after_that() {
        let (mut chunks, mut plain) = (Chunks::new(USUAL), BytesMut::new());
        let kept: Vec<_> = (0..2 * MOST_HELD).map(|_| message_of_each_chunk(&mut chunks, &mut plain)).collect();
        assert!(chunks.held.len() >= MOST_HELD);
        chunks.make_room(&mut plain);
        assert!(plain.capacity() <= 2 * SMALL, "{}", plain.capacity());
        drop(kept);
        for _ in 0..2 {
            message_of_each_chunk(&mut chunks, &mut plain);
        }
        chunks.make_room(&mut plain);
        assert!(chunks.held.len() <= 1 && plain.capacity() >= USUAL / 2, "memory came back: chunks are large again");
    }

    #[test]
    fn a_chunk_that_is_moved_while_it_is_filled_counts_too() {
        let (mut chunks, mut plain) = (Chunks::new(USUAL), BytesMut::new());
        chunks.make_room(&mut plain);
        plain.extend_from_slice(&[7; 100]);
        let message = plain.split_to(100).freeze();
        chunks.watch(&mut plain, |plain| plain.extend_from_slice(&[0; 2 * USUAL]));
        assert_eq!(chunks.held.len(), 1);
        drop(message);
        chunks.watch(&mut plain, |plain| plain.extend_from_slice(&[0; 8 * USUAL]));
        assert_eq!(chunks.held.len(), 0);
    }

    #[test]
    fn what_grows_in_small_chunks_is_moved_seldom() {
        let (mut chunks, mut plain) = (Chunks::new(USUAL), BytesMut::new());
        let _kept: Vec<_> = (0..2 * MOST_HELD).map(|_| message_of_each_chunk(&mut chunks, &mut plain)).collect();
        let mut moves = 0;
        while plain.len() < 1 << 20 {
            let before = plain.as_ptr();
            chunks.make_room(&mut plain);
            moves += usize::from(plain.as_ptr() != before);
            let room = plain.capacity() - plain.len();
            plain.extend_from_slice(&vec![0; room]);
        }
        assert!(moves < 20, "{moves}");
    }
}
