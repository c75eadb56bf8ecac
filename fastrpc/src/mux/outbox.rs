//! Messages of a client connection that are encoded and not yet handed to the compressor.
//!
//! Callers encode straight into one growing buffer. A message can still be taken out of it until the driver takes the
//! batch; from then on it belongs to the stream.

use std::collections::VecDeque;

use crate::codec::BoxError;

/// The id of a message that wants no reply.
pub const ONE_WAY: u32 = 0;

#[derive(Clone, Copy, Debug)]
struct Segment {
    start: usize,
    id: u32,
    live: bool,
}

/// The buffer and where each message in it begins.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// Offset of `bytes[0]` in the connection's outgoing stream.
    base: u64,
    segments: VecDeque<Segment>,
    dead: usize,
    one_way: usize,
}

impl Outbox {
    /// The stream offset where the next message will begin.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// The stream offset before which everything was taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.base
    }

    /// Bytes that wait, those of removed messages included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no message waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.len() == self.dead
    }

    /// Messages that wait.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.segments.len() - self.dead
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
        self.segments.push_back(Segment { start, id, live: true });
        self.one_way += usize::from(id == ONE_WAY);
        Ok(self.bytes.len() - start)
    }

    /// Takes back a message that waits, by the stream offset where it begins. Gives the bytes it held.
    pub fn remove(&mut self, offset: u64) -> usize {
        let Some(start) = offset.checked_sub(self.base).and_then(|start| usize::try_from(start).ok()) else { return 0 };
        let Ok(index) = self.segments.binary_search_by_key(&start, |segment| segment.start) else { return 0 };
        let end = self.segments.get(index + 1).map_or(self.bytes.len(), |next| next.start);
        let segment = &mut self.segments[index];
        if !segment.live {
            return 0;
        }
        segment.live = false;
        self.dead += 1;
        end - start
    }

    /// The oldest call that still waits here, with the stream offset where it begins.
    #[must_use]
    pub fn oldest_call(&self) -> Option<(u32, u64)> {
        let oldest = self.segments.iter().find(|segment| segment.live && segment.id != ONE_WAY)?;
        Some((oldest.id, self.base + oldest.start as u64))
    }

    /// Moves everything that waits into `batch`, which must be empty.
    pub fn take(&mut self, batch: &mut Vec<u8>) -> Taken {
        debug_assert!(batch.is_empty(), "a batch is taken into an empty buffer");
        let taken = Taken { bytes: self.bytes.len(), messages: self.messages(), one_way: self.one_way };
        self.base = self.end();
        if self.dead == 0 {
            std::mem::swap(&mut self.bytes, batch);
        } else {
            self.copy_live(batch);
        }
        self.bytes.clear();
        self.segments.clear();
        self.dead = 0;
        self.one_way = 0;
        taken
    }

    fn copy_live(&self, batch: &mut Vec<u8>) {
        for (index, segment) in self.segments.iter().enumerate() {
            let end = self.segments.get(index + 1).map_or(self.bytes.len(), |next| next.start);
            if segment.live {
                batch.extend_from_slice(&self.bytes[segment.start..end]);
            }
        }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Bytes that waited, those of removed messages included.
    pub bytes: usize,
    /// Messages moved.
    pub messages: usize,
    /// Fire-and-forget messages among all that waited.
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
    fn offsets_go_on_over_batches() {
        let mut outbox = Outbox::default();
        push(&mut outbox, 1, b"abcd");
        outbox.take(&mut Vec::new());
        let offset = push(&mut outbox, 2, b"abcd");
        assert_eq!((offset, outbox.taken()), (8, 8));
        assert_eq!(outbox.oldest_call(), Some((2, 8)));
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
