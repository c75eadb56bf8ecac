//! The snappy framing format, chunk by chunk. Source: framing_format.txt of google/snappy.

use super::compress::over_limit;
use super::{Error, bad};

/// The first chunk of every stream.
pub const IDENTIFIER: &[u8] = b"\xFF\x06\x00\x00sNaPpY";

/// The most plain bytes that a chunk may hold.
pub(super) const MAX_BLOCK: usize = 65536;

const COMPRESSED: u8 = 0x00;
const PLAIN: u8 = 0x01;
const STREAM_IDENTIFIER: u8 = 0xFF;

/// A chunk of any type with `payload` as it is, for peers that send what nobody should.
///
/// # Panics
///
/// `payload` is longer than the 24-bit length can say.
pub fn chunk(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).ok().filter(|len| *len < 1 << 24).expect("a chunk is under 16 MiB");
    let [a, b, c, _] = len.to_le_bytes();
    [&[kind, a, b, c], payload].concat()
}

/// `block` as a chunk: compressed if that saves at least an eighth, else plain.
pub(super) fn best_chunk(block: &[u8]) -> Vec<u8> {
    let compressed = snap::raw::Encoder::new().compress_vec(block).expect("a block is at most 64 KiB");
    let checksum = masked_crc(block).to_le_bytes();
    if compressed.len() < block.len() - block.len() / 8 {
        chunk(COMPRESSED, &[&checksum, &compressed[..]].concat())
    } else {
        chunk(PLAIN, &[&checksum, block].concat())
    }
}

/// The checksum of a chunk: CRC-32C, rotated and offset as the format says.
fn masked_crc(block: &[u8]) -> u32 {
    crc32c::crc32c(block).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// Walks over the chunks of a stream that comes in any pieces.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pending: Vec<u8>,
    begun: bool,
}

impl Reader {
    pub(super) fn at_boundary(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn push(&mut self, raw: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
        self.pending.extend_from_slice(raw);
        let pending = std::mem::take(&mut self.pending);
        let mut rest = &pending[..];
        let mut out = Vec::new();
        while let Some((kind, payload, tail)) = split_chunk(rest) {
            self.read_chunk(kind, payload, &mut out)?;
            if out.len() > limit {
                return Err(over_limit());
            }
            rest = tail;
        }
        self.pending = rest.to_vec();
        Ok(out)
    }

    fn read_chunk(&mut self, kind: u8, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        if !self.begun && kind != STREAM_IDENTIFIER {
            return Err(bad(format!("the snappy stream begins with a chunk of type {kind:#04x}, not its identifier")));
        }
        self.begun = true;
        match kind {
            STREAM_IDENTIFIER if payload == b"sNaPpY" => Ok(()),
            STREAM_IDENTIFIER => Err(bad("the snappy stream identifier is not sNaPpY")),
            COMPRESSED | PLAIN => {
                let (checksum, body) = payload
                    .split_first_chunk::<4>()
                    .ok_or_else(|| bad("a snappy chunk has no room for its checksum"))?;
                let block = if kind == COMPRESSED { unpack(body)? } else { body.to_vec() };
                if block.len() > MAX_BLOCK {
                    return Err(bad(format!("a snappy chunk holds {} bytes; {MAX_BLOCK} are allowed", block.len())));
                }
                if masked_crc(&block) != u32::from_le_bytes(*checksum) {
                    return Err(bad("the checksum of a snappy chunk is wrong"));
                }
                out.extend_from_slice(&block);
                Ok(())
            }
            0x02..=0x7F => Err(bad(format!("a snappy chunk of type {kind:#04x} may not be skipped"))),
            0x80..=0xFE => Ok(()),
        }
    }
}

/// The first chunk of `bytes` if it is there whole: its type, its payload, what follows.
fn split_chunk(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, a, b, c], rest) = bytes.split_first_chunk::<4>()?;
    let len = u32::from_le_bytes([a, b, c, 0]) as usize;
    let (payload, tail) = rest.split_at_checked(len)?;
    Some((kind, payload, tail))
}

fn unpack(body: &[u8]) -> Result<Vec<u8>, Error> {
    let damaged = |error| bad(format!("a snappy chunk is damaged: {error}"));
    let len = snap::raw::decompress_len(body).map_err(damaged)?;
    if len > MAX_BLOCK {
        return Err(bad(format!("a snappy chunk claims {len} bytes; {MAX_BLOCK} are allowed")));
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(damaged)
}
