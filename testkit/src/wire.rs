//! A second reader and writer of the classic wire.
//!
//! It is simple where the crates under test are fast: it works on whole byte strings, and it is strict, so that what
//! passes here is what the wire promises. Writers write what they are told, right or wrong, so that a test can play any
//! peer byte for byte.
//!
//! ```
//! use testkit::wire::{Compression, Compressor, Hello, HttpRequest, decompress, frame, http, read_frames};
//!
//! let mut said = Hello::http(Compression::Snappy).bytes();
//! let mut compressor = Compressor::new(Compression::Snappy);
//! said.extend(compressor.flush(&frame(1, &HttpRequest::new("GET", "/").header("Host", "example.com").bytes())));
//!
//! let (hello, stream) = Hello::read(b"httpteleport", &said)?;
//! let plain = decompress(hello.compression()?, stream, 1 << 20)?;
//! let frames = read_frames(&plain, http::read_request)?;
//! assert_eq!((frames[0].id, frames[0].message.target.as_str()), (1, "/"));
//! # Ok::<(), testkit::wire::Error>(())
//! ```

mod compress;
mod frames;
mod hello;
pub mod http;
mod snappy;
pub mod tlv;

pub use compress::{Compression, Compressor, Decompressor, decompress};
pub use frames::{Frame, frame, read_frame, read_frames, read_http_replies};
pub use hello::Hello;
pub use http::{HttpReply, HttpRequest};
pub use snappy::{IDENTIFIER as SNAPPY_IDENTIFIER, chunk as snappy_chunk};
pub use tlv::{TlvReply, TlvRequest};

/// Why bytes could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// They stop too early, in the part named: more bytes could make them right.
    Incomplete(&'static str),
    /// They are wrong, whatever follows.
    Bad(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Incomplete(part) => write!(f, "the bytes stop in the {part}"),
            Self::Bad(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

/// Makes an [`Error::Bad`] of anything that can be said.
fn bad(what: impl Into<String>) -> Error {
    Error::Bad(what.into())
}

/// Cuts `len` bytes off the front of `bytes`; `part` names them if they are not all there.
fn take<'a>(bytes: &mut &'a [u8], len: usize, part: &'static str) -> Result<&'a [u8], Error> {
    let (head, tail) = bytes.split_at_checked(len).ok_or(Error::Incomplete(part))?;
    *bytes = tail;
    Ok(head)
}

/// Cuts a little-endian u32 off the front of `bytes`.
fn take_u32(bytes: &mut &[u8], part: &'static str) -> Result<u32, Error> {
    let (head, tail) = bytes.split_first_chunk::<4>().ok_or(Error::Incomplete(part))?;
    *bytes = tail;
    Ok(u32::from_le_bytes(*head))
}
