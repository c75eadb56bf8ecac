//! HTTP between servers over one batched, compressed, out-of-order connection.
//!
//! [`ClassicCodec`] is the HTTP half: it turns whole requests and replies into bytes of the classic wire and back, and
//! needs no connection to do so. It is a [`fastrpc::codec::Codec`], so any fastrpc client or server can carry it.
//!
//! On the classic wire a message is sent only when it is complete: bodies are buffered, up to [`Limits::max_body`].

mod body;
pub mod codec;
mod error;
mod limits;
mod message;

pub use body::{Body, CollectError};
pub use codec::classic::{ClassicCodec, Reply};
pub use error::{CodecError, Fault, MessageKind};
pub use limits::Limits;
