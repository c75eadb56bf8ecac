//! HTTP between servers over one batched, compressed, out-of-order connection.
//!
//! A [`Client`] makes HTTP calls, a [`Server`] answers them; between them is one connection (or a few) on which the
//! messages of all callers travel batched, compressed in one long context, and answered out of order. It speaks the wire
//! of Go's `httpteleport`, so either end may be a Go program.
//!
//! [`ClassicCodec`] is the HTTP half: it turns whole requests and replies into bytes of the classic wire and back, and
//! needs no connection to do so. The other half is [`fastrpc`].
//!
//! # Bodies are buffered
//!
//! On the classic wire a message is sent only when it is complete, so bodies are buffered whole, up to
//! [`Limits::max_body`]. A large body also keeps the messages behind it waiting. Event streams, large downloads and
//! upgrades are not for this wire.

mod body;
mod client;
pub mod codec;
mod error;
mod exchange;
mod forward;
mod heads;
pub mod lazy;
mod limits;
mod message;
mod server;
pub mod stream;

pub use body::{Body, CollectError};
pub use client::{Calling, Client, ClientBuilder};
pub use codec::classic::{ClassicCodec, Reply, ReplyMessage, RequestMessage};
pub use codec::error::{CodecError, Fault, MessageKind};
pub use error::Error;
pub use fastrpc::{
    AtLimit, BatchTimer, BoxError, BoxIo, Compression, ContextMemory, Dispatch, ErrorKind, Histogram, Io, Listener,
    RecordCodec, Serve, Stats, Wire, prepare_tcp,
};
pub use heads::{Eager, Heads, Lazy};
pub use limits::Limits;
pub use server::{Handler, Server, ServerBuilder};
/// The TLS library whose configurations [`ClientBuilder::tls`] and [`ServerBuilder::tls`] take.
pub use tokio_rustls::rustls;

/// What both sides open with: 12 bytes and version 0, as the Go original has it.
fn protocol() -> fastrpc::Protocol {
    fastrpc::Protocol::new("httpteleport", 0).expect("twelve bytes are a sniff header")
}
