//! Records: batches of frames, compressed one after the other in the context of their direction.
//!
//! ```text
//! codec (1) | plain length (2) | wire length (2) | wire bytes                            integers are little-endian
//! ```
//!
//! Of the plain bytes nothing is known here but their number. Records go whole: what an encoder appended has to be sent, in
//! that order, for the decoder's context is the sum of all that went into the encoder's. Only raw records pass by it.
//!
//! One context over the messages of several users lets whoever can place text in it, and see sizes, guess at the others'
//! secrets. [`RecordEncoder::each_alone`] keeps each record to itself.

mod decode;
mod encode;
mod error;

pub use decode::{Accepts, RecordDecoder};
pub use encode::RecordEncoder;
pub use error::RecordError;

use error::Fault;

/// Bytes of a record's header.
pub const HEADER: usize = 5;
/// Most plain bytes of a record. Its wire bytes are at most 65,535: it gains nothing in the worst case, and loses little.
pub const MOST_PLAIN: usize = 61_440;

const RAW: u8 = 0;
const LZ4: u8 = 1;
const ZSTD: u8 = 2;

/// What stands in front of the wire bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    codec: u8,
    plain: u16,
    wire: u16,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let ([p0, p1], [w0, w1]) = (self.plain.to_le_bytes(), self.wire.to_le_bytes());
        [self.codec, p0, p1, w0, w1]
    }

    /// Reads a header and refuses what no record can be.
    fn parse([codec, p0, p1, w0, w1]: [u8; HEADER]) -> Result<Self, RecordError> {
        let header = Self { codec, plain: u16::from_le_bytes([p0, p1]), wire: u16::from_le_bytes([w0, w1]) };
        let Self { plain, wire, .. } = header;
        let fault = match codec {
            _ if usize::from(plain) > MOST_PLAIN => Fault::Oversized { plain },
            RAW if plain != wire => Fault::RawLengths { plain, wire },
            RAW | LZ4 if plain == 0 => Fault::Empty { codec },
            LZ4 | ZSTD if wire == 0 => Fault::Empty { codec },
            RAW | LZ4 | ZSTD => return Ok(header),
            _ => Fault::UnknownCodec { codec },
        };
        Err(fault.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_are_written() {
        for header in [
            Header { codec: RAW, plain: 61_440, wire: 61_440 },
            Header { codec: LZ4, plain: 1, wire: 65_535 },
            Header { codec: ZSTD, plain: 0, wire: 3 },
        ] {
            assert_eq!(Header::parse(header.to_bytes()).unwrap(), header);
        }
        assert_eq!(Header { codec: ZSTD, plain: 0x0201, wire: 0x0403 }.to_bytes(), [2, 1, 2, 3, 4]);
    }

    #[test]
    fn headers_that_cannot_be_are_refused() {
        for (codec, plain, wire, error) in [
            (RAW, 61_441, 61_441, "record: a plain length of 61441 bytes"),
            (ZSTD, 61_441, 10, "record: a plain length of 61441 bytes"),
            (RAW, 5, 6, "raw record: its lengths are 5 and 6"),
            (RAW, 0, 0, "raw record: it is empty"),
            (LZ4, 0, 11, "lz4 record: it is empty"),
            (LZ4, 5, 0, "lz4 record: it is empty"),
            (ZSTD, 5, 0, "zstd record: it is empty"),
            (3, 5, 5, "record: codec 3 is unknown"),
        ] {
            let text = Header::parse(Header { codec, plain, wire }.to_bytes()).unwrap_err().to_string();
            assert!(text.starts_with(error), "{text}");
        }
    }
}
