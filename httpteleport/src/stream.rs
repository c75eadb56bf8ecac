//! HTTP over a framed connection: bodies stream both ways, trailers come behind them.
//!
//! It joins the heads of [`codec::framed`](crate::codec::framed) and the sessions of `fastrpc`, for one connection at a
//! time. [`Client`](crate::Client) and [`Server`](crate::Server) do not use it yet; until they do it may change at will.

mod client;
mod incoming;
mod outgoing;
mod server;

pub use client::StreamClient;
pub use incoming::Incoming;
pub use server::{StreamService, service};
