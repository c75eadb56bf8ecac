//! Records that cannot be.

use std::{error::Error, fmt};

use super::{LZ4, MOST_PLAIN, RAW, ZSTD};
use crate::wire::framed::compress::{lz4, zstd};

/// A record that cannot be decoded. The stream is lost, and the connection has to be closed (code 3, compression): decoder
/// and encoder no longer have the same context.
#[derive(Debug)]
pub struct RecordError(Fault);

#[derive(Debug)]
pub(super) enum Fault {
    UnknownCodec { codec: u8 },
    NotAccepted { codec: u8 },
    Oversized { plain: u16 },
    RawLengths { plain: u16, wire: u16 },
    Empty { codec: u8 },
    EndsNothing,
    Lz4(lz4::Fault),
    Zstd(zstd::Fault),
    Lost,
}

impl From<Fault> for RecordError {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Fault::UnknownCodec { codec } => write!(f, "record: codec {codec} is unknown; close the connection"),
            Fault::NotAccepted { codec } => {
                write!(f, "{} record: our settings do not name this codec; the peer has to send raw", name(*codec))
            }
            Fault::Oversized { plain } => {
                write!(
                    f,
                    "record: a plain length of {plain} bytes, {MOST_PLAIN} are allowed; the peer has to cut its batches"
                )
            }
            Fault::RawLengths { plain, wire } => {
                write!(f, "raw record: its lengths are {plain} and {wire}; they have to be equal")
            }
            Fault::Empty { codec } => write!(f, "{} record: it is empty, which it may not be", name(*codec)),
            Fault::EndsNothing => {
                f.write_str("zstd record: without plain bytes it has to end the frame of those before it, and does not")
            }
            Fault::Lz4(fault) => write!(f, "lz4 record: {fault}"),
            Fault::Zstd(fault) => write!(f, "zstd record: {fault}"),
            Fault::Lost => f.write_str("record: one before it could not be decoded; close the connection"),
        }
    }
}

impl Error for RecordError {}

/// The name of a codec that is known.
fn name(codec: u8) -> &'static str {
    match codec {
        RAW => "raw",
        LZ4 => "lz4",
        ZSTD => "zstd",
        _ => "unknown",
    }
}
