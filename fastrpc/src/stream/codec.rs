//! Heads of streamed calls.

use bytes::Bytes;

use crate::codec::BoxError;

/// Turns the heads of calls and replies into bytes and back. Bodies travel beside them, as they are.
///
/// Encoders append to `out` and never touch what it already holds; when one fails or panics, what it appended is taken back.
/// They run while the connection is locked: keep them free of waits, and do not use the client from inside one. A head is at
/// most as long as the peer's settings say, 64 KiB by default.
///
/// Decoders get one whole head. An `Err` of [`decode_request`](HeadCodec::decode_request) breaks that call off and tells its
/// caller why; one of [`decode_reply`](HeadCodec::decode_reply) fails that call. The connection goes on.
pub trait HeadCodec: Send + Sync + 'static {
    /// The head of a call.
    type Request: Send + 'static;
    /// The head of a reply.
    type Reply: Send + 'static;

    /// Appends the head of a call to `out`.
    ///
    /// # Errors
    ///
    /// It cannot be sent. Its call fails with this error.
    fn encode_request(&self, request: &Self::Request, out: &mut Vec<u8>) -> Result<(), BoxError>;

    /// Reads the head of a call.
    ///
    /// # Errors
    ///
    /// It is none, or not acceptable.
    fn decode_request(&self, head: &Bytes) -> Result<Self::Request, BoxError>;

    /// Appends the head of a reply to `out`.
    ///
    /// # Errors
    ///
    /// It cannot be sent.
    fn encode_reply(&self, reply: &Self::Reply, out: &mut Vec<u8>) -> Result<(), BoxError>;

    /// Reads the head of a reply.
    ///
    /// # Errors
    ///
    /// It is none, or not acceptable.
    fn decode_reply(&self, head: &Bytes) -> Result<Self::Reply, BoxError>;
}
