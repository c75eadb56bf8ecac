//! Any serde types, serialized by [bincode 2](https://docs.rs/bincode/2) in its standard configuration.
//!
//! **The bincode project has ended** (RUSTSEC-2025-0141): version 2 still works and gets no more fixes, version 3.0.0 is
//! a tombstone that does not compile. This codec is for peers that speak it already; take
//! [`postcard`](super::postcard) for anything new.
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

use ::bincode::{
    config::{Configuration, standard},
    enc::write::Writer,
    error::EncodeError,
    serde as values,
};
use bytes::BytesMut;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    BoxError, Codec, Decoded, Failure,
    serde_codec::serde_codec,
    serde_frame::{Body, DEFAULT_MAX_LEN, Format, Frames, LONGEST_SKIPPED},
};

pub use super::serde_frame::{FailureKind, Partial, RemoteFailure, TooLong};

serde_codec! {
    /// The codec of requests `Req` and replies `Rep`. Cheap to clone.
    ///
    /// A reply on this wire is a `Result`: the server's own troubles (overload, a panic, a request it could not decode)
    /// reach the caller as a typed [`RemoteFailure`], and a handler may answer with one of its own.
    Bincode over Values
}

enum Values {}

const CONFIG: Configuration = standard();

impl Format for Values {
    fn write<T: Serialize>(value: &T, body: &mut Body<'_>) -> Result<(), BoxError> {
        let mut full = None;
        values::encode_into_writer(value, Storage { body, full: &mut full }, CONFIG)
            .map_err(|fault| full.map_or_else(|| fault.into(), BoxError::from))
    }

    /// bincode allocates a string by its claimed length, unless that is over a limit fixed at compile time: so the
    /// nearest of a few limits is chosen. 16 is the most that it counts for one byte (a short `u128`).
    fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BoxError> {
        match bytes.len() {
            ..=0xFF => read_within::<0x1000, T>(bytes),
            0x100..=0xFFF => read_within::<0x1_0000, T>(bytes),
            0x1000..=0xFFFF => read_within::<0x10_0000, T>(bytes),
            0x1_0000..=0xF_FFFF => read_within::<0x100_0000, T>(bytes),
            _ => read_within::<{ 16 * LONGEST_SKIPPED }, T>(bytes),
        }
    }
}

fn read_within<const LIMIT: usize, T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BoxError> {
    match values::decode_from_slice(bytes, CONFIG.with_limit::<LIMIT>())? {
        (value, used) if used == bytes.len() => Ok(value),
        (_, used) => Err(format!("{} bytes left over after the value", bytes.len() - used).into()),
    }
}

/// Lets bincode write into a frame, and keeps what it was that did not fit.
struct Storage<'a, 'b> {
    body: &'a mut Body<'b>,
    full: &'a mut Option<TooLong>,
}

impl Writer for Storage<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.body.put(bytes).map_err(|fault| {
            *self.full = Some(fault);
            EncodeError::UnexpectedEnd
        })
    }
}
