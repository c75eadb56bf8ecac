//! Batches into records.

use std::{fmt, mem};

use super::{HEADER, Header, LZ4, MOST_PLAIN, RAW, ZSTD};
use crate::wire::framed::{
    codec::{RecordCodec, ZstdParameters},
    compress::{lz4::Lz4Encoder, zstd::ZstdEncoder},
};

/// Writes the records of one direction.
///
/// Its contexts take their memory at their first record. Memory that cannot be had panics, as with any allocation.
pub struct RecordEncoder {
    codec: RecordCodec,
    most_window_log: u8,
    each_alone: bool,
    /// Of the present setting. A frame is open in it, or it is kept for the next record that goes alone.
    zstd: Option<ZstdEncoder>,
    /// Kept through other settings: its stream never ends, so there is no second beginning.
    lz4: Option<Lz4Encoder>,
}

impl RecordEncoder {
    /// An encoder at the start of its direction, for a peer that decodes windows of up to 2^`most_window_log` bytes, 10 to
    /// 27 (its settings say so; 22 when they do not). A setting with a larger window keeps to that.
    ///
    /// The peer has to accept the codec. Until its settings are known, use [`RecordCodec::None`].
    pub fn new(codec: RecordCodec, most_window_log: u8) -> Self {
        Self { codec, most_window_log: most_window_log.clamp(10, 27), each_alone: false, zstd: None, lz4: None }
    }

    /// Keeps each record to itself: its zstd frame ends with it, so that sizes tell nothing of other records. With one
    /// message a record this costs much of what compression gains. lz4, whose stream does not end, goes raw then.
    #[must_use]
    pub fn each_alone(self) -> Self {
        Self { each_alone: true, ..self }
    }

    /// The present setting.
    pub fn codec(&self) -> RecordCodec {
        self.codec
    }

    /// Appends the record of a batch, 1 to [`MOST_PLAIN`] bytes, to `wire`; raw if nothing is compressed.
    ///
    /// # Panics
    ///
    /// The batch is empty or too long.
    pub fn encode(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        match (self.codec, self.codec.zstd()) {
            (_, Some(parameters)) => {
                let parameters = self.for_peer(parameters);
                let zstd = self.zstd.get_or_insert_with(|| ZstdEncoder::new(parameters));
                let encode = if self.each_alone { ZstdEncoder::encode_last } else { ZstdEncoder::encode };
                put_record(ZSTD, plain, wire, |wire| encode(zstd, plain, wire));
            }
            (RecordCodec::Lz4, _) if !self.each_alone => {
                let lz4 = self.lz4.get_or_insert_with(Lz4Encoder::new);
                put_record(LZ4, plain, wire, |wire| lz4.encode(plain, wire));
            }
            _ => self.encode_raw(plain, wire),
        }
    }

    /// Appends the record of a batch, 1 to [`MOST_PLAIN`] bytes, as it is and past the context: for what does not compress
    /// ([`looks_incompressible`](crate::wire::framed::codec::looks_incompressible)), or must not share a context.
    ///
    /// # Panics
    ///
    /// The batch is empty or too long.
    pub fn encode_raw(&self, plain: &[u8], wire: &mut Vec<u8>) {
        put_record(RAW, plain, wire, |wire| wire.extend_from_slice(plain));
    }

    /// Ends the zstd frame, for a direction that is idle: its memory is given back here at once and over there when the
    /// record arrives that this appends. Without an open frame there is no such record. lz4 keeps its memory.
    pub fn end_context(&mut self, wire: &mut Vec<u8>) {
        if let Some(mut zstd) = self.zstd.take()
            && zstd.in_frame()
        {
            put(ZSTD, 0, wire, |wire| zstd.encode_last(&[], wire));
        }
    }

    /// Changes the setting from the next record on. A zstd frame ends first, as by [`RecordEncoder::end_context`].
    pub fn change(&mut self, codec: RecordCodec, wire: &mut Vec<u8>) {
        if mem::replace(&mut self.codec, codec) != codec {
            self.end_context(wire);
        }
    }

    /// Bytes that its contexts hold. [`RecordCodec::encode_memory`] says what they will at most.
    pub fn memory(&self) -> usize {
        let lz4 = if self.lz4.is_some() { RecordCodec::Lz4.encode_memory() } else { 0 };
        lz4 + self.zstd.as_ref().map_or(0, ZstdEncoder::memory)
    }

    fn for_peer(&self, parameters: ZstdParameters) -> ZstdParameters {
        ZstdParameters { window_log: parameters.window_log.min(self.most_window_log), ..parameters }
    }
}

impl fmt::Debug for RecordEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alone = if self.each_alone { ", each alone" } else { "" };
        write!(f, "RecordEncoder({}{alone}, {} bytes)", self.codec, self.memory())
    }
}

/// Appends the record of a batch; `body` appends its wire bytes.
fn put_record(codec: u8, plain: &[u8], wire: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let length = plain.len();
    assert!((1..=MOST_PLAIN).contains(&length), "a record takes 1 to {MOST_PLAIN} bytes, not {length}: cut the batch");
    put(codec, length, wire, body);
}

/// Appends a record; `body` appends its wire bytes, whose length the header has to wait for.
fn put(codec: u8, plain: usize, wire: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = wire.len();
    wire.extend_from_slice(&[0; HEADER]);
    body(wire);
    let length = |length: usize| u16::try_from(length).expect("no codec makes more than 65,535 bytes of 61,440");
    let header = Header { codec, plain: length(plain), wire: length(wire.len() - start - HEADER) };
    wire[start..start + HEADER].copy_from_slice(&header.to_bytes());
}
