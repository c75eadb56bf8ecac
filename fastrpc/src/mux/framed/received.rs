//! What arriving frames bring.

use bytes::Bytes;

use super::table::Key;
use crate::wire::framed::frame::CloseCode;

/// What a frame brought that its side has to act on.
#[derive(Debug)]
pub enum Received {
    /// Nothing more to do.
    Nothing,
    /// A call (at a server). Its key is held once.
    Call {
        /// Its stream.
        key: Key,
        /// Milliseconds until nobody waits for it any more; 0 when there is no such limit.
        time_left: u32,
        /// No reply is wanted.
        one_way: bool,
        /// For the codec.
        head: Bytes,
        /// All of its body; `None` when it comes in pieces.
        body: Option<Bytes>,
    },
    /// A whole call of which nothing is kept (at a server that lets calls pass): it is answered with
    /// [`Streams::reply_alone`](super::Streams::reply_alone), or has to be [adopted](super::Streams::adopt) before the next record
    /// is received.
    Passing {
        /// Its id.
        id: u32,
        /// Milliseconds until nobody waits for it any more; 0 when there is no such limit.
        time_left: u32,
        /// For the codec.
        head: Bytes,
        /// All of its body.
        body: Bytes,
    },
    /// The reply to a call (at a client).
    Reply {
        /// The call's stream.
        key: Key,
        /// For the codec.
        head: Bytes,
        /// All of its body; `None` when it comes in pieces.
        body: Option<Bytes>,
    },
    /// A head ahead of the reply (at a client).
    Interim {
        /// The call's stream.
        key: Key,
        /// For the codec.
        head: Bytes,
    },
    /// The peer broke a stream off; [`Streams::reset_of`](super::Streams::reset_of) tells how.
    Reset {
        /// The stream.
        key: Key,
    },
    /// The peer asks for a pong, which is on its way; it costs what a ping costs.
    Ping,
    /// The answer to a ping.
    Pong([u8; 8]),
    /// The peer drains.
    Drain,
    /// The peer's last frame.
    Close {
        /// Why.
        code: CloseCode,
        /// Why, for people.
        text: String,
    },
}
