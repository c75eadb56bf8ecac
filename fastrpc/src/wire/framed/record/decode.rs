//! Records into batches.

use std::fmt;

use bytes::{Buf, BytesMut};

use super::{Fault, HEADER, Header, LZ4, RAW, RecordError};
use crate::wire::framed::compress::{lz4::Lz4Decoder, zstd::ZstdDecoder};

/// The largest zstd context that outlives its frame, in bytes: that of a window of 32 KiB. Messages that go each alone have
/// windows hardly larger than themselves, and to make a context anew takes longer than to decode most of them.
const KEPT: usize = 256 << 10;

/// What a side decodes, as its settings tell the peer. Raw records always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// Records of codec 1.
    pub lz4: bool,
    /// Records of codec 2.
    pub zstd: bool,
    /// Log2 of the largest zstd window, 10 to 27: what a context may take, but for 478 KiB.
    pub window_log: u8,
}

impl Default for Accepts {
    /// All, with windows of up to 4 MiB.
    fn default() -> Self {
        Self { lz4: true, zstd: true, window_log: 22 }
    }
}

/// Reads the records of one direction.
///
/// A context takes its memory at the first record that needs it. When a zstd frame ends it is given back, unless it is 256
/// KiB or less, as for most messages that go each alone.
pub struct RecordDecoder {
    accepts: Accepts,
    /// A frame is open in it, or it is a small one and kept.
    zstd: Option<ZstdDecoder>,
    lz4: Lz4Decoder,
    lost: bool,
}

impl RecordDecoder {
    /// A decoder at the start of its direction.
    pub fn new(accepts: Accepts) -> Self {
        let accepts = Accepts { window_log: accepts.window_log.clamp(10, 27), ..accepts };
        Self { accepts, zstd: None, lz4: Lz4Decoder::default(), lost: false }
    }

    /// Takes the record at the front of `input`, if all of it is there, and appends its plain bytes to `plain`.
    ///
    /// Returns how many these are, at most [`MOST_PLAIN`](super::MOST_PLAIN); 0 for a record that does nothing but end a
    /// zstd frame. `None`: bytes are missing, and how many [`RecordDecoder::missing`] tells; `input` is left as it is.
    /// A header is refused before its bytes are there.
    ///
    /// When `plain` is empty it becomes the bytes of a raw record where they lie, in the memory of `input`; otherwise
    /// they are copied.
    ///
    /// # Errors
    ///
    /// The bytes are no record, or one that these settings or the records before it do not allow. `plain` is left as it
    /// was; the decoder is lost and refuses all that follows.
    pub fn decode(&mut self, input: &mut BytesMut, plain: &mut BytesMut) -> Result<Option<usize>, RecordError> {
        let before = plain.len();
        let decoded = self.try_decode(input, plain);
        if decoded.is_err() {
            plain.truncate(before);
            self.lost = true;
        }
        decoded
    }

    /// How many bytes `input` lacks for the record at its front: 0 when that is whole; when its header is not there yet,
    /// what that lacks.
    pub fn missing(input: &[u8]) -> usize {
        let whole = input.first_chunk().map_or(HEADER, |&[_, _, _, low, high]: &[u8; HEADER]| {
            HEADER + usize::from(u16::from_le_bytes([low, high]))
        });
        whole.saturating_sub(input.len())
    }

    /// Bytes that its contexts hold. [`RecordCodec::decode_memory`](crate::wire::framed::codec::RecordCodec::decode_memory)
    /// says what they will at most.
    pub fn memory(&self) -> usize {
        self.lz4.memory() + self.zstd.as_ref().map_or(0, ZstdDecoder::memory)
    }

    fn try_decode(&mut self, input: &mut BytesMut, plain: &mut BytesMut) -> Result<Option<usize>, RecordError> {
        if self.lost {
            return Err(Fault::Lost.into());
        }
        let Some(&header) = input.first_chunk() else { return Ok(None) };
        let header = self.check(header)?;
        let (length, wire_length) = (usize::from(header.plain), usize::from(header.wire));
        let Some(wire) = input.get(HEADER..HEADER + wire_length) else { return Ok(None) };
        match header.codec {
            RAW => {
                input.advance(HEADER);
                take_raw(input.split_to(wire_length), plain);
                return Ok(Some(length));
            }
            LZ4 => self.decode_lz4(wire, length, plain)?,
            _ => self.decode_zstd(wire, length, plain)?,
        }
        input.advance(HEADER + wire_length);
        Ok(Some(length))
    }

    /// Reads a header and refuses what can be refused before the wire bytes are there.
    fn check(&self, header: [u8; HEADER]) -> Result<Header, RecordError> {
        let header = Header::parse(header)?;
        let codec = header.codec;
        let accepted = match codec {
            RAW => true,
            LZ4 => self.accepts.lz4,
            _ => self.accepts.zstd,
        };
        if !accepted {
            return Err(Fault::NotAccepted { codec }.into());
        }
        if header.plain == 0 && !self.zstd.as_ref().is_some_and(ZstdDecoder::in_frame) {
            return Err(Fault::EndsNothing.into());
        }
        Ok(header)
    }

    fn decode_lz4(&mut self, wire: &[u8], length: usize, plain: &mut BytesMut) -> Result<(), RecordError> {
        let start = plain.len();
        plain.resize(start + length, 0);
        self.lz4.decode(wire, &mut plain[start..]).map_err(|fault| Fault::Lz4(fault).into())
    }

    fn decode_zstd(&mut self, wire: &[u8], length: usize, plain: &mut BytesMut) -> Result<(), RecordError> {
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(ZstdDecoder::new(self.accepts.window_log).map_err(Fault::Zstd)?),
        };
        let start = plain.len();
        plain.resize(start + length + 1, 0);
        zstd.decode(wire, &mut plain[start..]).map_err(Fault::Zstd)?;
        plain.truncate(start + length);
        match zstd.in_frame() {
            true if length == 0 => return Err(Fault::EndsNothing.into()),
            false if zstd.memory() > KEPT => self.zstd = None,
            _ => {}
        }
        Ok(())
    }
}

impl fmt::Debug for RecordDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = if self.lost { ", lost" } else { "" };
        write!(f, "RecordDecoder({} bytes{lost})", self.memory())
    }
}

fn take_raw(bytes: BytesMut, plain: &mut BytesMut) {
    if plain.is_empty() {
        *plain = bytes;
    } else {
        plain.extend_from_slice(&bytes);
    }
}
