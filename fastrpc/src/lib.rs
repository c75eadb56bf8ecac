//! RPC over one connection: batched, compressed in one long context, answered out of order.
//!
//! A [`Client`] makes calls, a [`Server`] answers them; between them is one connection (or a few) on any stream of
//! bytes, and a [`Codec`] of yours that turns requests and replies into bytes.

pub mod codec;
pub mod stream;
pub mod wire;

mod client;
mod config;
mod error;
mod io;
mod mux;
mod server;
mod stats;

pub use client::{Client, ClientBuilder, Driver, PendingCall};
pub use codec::{BoxError, Codec, Decoded, Failure};
pub use config::{BatchTimer, Wire};
pub use error::{Error, ErrorKind};
pub use io::{BoxIo, Io, prepare_tcp};
pub use mux::admission::AtLimit;
pub use mux::session::ContextMemory;
pub use server::{Call, Dispatch, Handler, Listener, Serve, Server, ServerBuilder};
pub use stats::{Histogram, Stats};
pub use wire::compress::Compression;
pub use wire::framed::codec::RecordCodec;
pub use wire::hello::Protocol;

/// The pure parts of the mux, for property tests and fuzzing. No part of the public interface: it changes at will.
#[doc(hidden)]
pub mod internals {
    pub use crate::client::groups::Groups;
    pub use crate::client::route::{Attempt, Route};
    pub use crate::mux::batch::{Batcher, Flush, Load, Wave};
    pub use crate::mux::framed;
    pub use crate::mux::handshake;
    pub use crate::mux::last_words::LastWords;
    pub use crate::mux::outbox::{ONE_WAY, Outbox, Taken, append_message};
    pub use crate::mux::pending::{Arrival, Key, Outcome, Pending};
    pub use crate::mux::session;
    pub use crate::server::PermitHere;
    pub use crate::stream::messages::{caught, caught_here, made};
    pub use crate::stream::{FramedCall, Tally};
}
