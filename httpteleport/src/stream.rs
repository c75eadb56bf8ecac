//! Messages whose bodies stream, over whichever wire: what [`Client::stream`](crate::Client::stream) and
//! [`Server::serve_streams`](crate::Server::serve_streams) give and take.
//!
//! On the framed wire bodies go piece by piece, both ways at once, with trailers behind them, and a small body goes with its
//! head. On the classic wire, which carries whole messages, a body is collected first, up to
//! [`max_collected`](crate::ClientBuilder::max_collected), and its trailers are dropped.
//!
//! # Upgrades
//!
//! A request with a [`Protocol`](crate::codec::framed::Protocol) among its extensions asks to turn its stream into another
//! protocol, `websocket` for instance. A response of 101 agrees: the request's body is then what the client sends in that
//! protocol, the response's body what the server sends, and neither has an idle limit. When the server's body ends, the stream
//! is over.

pub(crate) mod answer;
pub(crate) mod call;
mod framed;
mod heads;
mod incoming;
mod outgoing;

pub use answer::{Context, StreamHandler};
pub use call::{Streaming, Unsent};
pub(crate) use framed::FramedClient;
pub(crate) use heads::HeadsOf;
pub use incoming::Incoming;
pub(crate) use incoming::said_length;
