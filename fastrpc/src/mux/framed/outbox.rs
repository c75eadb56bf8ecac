//! What waits to be sent besides bodies: heads as they were encoded, and control.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::table::Key;
use crate::wire::framed::frame::{CloseCode, ResetCode};

/// Fewer frames are not looked through.
const COMPACT: usize = 64;
/// Bytes of memory that stay between records.
const KEEP: usize = 256 * 1024;

/// Frames with heads, whole, in the order in which they go.
pub(super) struct Heads {
    bytes: Vec<u8>,
    /// Bytes at the front that were taken.
    start: usize,
    /// Bytes up to the end of the last whole frame. More lies behind when an encoder has panicked.
    whole: usize,
    queue: VecDeque<Head>,
    /// Bytes that wait of streams that are gone.
    dead: usize,
    /// So many frames are looked through for those of streams that are gone.
    compact_at: usize,
}

impl Default for Heads {
    fn default() -> Self {
        Self { bytes: Vec::new(), start: 0, whole: 0, queue: VecDeque::new(), dead: 0, compact_at: COMPACT }
    }
}

/// What a waiting frame is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) key: Key,
    pub(super) length: u32,
    pub(super) kind: HeadKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadKind {
    /// A call, which gets its id when it is taken.
    Call {
        end: bool,
    },
    Reply {
        end: bool,
    },
    Interim,
    /// A whole reply of which nothing else is kept; the key is none.
    Alone,
}

impl Heads {
    /// Appends a frame that `encode` writes and tells the kind of; gives its length. Nothing of it stays when `encode` fails or
    /// panics.
    pub(super) fn push<E>(
        &mut self,
        key: Key,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<HeadKind, E>,
    ) -> Result<u32, E> {
        self.bytes.truncate(self.whole);
        let kind = encode(&mut self.bytes).inspect_err(|_| self.bytes.truncate(self.whole))?;
        let length = u32::try_from(self.bytes.len() - self.whole).expect("a frame fits a record");
        self.whole += length as usize;
        self.queue.push_back(Head { key, length, kind });
        Ok(length)
    }

    pub(super) fn front(&self) -> Option<Head> {
        self.queue.front().copied()
    }

    /// Moves the first frame behind `record`, or throws it away.
    pub(super) fn pop(&mut self, record: Option<&mut Vec<u8>>) {
        let Some(head) = self.queue.pop_front() else { return };
        let length = head.length as usize;
        match record {
            Some(record) => record.extend_from_slice(&self.bytes[self.start..self.start + length]),
            None => self.dead -= length,
        }
        self.taken(length);
    }

    /// So many bytes at the front are not needed any more.
    fn taken(&mut self, bytes: usize) {
        self.start += bytes;
        if self.queue.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(KEEP);
            (self.start, self.whole) = (0, 0);
        } else if self.start >= KEEP && self.start > self.len() {
            self.bytes.drain(..self.start);
            self.whole -= self.start;
            self.start = 0;
        }
    }

    /// Moves the frames that come first behind `record`, of streams of which nothing else is kept: one, and others until they
    /// are `enough` bytes, but no byte above `room`. Tells how many, and their bytes.
    pub(super) fn pop_alone(&mut self, record: &mut Vec<u8>, enough: usize, room: usize) -> (u32, usize) {
        let (mut count, mut bytes) = (0, 0);
        for head in &self.queue {
            let longer = bytes + head.length as usize;
            if head.kind != HeadKind::Alone || longer > room || (count > 0 && bytes >= enough) {
                break;
            }
            (count, bytes) = (count + 1, longer);
        }
        record.extend_from_slice(&self.bytes[self.start..self.start + bytes]);
        self.queue.drain(..count as usize);
        self.taken(bytes);
        (count, bytes)
    }

    /// The last frame that was appended is that of a stream after all; tells its length.
    pub(super) fn belongs(&mut self, key: Key, kind: HeadKind) -> u32 {
        let Some(head) = self.queue.back_mut() else { return 0 };
        (head.key, head.kind) = (key, kind);
        head.length
    }

    /// The stream of frames that wait is gone: they are so many bytes.
    pub(super) fn bury(&mut self, bytes: u32) {
        self.dead += bytes as usize;
    }

    /// Throws frames away whose streams are gone, where there may be more of them than others.
    pub(super) fn compact(&mut self, live: impl Fn(Key) -> bool) {
        if self.queue.len() < self.compact_at {
            return;
        }
        let mut bytes = Vec::new();
        let mut from = self.start;
        self.queue.retain(|head| {
            let frame = from..from + head.length as usize;
            from = frame.end;
            let keep = live(head.key);
            if keep {
                bytes.extend_from_slice(&self.bytes[frame]);
            }
            keep
        });
        (self.whole, self.start) = (bytes.len(), 0);
        self.bytes = bytes;
        self.dead = 0;
        self.compact_at = (2 * self.queue.len()).max(COMPACT);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.queue.len()
    }

    /// Bytes that wait, those of streams that are gone included.
    pub(super) fn len(&self) -> usize {
        self.whole - self.start
    }

    /// Bytes that wait and are going to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.len() - self.dead
    }
}

/// Frames that need neither credit nor a turn.
#[derive(Default)]
pub(super) struct Control {
    pub(super) resets: VecDeque<(u32, ResetCode, Cow<'static, str>)>,
    /// Streams whose reader has made room.
    pub(super) credits: VecDeque<Key>,
    pub(super) ping: Option<[u8; 8]>,
    pub(super) pong: Option<[u8; 8]>,
    pub(super) drain: bool,
    pub(super) close: Option<(CloseCode, Cow<'static, str>)>,
}
