//! Frames: what the records of the framed wire hold.
//!
//! ```text
//! | kind and flags (1) | id (varint) | length (varint) | payload |
//! ```

use std::{error::Error, fmt};

use super::varint;

mod codes;
mod encode;

pub use codes::{CloseCode, ResetCode};
pub use encode::{
    TooLong, put_call, put_close, put_credit, put_data, put_drain, put_interim, put_ping, put_pong, put_reply,
    put_reset, put_trailers,
};

/// Plain bytes of a record, and so of the longest frame.
pub const MAX_FRAME: usize = 61_440;
/// Bytes of the text of a reset or a close, at most.
pub const MAX_TEXT: usize = 256;

const KIND: u8 = 0x0f;
const END: u8 = 0x10;
const ONE_WAY: u8 = 0x20;

const CALL: u8 = 1;
const REPLY: u8 = 2;
const INTERIM: u8 = 3;
const DATA: u8 = 4;
const TRAILERS: u8 = 5;
const RESET: u8 = 6;
const CREDIT: u8 = 7;
const PING: u8 = 8;
const PONG: u8 = 9;
const DRAIN: u8 = 10;
const CLOSE: u8 = 11;

/// A frame as it lies in its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Opens a stream, whose id is the number of calls before it on this connection, plus 1.
    Call {
        /// Milliseconds until nobody waits for it any more; 0 when there is no such limit.
        time_left: u32,
        /// No reply is wanted.
        one_way: bool,
        /// What the codec wrote.
        head: &'a [u8],
        /// The first piece of the body.
        body: &'a [u8],
        /// The body ends with this piece.
        end: bool,
    },
    /// The head of a reply.
    Reply {
        /// The id of the call.
        id: u32,
        /// What the codec wrote.
        head: &'a [u8],
        /// The first piece of the body.
        body: &'a [u8],
        /// The body ends with this piece.
        end: bool,
    },
    /// A head before the reply's.
    Interim {
        /// The id of the call.
        id: u32,
        /// What the codec wrote.
        head: &'a [u8],
    },
    /// A piece of a body.
    Data {
        /// The id of the call.
        id: u32,
        /// The piece; may be empty.
        body: &'a [u8],
        /// The body ends with this piece.
        end: bool,
    },
    /// The end of a body, and what the codec wrote to come behind it.
    Trailers {
        /// The id of the call.
        id: u32,
        /// What the codec wrote.
        trailers: &'a [u8],
    },
    /// The end of a stream, both ways.
    Reset {
        /// The id of the call.
        id: u32,
        /// Why.
        code: ResetCode,
        /// Why, for people.
        text: &'a [u8],
    },
    /// More body bytes may come.
    Credit {
        /// The id of the call, 0 for the connection.
        id: u32,
        /// How many more.
        bytes: u32,
    },
    /// Asks for a pong.
    Ping([u8; 8]),
    /// Answers a ping.
    Pong([u8; 8]),
    /// No more calls, please; or, from a client, no more calls.
    Drain,
    /// The last frame of its sender.
    Close {
        /// Why.
        code: CloseCode,
        /// The last call that its sender took.
        last: u32,
        /// Why, for people.
        text: &'a [u8],
    },
}

impl<'a> Frame<'a> {
    /// Takes the first frame from a record's plain bytes, which are not empty.
    ///
    /// # Errors
    ///
    /// The bytes are no frame. Frames behind it cannot be found: the connection has to end.
    pub fn take(record: &mut &'a [u8]) -> Result<Self, FrameError> {
        let (&first, rest) = record.split_first().ok_or(FrameError::Cut)?;
        let mut rest = rest;
        let id = varint::take(&mut rest).ok_or(FrameError::Cut)?;
        let length = varint::take(&mut rest).ok_or(FrameError::Cut)?;
        let (payload, rest) = rest.split_at_checked(length as usize).ok_or(FrameError::Cut)?;
        let kind = first & KIND;
        check_flags(kind, first & !KIND)?;
        check_id(kind, id)?;
        let frame = Self::read(first, id, payload).ok_or(FrameError::Payload { kind })?;
        *record = rest;
        Ok(frame)
    }

    fn read(first: u8, id: u32, mut payload: &'a [u8]) -> Option<Self> {
        let end = first & END != 0;
        Some(match first & KIND {
            CALL => {
                let time_left = varint::take(&mut payload)?;
                let (head, body) = head_and_body(payload)?;
                Self::Call { time_left, one_way: first & ONE_WAY != 0, head, body, end }
            }
            REPLY => {
                let (head, body) = head_and_body(payload)?;
                Self::Reply { id, head, body, end }
            }
            INTERIM => Self::Interim { id, head: payload },
            DATA => Self::Data { id, body: payload, end },
            TRAILERS => Self::Trailers { id, trailers: payload },
            RESET => {
                let (&code, text) = payload.split_first()?;
                Self::Reset { id, code: ResetCode::from_byte(code), text: short(text)? }
            }
            CREDIT => {
                let bytes = varint::take(&mut payload).filter(|_| payload.is_empty())?;
                Self::Credit { id, bytes }
            }
            PING => Self::Ping(payload.try_into().ok()?),
            PONG => Self::Pong(payload.try_into().ok()?),
            DRAIN => payload.is_empty().then_some(Self::Drain)?,
            CLOSE => {
                let (&code, mut rest) = payload.split_first()?;
                let last = varint::take(&mut rest)?;
                Self::Close { code: CloseCode::from_byte(code), last, text: short(rest)? }
            }
            _ => return None,
        })
    }
}

fn check_flags(kind: u8, flags: u8) -> Result<(), FrameError> {
    let (may, must) = match kind {
        CALL => (END | ONE_WAY, 0),
        REPLY | DATA => (END, 0),
        TRAILERS => (END, END),
        INTERIM | RESET..=CLOSE => (0, 0),
        _ => return Err(FrameError::Kind { kind }),
    };
    if flags & !may == 0 && flags & must == must { Ok(()) } else { Err(FrameError::Flags { kind, flags }) }
}

fn check_id(kind: u8, id: u32) -> Result<(), FrameError> {
    match (kind, id) {
        (CREDIT, _) | (CALL | PING..=CLOSE, 0) | (REPLY..=RESET, 1..) => Ok(()),
        _ => Err(FrameError::Id { kind, id }),
    }
}

fn head_and_body(mut payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = varint::take(&mut payload)?;
    payload.split_at_checked(length as usize)
}

fn short(text: &[u8]) -> Option<&[u8]> {
    (text.len() <= MAX_TEXT).then_some(text)
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// A number or the frame itself goes on past the end of its record, or a number is padded.
    Cut,
    /// No kind of frame.
    Kind {
        /// The kind.
        kind: u8,
    },
    /// Flags that this kind does not have, or lacks.
    Flags {
        /// The kind.
        kind: u8,
        /// The upper 4 bits.
        flags: u8,
    },
    /// An id that this kind does not have.
    Id {
        /// The kind.
        kind: u8,
        /// The id.
        id: u32,
    },
    /// A payload that this kind does not have.
    Payload {
        /// The kind.
        kind: u8,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Cut => {
                f.write_str("a frame is cut off at the end of its record, or a number in it is longer than needed")
            }
            Self::Kind { kind } => write!(f, "frames of kind {kind} do not exist"),
            Self::Flags { kind, flags } => write!(f, "a {} frame has the flags {flags:#04x}", name(kind)),
            Self::Id { kind, id } => write!(f, "a {} frame has the id {id}", name(kind)),
            Self::Payload { kind } => write!(f, "a {} frame has a payload of the wrong shape", name(kind)),
        }
    }
}

impl Error for FrameError {}

fn name(kind: u8) -> &'static str {
    const NAMES: [&str; 11] =
        ["call", "reply", "interim", "data", "trailers", "reset", "credit", "ping", "pong", "drain", "close"];
    NAMES.get(usize::from(kind).wrapping_sub(1)).unwrap_or(&"unknown")
}
