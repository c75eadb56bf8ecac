//! The Snappy framing format, driven chunk by chunk.
//!
//! ```text
//! | kind (1) | length of what follows (3, little-endian) | ... |
//!   FF identifier  "sNaPpY", once before anything else; accepted again later
//!   00 compressed  masked CRC-32C of the plain bytes (4), one raw Snappy block
//!   01 plain       masked CRC-32C of the plain bytes (4), the bytes
//!   FE, 80..FD     skipped            02..7F  not to be skipped: an error
//! ```
//!
//! A chunk holds at most 65 536 plain bytes. Format: `framing_format.txt` of the Snappy project.

use std::{fmt, mem};

use bytes::BytesMut;
use snap::raw;

use super::{DecodeError, Fault as StreamFault, Progress};

const IDENTIFIER: u8 = 0xFF;
const COMPRESSED: u8 = 0x00;
const PLAIN: u8 = 0x01;

const MAGIC: &[u8; 6] = b"sNaPpY";
const HEADER: usize = 4;
const CHECKSUM: usize = 4;
/// Most plain bytes in a chunk.
const MAX_PLAIN: usize = 65_536;
/// Most bytes behind a chunk's header: the worst block that 65 536 bytes can become, and the checksum. Longer chunks
/// are refused whatever their kind, as every peer does.
const MAX_CHUNK: usize = 32 + MAX_PLAIN + MAX_PLAIN / 6 + CHECKSUM;

/// Encodes; its tables come with the first batch.
#[derive(Default)]
pub(super) struct SnappyEncoder {
    state: Option<Box<EncoderState>>,
}

struct EncoderState {
    block: raw::Encoder,
    /// A block lands here first: whether it goes out depends on its length.
    scratch: Vec<u8>,
}

impl SnappyEncoder {
    pub(super) fn encode(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        let state = self.state.get_or_insert_with(|| {
            put_header(wire, IDENTIFIER, MAGIC.len());
            wire.extend_from_slice(MAGIC);
            Box::new(EncoderState { block: raw::Encoder::new(), scratch: Vec::new() })
        });
        for chunk in plain.chunks(MAX_PLAIN) {
            state.put_chunk(chunk, wire);
        }
    }
}

impl EncoderState {
    fn put_chunk(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        let worst = raw::max_compress_len(plain.len());
        if self.scratch.len() < worst {
            self.scratch.resize(worst, 0);
        }
        // A block that gains less than an eighth is not worth the peer's time to decode.
        let (kind, body) = match self.block.compress(plain, &mut self.scratch) {
            Ok(len) if len < plain.len() - plain.len() / 8 => (COMPRESSED, &self.scratch[..len]),
            _ => (PLAIN, plain),
        };
        wire.reserve(HEADER + CHECKSUM + body.len());
        put_header(wire, kind, CHECKSUM + body.len());
        wire.extend_from_slice(&masked_crc(plain).to_le_bytes());
        wire.extend_from_slice(body);
    }
}

/// Appends a chunk's header; `len` is at most [`MAX_CHUNK`].
fn put_header(wire: &mut Vec<u8>, kind: u8, len: usize) {
    let [low, mid, high, ..] = len.to_le_bytes();
    wire.extend_from_slice(&[kind, low, mid, high]);
}

/// The checksum as the format stores it: rotated and shifted, so that data with checksums inside checks well.
fn masked_crc(plain: &[u8]) -> u32 {
    crc32c::crc32c(plain).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// Decodes. Keeps at most one unfinished chunk.
#[derive(Default)]
pub(super) struct SnappyDecoder {
    identified: bool,
    /// Bytes of a skipped chunk that are still to come.
    skip: usize,
    /// The beginning of a chunk, header included, whose end has not arrived.
    held: Vec<u8>,
    block: raw::Decoder,
}

impl SnappyDecoder {
    pub(super) fn decode(
        &mut self,
        wire: &mut &[u8],
        plain: &mut BytesMut,
        room: usize,
    ) -> Result<Progress, DecodeError> {
        let full = plain.len().saturating_add(room);
        while plain.len() < full {
            if !self.step(wire, plain).map_err(|fault| DecodeError(StreamFault::Snappy(fault)))? {
                return Ok(Progress::NeedInput);
            }
        }
        Ok(Progress::Full)
    }

    /// Takes one chunk, or says false when its end is not there yet; then `wire` is used up.
    fn step(&mut self, wire: &mut &[u8], plain: &mut BytesMut) -> Result<bool, Fault> {
        self.skip -= take(wire, self.skip).len();

        // The header comes first, either in front of `wire` or, begun earlier, in `held`.
        if !self.held.is_empty() {
            top_up(&mut self.held, wire, HEADER);
        }
        let front = if self.held.is_empty() { *wire } else { &self.held };
        let Some(&header) = front.first_chunk::<HEADER>() else {
            self.held.extend_from_slice(take(wire, HEADER));
            return Ok(false);
        };
        let chunk = Chunk::parse(header, self.identified)?;
        if chunk.is_skipped() {
            if self.held.is_empty() {
                take(wire, HEADER);
            }
            self.held.clear();
            self.skip = chunk.len;
            return Ok(true);
        }

        let whole = HEADER + chunk.len;
        if self.held.is_empty() && wire.len() >= whole {
            self.accept(chunk.kind, &take(wire, whole)[HEADER..], plain)?;
            return Ok(true);
        }
        top_up(&mut self.held, wire, whole);
        if self.held.len() < whole {
            return Ok(false);
        }
        let mut held = mem::take(&mut self.held);
        self.accept(chunk.kind, &held[HEADER..], plain)?;
        held.clear();
        self.held = held; // keeps its capacity
        Ok(true)
    }

    /// Checks a whole chunk, of a kind and length that [`Chunk::parse`] let pass, and appends what it holds.
    fn accept(&mut self, kind: u8, body: &[u8], plain: &mut BytesMut) -> Result<(), Fault> {
        if kind == IDENTIFIER {
            self.identified = body == MAGIC;
            return if self.identified { Ok(()) } else { Err(Fault::WrongMagic) };
        }
        let (crc, data) = body.split_first_chunk::<CHECKSUM>().ok_or(Fault::Length { kind, len: body.len() })?;
        let start = plain.len();
        if kind == PLAIN {
            plain.extend_from_slice(data);
        } else {
            let len = raw::decompress_len(data).map_err(Fault::Block)?;
            if len > MAX_PLAIN {
                return Err(Fault::TooMuch { len });
            }
            plain.resize(start + len, 0);
            if let Err(fault) = self.block.decompress(data, &mut plain[start..]) {
                plain.truncate(start);
                return Err(Fault::Block(fault));
            }
        }
        let (told, found) = (u32::from_le_bytes(*crc), masked_crc(&plain[start..]));
        if told != found {
            plain.truncate(start);
            return Err(Fault::Checksum { told, found });
        }
        Ok(())
    }
}

/// What a header announces.
struct Chunk {
    kind: u8,
    len: usize,
}

impl Chunk {
    /// Reads a header and refuses what can be refused before the chunk itself is there.
    fn parse([kind, low, mid, high]: [u8; HEADER], identified: bool) -> Result<Self, Fault> {
        let len = u32::from_le_bytes([low, mid, high, 0]) as usize;
        if !identified && kind != IDENTIFIER {
            return Err(Fault::NoIdentifier { kind });
        }
        let lengths = match kind {
            IDENTIFIER => MAGIC.len()..=MAGIC.len(),
            COMPRESSED => CHECKSUM + 1..=MAX_CHUNK,
            PLAIN => CHECKSUM..=CHECKSUM + MAX_PLAIN,
            0x80.. => 0..=MAX_CHUNK,
            _ => return Err(Fault::UnknownKind { kind }),
        };
        if lengths.contains(&len) { Ok(Self { kind, len }) } else { Err(Fault::Length { kind, len }) }
    }

    fn is_skipped(&self) -> bool {
        (0x80..IDENTIFIER).contains(&self.kind)
    }
}

/// Takes up to `count` bytes from the front of `wire`.
fn take<'a>(wire: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = wire.split_at(wire.len().min(count));
    *wire = rest;
    taken
}

/// Moves bytes from the front of `wire` to `held` until that has `len` of them or `wire` is empty.
fn top_up(held: &mut Vec<u8>, wire: &mut &[u8], len: usize) {
    held.extend_from_slice(take(wire, len.saturating_sub(held.len())));
}

/// What is wrong with a stream.
#[derive(Debug)]
pub(super) enum Fault {
    NoIdentifier { kind: u8 },
    WrongMagic,
    UnknownKind { kind: u8 },
    Length { kind: u8, len: usize },
    TooMuch { len: usize },
    Block(snap::Error),
    Checksum { told: u32, found: u32 },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIdentifier { kind } => write!(f, "begins with chunk kind {kind:#04x} instead of its identifier"),
            Self::WrongMagic => f.write_str("its identifier is not \"sNaPpY\""),
            Self::UnknownKind { kind } => write!(f, "chunk kind {kind:#04x} is unknown and may not be skipped"),
            Self::Length { kind, len } => write!(f, "a chunk of kind {kind:#04x} cannot be {len} bytes long"),
            Self::TooMuch { len } => write!(f, "a chunk claims {len} plain bytes, {MAX_PLAIN} are allowed"),
            Self::Block(fault) => write!(f, "corrupt block: {fault}"),
            Self::Checksum { told, found } => write!(f, "checksum {found:#010x} where the chunk says {told:#010x}"),
        }
    }
}
