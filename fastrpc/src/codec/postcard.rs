//! Any serde types, serialized by [postcard](https://docs.rs/postcard/1).
//!
//! Compact and quick; not self-describing, so both sides must use the same types.
//!
//! ```text
//! request:  | len (4) | the request, serialized |
//! reply:    | len (4) | 0 (1)    | the reply, serialized |
//! failure:  | len (4) | kind (1) | text, UTF-8 |
//! ```
//!
//! `len` is little-endian and counts what follows it. Kinds of failure are those of [`FailureKind`].
//!
//! A message over the cap (4 MiB unless told), or one that arrived whole and cannot be deserialized or has bytes left
//! over, costs its call and not the connection. A `len` of more than 64 MiB ends the connection. What is held of an
//! unfinished message grows as bytes arrive, never by what its length claims.
//!
//! Keep sequences of zero-sized elements, such as `Vec<()>`, out of your types: no byte on the wire bounds their length.

use std::{fmt, marker::PhantomData};

use ::postcard::ser_flavors::Flavor;
use bytes::BytesMut;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    BoxError, Codec, Decoded, Failure,
    serde_frame::{Body, DEFAULT_MAX_LEN, Format, Frames},
};

pub use super::serde_frame::{FailureKind, Partial, RemoteFailure, TooLong};

/// The codec of requests `Req` and replies `Rep`. Cheap to clone.
///
/// A reply on this wire is a `Result`: the server's own troubles (overload, a panic, a request it could not decode)
/// reach the caller as a typed [`RemoteFailure`], and a handler may answer with one of its own.
///
/// ```
/// use fastrpc::codec::{Codec, postcard::Postcard};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Add(u32, u32);
///
/// let codec = Postcard::<Add, u64>::new().max_len(1 << 20);
/// let mut out = Vec::new();
/// codec.encode_request(&Add(1, 300), &mut out)?;
/// assert_eq!(out, [3, 0, 0, 0, 1, 0xAC, 0x02]);
/// # Ok::<(), fastrpc::codec::BoxError>(())
/// ```
pub struct Postcard<Req, Rep> {
    frames: Frames<Values>,
    types: PhantomData<fn(Req) -> Rep>,
}

impl<Req, Rep> Postcard<Req, Rep> {
    /// A codec with the default cap of 4 MiB a message.
    pub fn new() -> Self {
        Self { frames: Frames::new(DEFAULT_MAX_LEN), types: PhantomData }
    }

    /// Caps messages at `max_len` bytes, at most 64 MiB: a longer one is not sent, or refused when it comes.
    #[must_use]
    pub fn max_len(mut self, max_len: usize) -> Self {
        self.frames = Frames::new(max_len);
        self
    }
}

impl<Req, Rep> Codec for Postcard<Req, Rep>
where
    Req: Serialize + DeserializeOwned + Send + 'static,
    Rep: Serialize + DeserializeOwned + Send + 'static,
{
    type Request = Req;
    type Reply = Result<Rep, RemoteFailure>;
    type Partial = Partial;

    fn encode_request(&self, request: &Req, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.frames.encode_request(request, out)
    }

    fn decode_request(
        &self,
        partial: &mut Partial,
        input: &mut BytesMut,
    ) -> Result<Option<Decoded<Req, Self::Reply>>, BoxError> {
        self.frames.decode_request(partial, input)
    }

    fn encode_reply(&self, reply: &Self::Reply, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.frames.encode_reply(reply, out)
    }

    fn decode_reply(
        &self,
        partial: &mut Partial,
        input: &mut BytesMut,
    ) -> Result<Option<Decoded<Self::Reply, BoxError>>, BoxError> {
        self.frames.decode_reply(partial, input)
    }

    fn failure(&self, failure: Failure<'_>) -> Self::Reply {
        Err(RemoteFailure::of(&failure))
    }
}

impl<Req, Rep> Default for Postcard<Req, Rep> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Req, Rep> Clone for Postcard<Req, Rep> {
    fn clone(&self) -> Self {
        Self { frames: self.frames, types: PhantomData }
    }
}

impl<Req, Rep> fmt::Debug for Postcard<Req, Rep> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postcard").field(&self.frames).finish()
    }
}

enum Values {}

impl Format for Values {
    fn write<T: Serialize>(value: &T, body: &mut Body<'_>) -> Result<(), BoxError> {
        let mut full = None;
        ::postcard::serialize_with_flavor(value, Storage { body, full: &mut full })
            .map_err(|fault| full.map_or_else(|| fault.into(), BoxError::from))
    }

    fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BoxError> {
        match ::postcard::take_from_bytes(bytes)? {
            (value, []) => Ok(value),
            (_, rest) => Err(format!("{} bytes left over after the value", rest.len()).into()),
        }
    }
}

/// Lets postcard write into a frame, and keeps what it was that did not fit.
struct Storage<'a, 'b> {
    body: &'a mut Body<'b>,
    full: &'a mut Option<TooLong>,
}

impl Flavor for Storage<'_, '_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> ::postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> ::postcard::Result<()> {
        self.body.put(bytes).map_err(|fault| {
            *self.full = Some(fault);
            ::postcard::Error::SerializeBufferFull
        })
    }

    fn finalize(self) -> ::postcard::Result<()> {
        Ok(())
    }
}
