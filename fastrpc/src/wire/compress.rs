//! Compression of one direction: a single stream from the hello to the end of the connection.
//!
//! | [`Compression`] | stream |
//! |---|---|
//! | `None`   | the bytes as they are |
//! | `Flate`  | raw DEFLATE (RFC 1951), 32 KiB window kept throughout, a sync flush after each batch, never a final block |
//! | `Snappy` | the Snappy framing format: an identifier once, then chunks of at most 64 KiB, each on its own |
//!
//! A batch never depends on later bytes: what [`Encoder::encode`] appended can be decoded in full. Contexts take their
//! memory at the first byte: flate about 0.3 MB to encode and 60 KB to decode, snappy up to 0.1 MB either way.
//!
//! One window over the messages of several users lets whoever can place text in it, and see sizes, guess at the others'
//! secrets. Give such users connections of their own, or `None` or `Snappy`, whose chunks share nothing across batches.

use std::{error::Error, fmt, str::FromStr};

use bytes::BytesMut;

use self::{
    flate::{FlateDecoder, FlateEncoder},
    snappy::{SnappyDecoder, SnappyEncoder},
};

mod flate;
mod snappy;

/// How one direction is compressed. Each side chooses for what it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// DEFLATE at level 6: small, and the slowest of these.
    #[default]
    Flate,
    /// Snappy: many times quicker than flate, and a good deal larger.
    Snappy,
}

impl Compression {
    /// The byte that announces it in a hello: 0 flate, 1 none, 2 snappy.
    pub const fn wire_byte(self) -> u8 {
        match self {
            Self::Flate => 0,
            Self::None => 1,
            Self::Snappy => 2,
        }
    }

    /// What the byte of a hello announces, or `None` for a byte of unknown meaning.
    pub const fn from_wire_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Flate),
            1 => Some(Self::None),
            2 => Some(Self::Snappy),
            _ => None,
        }
    }
}

/// Its name: `none`, `flate` or `snappy`.
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Flate => "flate",
            Self::Snappy => "snappy",
        })
    }
}

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "none" => Ok(Self::None),
            "flate" => Ok(Self::Flate),
            "snappy" => Ok(Self::Snappy),
            _ => Err(UnknownCompression { name: name.to_owned() }),
        }
    }
}

/// A name that is no [`Compression`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCompression {
    name: String,
}

impl fmt::Display for UnknownCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown compression {:?}: choose none, flate or snappy", self.name)
    }
}

impl Error for UnknownCompression {}

/// Compresses one direction.
pub struct Encoder(Encode);

enum Encode {
    None,
    Flate(FlateEncoder),
    Snappy(SnappyEncoder),
}

impl Encoder {
    /// An encoder at the start of its stream.
    pub fn new(c: Compression) -> Self {
        Self(match c {
            Compression::None => Encode::None,
            Compression::Flate => Encode::Flate(FlateEncoder::default()),
            Compression::Snappy => Encode::Snappy(SnappyEncoder::default()),
        })
    }

    /// Compresses all of `plain` and appends it to `wire`, so that the peer can decode every byte of it at once.
    ///
    /// `plain` is left empty and ready for the next batch; an empty one appends nothing. Without compression and with
    /// an empty `wire` the two vectors change places and no byte is copied.
    pub fn encode(&mut self, plain: &mut Vec<u8>, wire: &mut Vec<u8>) {
        if plain.is_empty() {
            return;
        }
        match &mut self.0 {
            Encode::None if wire.is_empty() => std::mem::swap(plain, wire),
            Encode::None => wire.append(plain),
            Encode::Flate(flate) => flate.encode(plain, wire),
            Encode::Snappy(snappy) => snappy.encode(plain, wire),
        }
        plain.clear();
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Encode::None => "Encoder(none)",
            Encode::Flate(_) => "Encoder(flate)",
            Encode::Snappy(_) => "Encoder(snappy)",
        })
    }
}

/// Decompresses one direction, in steps of bounded size.
pub struct Decoder(Decode);

enum Decode {
    None,
    Flate(FlateDecoder),
    Snappy(SnappyDecoder),
}

/// Why [`Decoder::decode`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The input is used up, and all that can come out of it has.
    NeedInput,
    /// The room is used up. There may be more: call again, even without new input.
    Full,
    /// The stream says that it has ended. Nothing more comes; bytes after the end stay in the input.
    End,
}

impl Decoder {
    /// A decoder at the start of its stream.
    pub fn new(c: Compression) -> Self {
        Self(match c {
            Compression::None => Decode::None,
            Compression::Flate => Decode::Flate(FlateDecoder::default()),
            Compression::Snappy => Decode::Snappy(SnappyDecoder::default()),
        })
    }

    /// Whether wire bytes and plain bytes are the same, so that a reader may read into its plain buffer at once.
    pub fn is_identity(&self) -> bool {
        matches!(self.0, Decode::None)
    }

    /// Decodes from the front of `wire`, which advances past what was used, to the end of `plain`.
    ///
    /// At most `room` bytes are appended, whatever the input claims to hold; snappy, whose chunks are all or nothing,
    /// may pass `room` by one chunk less one byte (65 535 bytes). Input may be cut anywhere.
    ///
    /// # Errors
    ///
    /// The bytes are no stream of this kind. The stream is lost: neither the decoder nor the connection can go on.
    pub fn decode(&mut self, wire: &mut &[u8], plain: &mut BytesMut, room: usize) -> Result<Progress, DecodeError> {
        match &mut self.0 {
            Decode::None => Ok(copy(wire, plain, room)),
            Decode::Flate(flate) => flate.decode(wire, plain, room),
            Decode::Snappy(snappy) => snappy.decode(wire, plain, room),
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Decode::None => "Decoder(none)",
            Decode::Flate(_) => "Decoder(flate)",
            Decode::Snappy(_) => "Decoder(snappy)",
        })
    }
}

fn copy(wire: &mut &[u8], plain: &mut BytesMut, room: usize) -> Progress {
    let (taken, rest) = wire.split_at(wire.len().min(room));
    plain.extend_from_slice(taken);
    *wire = rest;
    if taken.len() == room { Progress::Full } else { Progress::NeedInput }
}

/// Bytes that cannot be decompressed.
#[derive(Debug)]
pub struct DecodeError(Fault);

#[derive(Debug)]
enum Fault {
    Flate(flate2::DecompressError),
    Snappy(snappy::Fault),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Fault::Flate(fault) => match fault.message() {
                Some(what) => write!(f, "flate stream: {what}"),
                None => f.write_str("flate stream: corrupt"),
            },
            Fault::Snappy(fault) => write!(f, "snappy stream: {fault}"),
        }
    }
}

impl Error for DecodeError {}
