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
    serde_codec::serde_codec,
    serde_frame::{Body, DEFAULT_MAX_LEN, Format, Frames},
};

pub use super::serde_frame::{FailureKind, Partial, RemoteFailure, TooLong};

serde_codec! {
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
    Postcard over Values
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
