//! Messages of a client connection that are encoded and not yet handed to the compressor.
//!
//! Callers encode straight into one growing buffer. A message can still be taken out of it until the driver takes the
//! batch; from then on it belongs to the stream.

use std::collections::VecDeque;

use crate::codec::BoxError;

/// The id of a message that wants no reply.
pub const ONE_WAY: u32 = 0;

/// Dead bytes that are not worth a copy yet.
const SLACK: usize = 16 * 1024;

#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    start: usize,
    id: u32,
    live: bool,
}

/// The buffer and where each message in it begins. Messages are numbered in the order of the stream.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    segments: VecDeque<Segment>,
    /// The number of the next message.
    next: u64,
    /// The number before which everything was taken.
    taken: u64,
    dead: usize,
    dead_bytes: usize,
    one_way: usize,
}

impl Outbox {
    /// The number that the next message will have.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.next
    }

    /// The number before which every message was taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.dead_bytes
    }

    /// Whether no message waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages() == 0
    }

    /// Messages that wait.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.segments.len() - self.dead
    }

    /// Bytes of memory behind the messages.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Appends one message. An encoder that fails or panics leaves nothing behind.
    ///
    /// # Errors
    ///
    /// The encoder's own.
    pub fn push(
        &mut self,
        id: u32,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError>,
    ) -> Result<usize, BoxError> {
        let start = self.bytes.len();
        append_message(&mut self.bytes, id, encode)?;
        self.segments.push_back(Segment { number: self.next, start, id, live: true });
        self.next += 1;
        self.one_way += usize::from(id == ONE_WAY);
        Ok(self.bytes.len() - start)
    }

    /// Takes back a message that waits, by its number. Gives the bytes it held.
    pub fn remove(&mut self, number: u64) -> usize {
        let Ok(index) = self.segments.binary_search_by_key(&number, |segment| segment.number) else { return 0 };
        let held = self.span(index).len();
        let segment = &mut self.segments[index];
        if !segment.live {
            return 0;
        }
        segment.live = false;
        self.one_way -= usize::from(segment.id == ONE_WAY);
        self.dead += 1;
        self.dead_bytes += held;
        if self.is_empty() || (self.dead_bytes > SLACK && self.dead_bytes > self.bytes.len() / 2) {
            self.compact();
        }
        held
    }

    /// The oldest call that still waits here, with its number.
    #[must_use]
    pub fn oldest_call(&self) -> Option<(u32, u64)> {
        let oldest = self.segments.iter().find(|segment| segment.live && segment.id != ONE_WAY)?;
        Some((oldest.id, oldest.number))
    }

    /// Moves everything that waits into `batch`, which must be empty.
    pub fn take(&mut self, batch: &mut Vec<u8>) -> Taken {
        debug_assert!(batch.is_empty(), "a batch is taken into an empty buffer");
        if self.dead > 0 {
            self.compact();
        }
        let taken = Taken { bytes: self.bytes.len(), messages: self.messages(), one_way: self.one_way };
        std::mem::swap(&mut self.bytes, batch);
        self.segments.clear();
        self.taken = self.next;
        self.one_way = 0;
        taken
    }

    /// Closes the gaps that removed messages left.
    fn compact(&mut self) {
        let mut end = 0;
        for index in 0..self.segments.len() {
            if !self.segments[index].live {
                continue;
            }
            let span = self.span(index);
            self.segments[index].start = end; // The gaps are before it: spans behind it are as they were.
            let len = span.len();
            self.bytes.copy_within(span, end);
            end += len;
        }
        self.bytes.truncate(end);
        self.segments.retain(|segment| segment.live);
        self.dead = 0;
        self.dead_bytes = 0;
    }

    /// Where the bytes of a segment are.
    fn span(&self, index: usize) -> std::ops::Range<usize> {
        let end = self.segments.get(index + 1).map_or(self.bytes.len(), |next| next.start);
        self.segments[index].start..end
    }

    /// Gives memory back when nothing waits and the buffer has grown past `keep`.
    pub fn shrink(&mut self, keep: usize) {
        if self.bytes.is_empty() && self.bytes.capacity() > keep {
            self.bytes = Vec::new();
            self.segments = VecDeque::new();
        }
    }
}

/// What one [`Outbox::take`] moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Bytes moved.
    pub bytes: usize,
    /// Messages moved.
    pub messages: usize,
    /// Fire-and-forget messages among them.
    pub one_way: usize,
}

/// Appends `id` and one encoded message to `out`; an encoder that fails or panics leaves `out` as it was.
///
/// # Errors
///
/// The encoder's own, or one that says that it shortened the buffer.
pub fn append_message(
    out: &mut Vec<u8>,
    id: u32,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError>,
) -> Result<(), BoxError> {
    let mut rollback = Rollback { start: out.len(), out, keep: false };
    rollback.out.extend_from_slice(&id.to_le_bytes());
    encode(rollback.out)?;
    if rollback.out.len() < rollback.start + size_of::<u32>() {
        return Err("the codec shortened the buffer it was to append to".into());
    }
    rollback.keep = true;
    Ok(())
}

/// Takes back what was appended since `start`, on unwind too.
struct Rollback<'a> {
    start: usize,
    out: &'a mut Vec<u8>,
    keep: bool,
}

impl Drop for Rollback<'_> {
    fn drop(&mut self) {
        if !self.keep {
            self.out.truncate(self.start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(outbox: &mut Outbox, id: u32, body: &[u8]) -> u64 {
        let offset = outbox.end();
        outbox
            .push(id, |out| {
                out.extend_from_slice(body);
                Ok(())
            })
            .unwrap();
        offset
    }

    #[test]
    fn a_removed_message_leaves_no_byte_in_the_batch() {
        let mut outbox = Outbox::default();
        push(&mut outbox, 1, b"one");
        let second = push(&mut outbox, 2, b"two");
        push(&mut outbox, 3, b"three");
        assert_eq!(outbox.remove(second), 7);
        assert_eq!(outbox.remove(second), 0, "once");
        let mut batch = Vec::new();
        assert_eq!(outbox.take(&mut batch).messages, 2);
        assert_eq!(batch, b"\x01\0\0\0one\x03\0\0\0three");
        assert_eq!(outbox.remove(second), 0, "what was taken belongs to the stream");
    }

    #[test]
    fn numbers_go_on_over_batches() {
        let mut outbox = Outbox::default();
        push(&mut outbox, 1, b"abcd");
        outbox.take(&mut Vec::new());
        let number = push(&mut outbox, 2, b"abcd");
        assert_eq!((number, outbox.taken()), (1, 1));
        assert_eq!(outbox.oldest_call(), Some((2, 1)));
    }

    #[test]
    fn removed_messages_do_not_pile_up_behind_one_that_waits() {
        let mut outbox = Outbox::default();
        push(&mut outbox, 1, b"first");
        for id in 2..1000 {
            let number = push(&mut outbox, id, &[0; 1000]);
            push(&mut outbox, ONE_WAY, b"kept");
            assert_eq!(outbox.remove(number), 1004);
        }
        assert_eq!(outbox.messages(), 999);
        assert_eq!(outbox.len(), 9 + 998 * 8);
        assert!(outbox.bytes.len() < outbox.len() + 2 * SLACK);
        let mut batch = Vec::new();
        let taken = outbox.take(&mut batch);
        assert_eq!((taken.bytes, taken.one_way), (batch.len(), 998));
        assert!(batch.starts_with(b"\x01\0\0\0first\0\0\0\0kept"));
        assert!(batch.ends_with(b"\0\0\0\0kept\0\0\0\0kept"));
    }

    #[test]
    fn an_encoder_that_fails_or_panics_leaves_nothing_behind() {
        let mut outbox = Outbox::default();
        push(&mut outbox, 1, b"ok");
        let failed = outbox.push(2, |out| {
            out.extend_from_slice(b"half");
            Err("no".into())
        });
        assert!(failed.is_err());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            outbox.push(3, |out| {
                out.extend_from_slice(b"half");
                panic!("mid-encode")
            })
        }));
        assert!(panicked.is_err());
        let mut batch = Vec::new();
        outbox.take(&mut batch);
        assert_eq!(batch, b"\x01\0\0\0ok");
    }
}
