//! The frame that the serde codecs share, and how a failure looks in it.
//!
//! The format and its limits are told in the public modules of those codecs.

use std::{error::Error, fmt, marker::PhantomData, mem};

use bytes::{Buf, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

use super::{BoxError, Decoded, Failure};

/// Default of the largest message: 4 MiB.
pub(super) const DEFAULT_MAX_LEN: usize = 4 << 20;
/// Largest cap one can set, and the longest frame that is read past instead of ending the connection: 64 MiB.
pub(super) const LONGEST_SKIPPED: usize = 64 << 20;
/// Unfinished messages up to this length wait in the connection's buffer; longer ones are moved out as they come, so
/// that the connection's limit for undecoded bytes need not know of this codec's cap.
const WAITS_IN_INPUT: usize = 64 * 1024;
/// Most bytes of a failure's text.
const MAX_TEXT: usize = 1024;

const LEN: usize = 4;
/// The tag of a reply that is none of the failures.
const REPLY: u8 = 0;

/// Why a server could not give the reply that its type promises.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RemoteFailure {
    kind: FailureKind,
    text: String,
}

impl RemoteFailure {
    /// A failure for a caller to read. A `text` of more than 1 KiB arrives cut.
    pub fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// What went wrong, for a program.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// What went wrong, for people.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn of(failure: &Failure<'_>) -> Self {
        match failure {
            Failure::Overloaded { limit } => {
                Self::new(FailureKind::Overloaded, format!("all {limit} handlers are busy: try again later"))
            }
            Failure::Draining => Self::new(FailureKind::Draining, "the server is shutting down"),
            Failure::Panicked => Self::new(FailureKind::Panicked, "the handler panicked"),
            Failure::Unencodable(fault) => Self::new(FailureKind::Unencodable, format!("the reply: {fault}")),
        }
    }
}

impl fmt::Display for RemoteFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server failed ({:?}): {}", self.kind, self.text)
    }
}

impl Error for RemoteFailure {}

/// The first [`MAX_TEXT`] bytes of `text`, or a little less where that would cut a character.
fn shortened(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Kinds of [`RemoteFailure`]; the byte on the wire in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The server runs as many handlers as it may (1). The handler was not called.
    Overloaded,
    /// The handler panicked (2).
    Panicked,
    /// The handler's reply could not be encoded or was over the cap (3).
    Unencodable,
    /// The request could not be decoded or was over the cap (4). The handler was not called.
    BadRequest,
    /// The handler says so (5). The server itself never uses it.
    Handler,
    /// The server is shutting down (6). The handler was not called.
    Draining,
    /// A kind of a later version (any other byte but 0, which is no failure and goes out as [`Handler`](Self::Handler)).
    Other(u8),
}

impl FailureKind {
    fn byte(self) -> u8 {
        match self {
            Self::Overloaded => 1,
            Self::Panicked => 2,
            Self::Unencodable => 3,
            Self::BadRequest => 4,
            Self::Handler | Self::Other(REPLY) => 5,
            Self::Draining => 6,
            Self::Other(byte) => byte,
        }
    }

    fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::Overloaded,
            2 => Self::Panicked,
            3 => Self::Unencodable,
            4 => Self::BadRequest,
            5 => Self::Handler,
            6 => Self::Draining,
            other => Self::Other(other),
        }
    }
}

/// How values become bytes: the one thing in which the serde codecs differ.
pub(super) trait Format {
    fn write<T: Serialize>(value: &T, body: &mut Body<'_>) -> Result<(), BoxError>;
    /// Reads a value that takes up all of `bytes`, allocating no more than in proportion to them.
    fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BoxError>;
}

/// What decoding comes to; see [`Codec`](super::Codec).
type Taken<M, R> = Result<Option<Decoded<M, R>>, BoxError>;

/// Both directions of a codec over [`Format`] `F`.
pub(super) struct Frames<F> {
    max_len: usize,
    format: PhantomData<fn() -> F>,
}

impl<F> Clone for Frames<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Frames<F> {}

impl<F> fmt::Debug for Frames<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("max_len", &self.max_len).finish_non_exhaustive()
    }
}

impl<F: Format> Frames<F> {
    pub(super) fn new(max_len: usize) -> Self {
        Self { max_len: max_len.min(LONGEST_SKIPPED), format: PhantomData }
    }

    pub(super) fn encode_request<Req: Serialize>(&self, request: &Req, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.encode(out, |body| F::write(request, body))
    }

    pub(super) fn decode_request<Req: DeserializeOwned, Rep>(
        &self,
        partial: &mut Partial,
        input: &mut BytesMut,
    ) -> Taken<Req, Result<Rep, RemoteFailure>> {
        Ok(self.decode(partial, input, F::read)?.map(|request| match request {
            Ok(request) => Decoded::Message(request),
            Err(fault) => {
                Decoded::Refused(Err(RemoteFailure::new(FailureKind::BadRequest, format!("the request: {fault}"))))
            }
        }))
    }

    pub(super) fn encode_reply<Rep: Serialize>(
        &self,
        reply: &Result<Rep, RemoteFailure>,
        out: &mut Vec<u8>,
    ) -> Result<(), BoxError> {
        match reply {
            Ok(reply) => self.encode(out, |body| {
                body.put(&[REPLY])?;
                F::write(reply, body)
            }),
            // Always fits, whatever the cap: it tells of what did not.
            Err(RemoteFailure { kind, text }) => Self::new(1 + MAX_TEXT).encode(out, |body| {
                body.put(&[kind.byte()])?;
                Ok(body.put(shortened(text).as_bytes())?)
            }),
        }
    }

    pub(super) fn decode_reply<Rep: DeserializeOwned>(
        &self,
        partial: &mut Partial,
        input: &mut BytesMut,
    ) -> Taken<Result<Rep, RemoteFailure>, BoxError> {
        let read = |bytes: &[u8]| match bytes {
            [] => Err("an empty reply: the server must send a tag byte at least".into()),
            [REPLY, bytes @ ..] => F::read(bytes).map(Ok),
            [kind, text @ ..] => {
                let text = String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)]);
                Ok(Err(RemoteFailure::new(FailureKind::from_byte(*kind), text)))
            }
        };
        Ok(self.decode(partial, input, read)?.map(|reply| match reply {
            Ok(reply) => Decoded::Message(reply),
            Err(fault) => Decoded::Refused(format!("the reply: {fault}").into()),
        }))
    }

    /// Appends a frame around what `write` puts into its body.
    fn encode(
        &self,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Body<'_>) -> Result<(), BoxError>,
    ) -> Result<(), BoxError> {
        out.extend_from_slice(&[0; LEN]);
        let start = out.len();
        write(&mut Body { out, end: start + self.max_len, max: self.max_len })?;
        let [a, b, c, d, ..] = (out.len() - start).to_le_bytes();
        out[start - LEN..start].copy_from_slice(&[a, b, c, d]);
        Ok(())
    }

    /// Takes a frame from the front of `input`, with what `read` makes of its body or why it is refused.
    fn decode<T>(
        &self,
        partial: &mut Partial,
        input: &mut BytesMut,
        read: impl FnOnce(&[u8]) -> Result<T, BoxError>,
    ) -> Result<Option<Result<T, BoxError>>, BoxError> {
        if let State::Waiting = partial.0 {
            let Some(len) = input.first_chunk::<LEN>() else { return Ok(None) };
            let len = u32::from_le_bytes(*len) as usize;
            if len > LONGEST_SKIPPED {
                return Err(TooLong { len: Some(len), max: self.max_len }.into());
            }
            if len <= self.max_len && input.len() - LEN >= len {
                let value = read(&input[LEN..LEN + len]);
                input.advance(LEN + len);
                return Ok(Some(value));
            }
            if len > self.max_len {
                partial.0 = State::Skipping { len, left: len };
            } else if len > WAITS_IN_INPUT {
                partial.0 = State::Collecting { len, body: Vec::new() };
            } else {
                return Ok(None);
            }
            input.advance(LEN);
        }
        match &mut partial.0 {
            State::Waiting => Ok(None),
            State::Skipping { len, left } => {
                let skipped = input.len().min(*left);
                input.advance(skipped);
                *left -= skipped;
                if *left > 0 {
                    return Ok(None);
                }
                Ok(Some(Err(TooLong { len: Some(*len), max: self.max_len }.into())))
            }
            State::Collecting { len, body } => {
                let more = input.len().min(*len - body.len());
                body.extend_from_slice(&input[..more]);
                input.advance(more);
                if body.len() < *len {
                    return Ok(None);
                }
                Ok(Some(read(&mem::take(body))))
            }
        }
    }
}

/// What a serde codec remembers of a message that has not arrived whole.
#[derive(Debug, Default)]
pub struct Partial(State);

#[derive(Debug, Default)]
enum State {
    /// Whatever there is of it is still in the input.
    #[default]
    Waiting,
    /// It is over the cap; `left` of its `len` bytes are still to be read past.
    Skipping { len: usize, left: usize },
    /// The first part of its `len` bytes.
    Collecting { len: usize, body: Vec<u8> },
}

/// Where a [`Format`] writes: the end of the output, up to the cap.
pub(super) struct Body<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
    max: usize,
}

impl Body<'_> {
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if bytes.len() > self.end - self.out.len() {
            return Err(TooLong { len: None, max: self.max });
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

/// A message over the cap of a serde codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Unknown for one's own message: serializing it stops at the cap.
    len: Option<usize>,
    max: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len {
            Some(len) => write!(f, "{len} bytes long, at most {} are accepted", self.max)?,
            None => write!(f, "longer than the {} bytes that are allowed", self.max)?,
        }
        f.write_str(": raise `max_len` on both sides, or send it in parts")
    }
}

impl Error for TooLong {}
