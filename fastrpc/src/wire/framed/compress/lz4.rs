//! A stream of the LZ4 frame format: its header once, then one block a record, each linked to those before it.
//!
//! ```text
//! 04 22 4d 18 | 40 version 1, linked blocks, no checksums or sizes | 40 blocks of up to 64 KiB | c0 checksum of these two
//! length (4, little-endian; bit 31: the bytes are stored as they are) | block              ... and so on, without an end
//! ```
//!
//! Format: `lz4_Frame_format.md` of the LZ4 project.

use std::{fmt, io::Write, mem};

use lz4_flex::{
    block::{DecompressError, decompress_into_with_dict},
    frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo},
};

const HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x40, 0x40, 0xc0];
/// How far back a match can reach.
const WINDOW: usize = 64 << 10;
/// Marks a block that holds its plain bytes.
const STORED: u32 = 1 << 31;

/// Encodes; its memory comes with the first record.
pub(in crate::wire::framed) struct Lz4Encoder {
    frame: FrameEncoder<Vec<u8>>,
}

impl Lz4Encoder {
    pub(in crate::wire::framed) fn new() -> Self {
        let info = FrameInfo::new().block_mode(BlockMode::Linked).block_size(BlockSize::Max64KB);
        Self { frame: FrameEncoder::with_frame_info(info, Vec::new()) }
    }

    /// Appends the block of `plain`, which is 1 to 65,536 bytes, and before the first one the header.
    pub(in crate::wire::framed) fn encode(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        mem::swap(self.frame.get_mut(), wire);
        // It fails where its writer does, and a vector never does. A block is written when it is full or flushed.
        let written = self.frame.write_all(plain).and_then(|()| self.frame.flush());
        mem::swap(self.frame.get_mut(), wire);
        written.expect("lz4 takes any bytes");
    }
}

/// Decodes; its 128 KiB come with the first record.
#[derive(Default)]
pub(in crate::wire::framed) struct Lz4Decoder {
    /// The plain bytes before the next block, at least as many as matches reach. Empty: the header is still to come.
    history: Vec<u8>,
}

impl Lz4Decoder {
    /// Decodes the one block in `wire`, which has to fill `plain` exactly.
    pub(in crate::wire::framed) fn decode(&mut self, wire: &[u8], plain: &mut [u8]) -> Result<(), Fault> {
        let block = if self.history.is_empty() { wire.strip_prefix(&HEADER).ok_or(Fault::Header)? } else { wire };
        let (length, block) = block.split_first_chunk().ok_or(Fault::Cut)?;
        let length = u32::from_le_bytes(*length);
        if length == 0 {
            return Err(Fault::Ended);
        }
        let told = (length & !STORED) as usize;
        if told != block.len() {
            return Err(Fault::BlockLength { told, found: block.len() });
        }
        let made = if length & STORED == 0 {
            decompress_into_with_dict(block, plain, &self.history).map_err(Fault::Block)?
        } else {
            plain.get_mut(..told).ok_or(Fault::TooLong)?.copy_from_slice(block);
            told
        };
        if made < plain.len() {
            return Err(Fault::TooShort { made });
        }
        self.remember(plain);
        Ok(())
    }

    fn remember(&mut self, plain: &[u8]) {
        self.history.reserve_exact((2 * WINDOW).saturating_sub(self.history.len()));
        if self.history.len() + plain.len() > 2 * WINDOW {
            self.history.drain(..self.history.len() - WINDOW);
        }
        self.history.extend_from_slice(plain);
    }

    /// Bytes that it holds.
    pub(in crate::wire::framed) fn memory(&self) -> usize {
        self.history.capacity()
    }
}

/// What is wrong with a record.
#[derive(Debug)]
pub(in crate::wire::framed) enum Fault {
    Header,
    Cut,
    Ended,
    BlockLength { told: usize, found: usize },
    Block(DecompressError),
    TooLong,
    TooShort { made: usize },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("the stream does not begin with the header of linked blocks of up to 64 KiB"),
            Self::Cut => f.write_str("it is too short for a block"),
            Self::Ended => f.write_str("the frame ends, which it may not"),
            Self::BlockLength { told, found } => write!(f, "its block claims {told} bytes, the record has {found}"),
            Self::Block(DecompressError::OutputTooSmall { .. }) | Self::TooLong => {
                f.write_str("it holds more than its plain length")
            }
            Self::Block(fault) => write!(f, "corrupt block: {fault}"),
            Self::TooShort { made } => write!(f, "it holds {made} bytes, less than its plain length"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_as_the_encoder_writes_it() {
        let mut wire = Vec::new();
        Lz4Encoder::new().encode(b"x", &mut wire);
        assert_eq!(wire, [&HEADER[..], &[1, 0, 0, 0x80, b'x']].concat());
    }

    #[test]
    fn the_history_stays_within_its_bounds() {
        let (mut encoder, mut decoder) = (Lz4Encoder::new(), Lz4Decoder::default());
        for length in [1, 61_440, 5_000, 61_440, 61_440, 65_536, 65_536, 3] {
            let (batch, mut wire, mut plain) = (vec![b'x'; length], Vec::new(), vec![0; length]);
            encoder.encode(&batch, &mut wire);
            decoder.decode(&wire, &mut plain).unwrap();
            assert_eq!(plain, batch);
            assert_eq!(decoder.memory(), 2 * WINDOW);
        }
    }
}
