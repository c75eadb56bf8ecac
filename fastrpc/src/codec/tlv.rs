//! Name and value in, value out: the simplest codec that is of use, and the quickest.
//!
//! ```text
//! request:  | len (4) | name | len (4) | value |
//! reply:    | len (4) | value |
//! ```
//!
//! Lengths are little-endian and at most 1 MiB each. Any bytes may be in a name or a value, none at all too. The Go
//! package `fastrpc/tlv` speaks the same.
//!
//! # Kept values pin their chunk
//!
//! A decoded name or value is no copy: it shares the chunk it was read in (16 KiB or more) with its neighbours, and the
//! chunk lives until the last of them is dropped. That is right for what is used and dropped. What goes into a cache or
//! a map should be copied first: `Bytes::copy_from_slice(&request.value)`.

use std::{error::Error, fmt, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};

use super::{BoxError, Codec, Decoded, Failure};

/// Most bytes of a name or a value on this wire: 1 MiB.
pub const MAX_LEN: usize = 1 << 20;

/// Bytes of a length.
const LEN: usize = 4;

/// What a client asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Request {
    /// What is wanted, in whatever terms client and server agreed on.
    pub name: Bytes,
    /// What it is wanted of.
    pub value: Bytes,
}

impl Request {
    /// A request of `name` with `value`.
    pub fn new(name: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// What a server answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reply {
    /// The answer.
    pub value: Bytes,
}

impl Reply {
    /// A reply with `value`.
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self { value: value.into() }
    }
}

impl<T: Into<Bytes>> From<T> for Reply {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

/// The codec of [`Request`] and [`Reply`]. Cheap to clone.
///
/// A length over the limit is an error on both ends: on encoding the call fails, on decoding the connection ends. An
/// unfinished message waits in the connection's buffer, so `max_undecoded` must hold the largest one expected.
#[derive(Clone)]
pub struct Tlv {
    max_len: usize,
    failure: Option<Arc<FailureReply>>,
}

type FailureReply = dyn Fn(Failure<'_>) -> Reply + Send + Sync;

impl Tlv {
    /// A codec with the limit of the wire, [`MAX_LEN`], and no way to tell failures.
    pub fn new() -> Self {
        Self { max_len: MAX_LEN, failure: None }
    }

    /// Limits names and values to `max_len` bytes each. Only downwards: more than [`MAX_LEN`] is taken as that.
    #[must_use]
    pub fn max_len(mut self, max_len: usize) -> Self {
        self.max_len = max_len.min(MAX_LEN);
        self
    }

    /// Makes the replies that tell of overload, a panic, or a reply that could not be encoded.
    ///
    /// Without it they are empty, as with the Go original. This wire has no place for an error, so **an empty reply
    /// looks like success to the caller**. Where that matters, agree on values that mean failure and make them here.
    #[must_use]
    pub fn on_failure(mut self, reply: impl Fn(Failure<'_>) -> Reply + Send + Sync + 'static) -> Self {
        self.failure = Some(Arc::new(reply));
        self
    }

    /// A length that another side or a caller claims, if it is acceptable.
    #[inline]
    fn check(&self, what: &'static str, len: usize) -> Result<(), TooLong> {
        if len <= self.max_len { Ok(()) } else { Err(TooLong { what, len, max: self.max_len }) }
    }

    /// The length at `at` in `input`, checked, or `None` if it has not arrived.
    #[inline]
    fn len_at(&self, input: &[u8], at: usize, what: &'static str) -> Result<Option<usize>, TooLong> {
        let Some(bytes) = input.get(at..).and_then(|tail| tail.first_chunk::<LEN>()) else { return Ok(None) };
        let len = u32::from_le_bytes(*bytes) as usize;
        self.check(what, len)?;
        Ok(Some(len))
    }
}

impl Default for Tlv {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Tlv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tlv")
            .field("max_len", &self.max_len)
            .field("on_failure", &self.failure.is_some())
            .finish_non_exhaustive()
    }
}

impl Codec for Tlv {
    type Request = Request;
    type Reply = Reply;
    type Partial = ();

    #[inline]
    fn encode_request(&self, request: &Request, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.check("name", request.name.len())?;
        self.check("value", request.value.len())?;
        out.reserve(2 * LEN + request.name.len() + request.value.len());
        put(&request.name, out);
        put(&request.value, out);
        Ok(())
    }

    #[inline]
    fn decode_request(&self, (): &mut (), input: &mut BytesMut) -> Result<Option<Decoded<Request, Reply>>, BoxError> {
        let Some(name) = self.len_at(input, 0, "name")? else { return Ok(None) };
        let Some(value) = self.len_at(input, LEN + name, "value")? else { return Ok(None) };
        let whole = 2 * LEN + name + value;
        if input.len() < whole {
            return Ok(None);
        }
        input.advance(LEN);
        let name = take(input, name);
        input.advance(LEN);
        let value = take(input, value);
        Ok(Some(Decoded::Message(Request { name, value })))
    }

    #[inline]
    fn encode_reply(&self, reply: &Reply, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.check("value", reply.value.len())?;
        out.reserve(LEN + reply.value.len());
        put(&reply.value, out);
        Ok(())
    }

    #[inline]
    fn decode_reply(&self, (): &mut (), input: &mut BytesMut) -> Result<Option<Decoded<Reply, BoxError>>, BoxError> {
        let Some(len) = self.len_at(input, 0, "value")? else { return Ok(None) };
        if input.len() < LEN + len {
            return Ok(None);
        }
        input.advance(LEN);
        Ok(Some(Decoded::Message(Reply { value: take(input, len) })))
    }

    fn failure(&self, failure: Failure<'_>) -> Reply {
        self.failure.as_ref().map_or_else(Reply::default, |reply| reply(failure))
    }
}

/// Takes `len` bytes from the front of `input` without copying. An empty part costs nothing: it does not become a
/// holder of the shared chunk, whose count is most of the price of decoding.
#[inline]
fn take(input: &mut BytesMut, len: usize) -> Bytes {
    if len == 0 { Bytes::new() } else { input.split_to(len).freeze() }
}

/// Appends the length of `bytes`, checked before, and `bytes`.
#[inline]
fn put(bytes: &[u8], out: &mut Vec<u8>) {
    let [a, b, c, d, ..] = bytes.len().to_le_bytes();
    out.extend_from_slice(&[a, b, c, d]);
    out.extend_from_slice(bytes);
}

/// A name or a value over the codec's limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLong {
    what: &'static str,
    len: usize,
    max: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tlv {} of {} bytes: at most {} are allowed, send it in parts", self.what, self.len, self.max)
    }
}

impl Error for TooLong {}
