//! The traits between the transport and what it carries.
//!
//! A [`Codec`] is a value that turns messages into bytes and back. It knows no I/O, no ids and no compression, so one
//! implementation serves sockets, in-memory pipes and tests alike. Ready ones: [`tlv`] and, for serde types,
//! `postcard` and `bincode`, each a feature.

use std::error::Error as StdError;

use bytes::BytesMut;

#[cfg(feature = "bincode")]
pub mod bincode;
#[cfg(feature = "postcard")]
pub mod postcard;
#[cfg(any(feature = "postcard", feature = "bincode"))]
mod serde_codec;
#[cfg(any(feature = "postcard", feature = "bincode"))]
mod serde_frame;
pub mod tlv;

/// Any error a codec reports; it becomes the source of the call's [`Error`](crate::Error).
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Turns requests and replies into bytes and back.
///
/// On the classic wire a message has no length field around it: what a codec writes must tell its own end.
///
/// # Encoding
///
/// `encode_*` appends one whole message to `out` and never touches what `out` already holds. When it fails or panics,
/// whatever it appended is taken back, nothing of the message is sent, and the connection goes on.
///
/// Encoders run while the connection is locked: keep them free of waits, and do not use the client from inside one.
///
/// # Decoding
///
/// `decode_*` is called with the bytes that have arrived. It takes what it can use from the front of `input` and
/// returns `Ok(None)` until a message is whole; it is called again, with more bytes, when more came. What it has to
/// remember between such calls lives in `partial`, which starts as its default for each message. Leaving the bytes of
/// an unfinished message in `input` is fine, up to the connection's `max_undecoded` limit; a codec for large messages
/// takes them out as they come.
///
/// An `Err` means that the end of the message cannot be found: the connection is closed, and all its calls fail. For a
/// message that is unwelcome but whole, return [`Decoded::Refused`]: only that call is affected.
///
/// # Limits
///
/// Lengths come from the other side. Check each against a limit of your own before allocating for it.
pub trait Codec: Send + Sync + 'static {
    /// What a client sends.
    type Request: Send + 'static;
    /// What a server answers.
    type Reply: Send + 'static;
    /// What is remembered of a message that has not arrived whole; `()` when nothing is.
    type Partial: Default + Send + 'static;

    /// Appends one request to `out`.
    ///
    /// # Errors
    ///
    /// The request cannot be sent, for instance because it is over a limit of the peer. Its call fails with this error.
    fn encode_request(&self, request: &Self::Request, out: &mut Vec<u8>) -> Result<(), BoxError>;

    /// Takes one request from the front of `input`. A refused request is answered with the reply given.
    ///
    /// # Errors
    ///
    /// The bytes are no request, so that its end cannot be known: the connection ends.
    fn decode_request(
        &self,
        partial: &mut Self::Partial,
        input: &mut BytesMut,
    ) -> Result<Option<Decoded<Self::Request, Self::Reply>>, BoxError>;

    /// Appends one reply to `out`.
    ///
    /// # Errors
    ///
    /// The reply cannot be sent. The caller gets the reply that [`Codec::failure`] makes of it.
    fn encode_reply(&self, reply: &Self::Reply, out: &mut Vec<u8>) -> Result<(), BoxError>;

    /// Takes one reply from the front of `input`. A refused reply fails its call with the error given.
    ///
    /// # Errors
    ///
    /// The bytes are no reply, so that its end cannot be known: the connection ends.
    fn decode_reply(
        &self,
        partial: &mut Self::Partial,
        input: &mut BytesMut,
    ) -> Result<Option<Decoded<Self::Reply, BoxError>>, BoxError>;

    /// The reply that tells a caller what went wrong on the server.
    fn failure(&self, failure: Failure<'_>) -> Self::Reply;
}

/// A message that arrived whole.
#[derive(Debug)]
pub enum Decoded<M, R> {
    /// The message.
    Message(M),
    /// It was read to its end and is not acceptable, over a limit for instance: what is said instead.
    Refused(R),
}

/// What a server has to tell a caller instead of its handler's reply.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure<'a> {
    /// The server already runs `limit` handlers, as many as it may.
    Overloaded {
        /// The concurrency limit that was met.
        limit: usize,
    },
    /// The server is shutting down: the call came too late to be taken.
    Draining,
    /// The handler panicked.
    Panicked,
    /// The handler's reply could not be encoded.
    Unencodable(&'a BoxError),
}
