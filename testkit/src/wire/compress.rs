//! The three codings of a stream, one flush at a time.

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::snappy;
use super::{Error, bad};

/// The codings of the classic wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Raw DEFLATE with a sync flush after each batch.
    Flate,
    /// The bytes as they are.
    None,
    /// The snappy framing format.
    Snappy,
}

impl Compression {
    /// All of them, for tests that run once for each.
    pub const ALL: [Self; 3] = [Self::None, Self::Flate, Self::Snappy];

    /// The byte that announces it in a hello.
    pub fn byte(self) -> u8 {
        match self {
            Self::Flate => 0,
            Self::None => 1,
            Self::Snappy => 2,
        }
    }

    /// The coding that a hello's byte announces.
    ///
    /// # Errors
    ///
    /// The byte is not 0, 1 or 2.
    pub fn from_byte(byte: u8) -> Result<Self, Error> {
        match byte {
            0 => Ok(Self::Flate),
            1 => Ok(Self::None),
            2 => Ok(Self::Snappy),
            other => Err(bad(format!("the hello announces compression {other}; known are 0, 1 and 2"))),
        }
    }

    /// Its name in options and file names: `flate`, `none` or `snappy`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flate => "flate",
            Self::None => "none",
            Self::Snappy => "snappy",
        }
    }
}

/// The sending end of one direction's stream.
#[derive(Debug)]
pub struct Compressor(Sender);

#[derive(Debug)]
enum Sender {
    None,
    Flate(Compress),
    Snappy { begun: bool },
}

impl Compressor {
    /// Starts a stream. Flate uses level 6.
    pub fn new(compression: Compression) -> Self {
        Self(match compression {
            Compression::None => Sender::None,
            Compression::Flate => Sender::Flate(Compress::new(flate2::Compression::new(6), false)),
            Compression::Snappy => Sender::Snappy { begun: false },
        })
    }

    /// Compresses `plain` and flushes, so that the peer can read all of it; returns what goes on the connection.
    pub fn flush(&mut self, plain: &[u8]) -> Vec<u8> {
        match &mut self.0 {
            Sender::None => plain.to_vec(),
            Sender::Flate(deflate) => deflate_flushed(deflate, plain),
            Sender::Snappy { begun } => {
                let mut out = if std::mem::replace(begun, true) { Vec::new() } else { snappy::IDENTIFIER.to_vec() };
                for block in plain.chunks(snappy::MAX_BLOCK) {
                    out.extend(snappy::best_chunk(block));
                }
                out
            }
        }
    }
}

/// Everything `plain` becomes, up to and including a sync flush.
fn deflate_flushed(deflate: &mut Compress, mut plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() / 2 + 64);
    loop {
        let before = deflate.total_in();
        deflate.compress_vec(plain, &mut out, FlushCompress::Sync).expect("deflate takes any bytes");
        let used = usize::try_from(deflate.total_in() - before).expect("no more than it was given");
        plain = &plain[used..];
        // Room left over means that the flush is complete, not only that the output was full.
        if plain.is_empty() && out.len() < out.capacity() {
            return out;
        }
        out.reserve(4096);
    }
}

/// The receiving end of one direction's stream: takes the bytes of the connection in any pieces.
#[derive(Debug)]
pub struct Decompressor {
    receiver: Receiver,
    left: usize,
}

#[derive(Debug)]
enum Receiver {
    None,
    Flate(Decompress),
    Snappy(snappy::Reader),
}

impl Decompressor {
    /// Starts a stream that may unpack to `limit` bytes altogether.
    pub fn new(compression: Compression, limit: usize) -> Self {
        let receiver = match compression {
            Compression::None => Receiver::None,
            Compression::Flate => Receiver::Flate(Decompress::new(false)),
            Compression::Snappy => Receiver::Snappy(snappy::Reader::default()),
        };
        Self { receiver, left: limit }
    }

    /// Takes the next bytes of the connection; returns all that can be read now.
    ///
    /// # Errors
    ///
    /// The coding is violated, the stream declares its own end (DEFLATE's final block), or it unpacks to more than the limit.
    pub fn push(&mut self, raw: &[u8]) -> Result<Vec<u8>, Error> {
        let plain = match &mut self.receiver {
            Receiver::None => raw.to_vec(),
            Receiver::Flate(inflate) => inflate_all(inflate, raw, self.left)?,
            Receiver::Snappy(reader) => reader.push(raw, self.left)?,
        };
        self.left = self.left.checked_sub(plain.len()).ok_or_else(over_limit)?;
        Ok(plain)
    }

    /// Whether the bytes so far could be the end of a batch: no snappy chunk is unfinished.
    pub fn at_boundary(&self) -> bool {
        match &self.receiver {
            Receiver::None | Receiver::Flate(_) => true,
            Receiver::Snappy(reader) => reader.at_boundary(),
        }
    }
}

fn inflate_all(inflate: &mut Decompress, mut raw: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(raw, &mut piece, FlushDecompress::None);
        let status = status.map_err(|error| bad(format!("the flate stream is damaged: {error}")))?;
        let used = usize::try_from(inflate.total_in() - before_in).expect("no more than it was given");
        let made = usize::try_from(inflate.total_out() - before_out).expect("no more than the piece");
        raw = &raw[used..];
        out.extend_from_slice(&piece[..made]);
        if out.len() > limit {
            return Err(over_limit());
        }
        if status == Status::StreamEnd {
            return Err(bad("the flate stream ends itself; on a connection it must go on"));
        }
        if raw.is_empty() && made < piece.len() || used == 0 && made == 0 {
            return Ok(out);
        }
    }
}

pub(super) fn over_limit() -> Error {
    bad("the stream unpacks to more than the limit")
}

/// Decompresses a whole recorded stream, as it was after the hello, to at most `limit` bytes.
///
/// # Errors
///
/// As [`Decompressor::push`]; also when the stream stops inside a snappy chunk, or a flate stream not at a flush.
pub fn decompress(compression: Compression, raw: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    let mut decompressor = Decompressor::new(compression, limit);
    let plain = decompressor.push(raw)?;
    if !decompressor.at_boundary() {
        return Err(Error::Incomplete("snappy chunk"));
    }
    if compression == Compression::Flate && !raw.is_empty() && !raw.ends_with(&[0, 0, 0xFF, 0xFF]) {
        return Err(Error::Incomplete("flate stream: no sync flush at its end"));
    }
    Ok(plain)
}
