//! Messages whose heads stay text until somebody asks.
//!
//! A head is checked when it arrives, once, and kept as the bytes it came in. Looking a header up walks these bytes; an
//! `http::HeaderMap` is made only by conversion. For services and proxies that look at a header or two, or at none, this
//! is most of a call's time: compare the `lazy` rows of the benchmark with the `http` ones.
//!
//! [`Client::lazy`](crate::Client::lazy) and [`Server::lazy`](crate::Server::lazy) speak in these types. What travels, and
//! what is refused, is the same as with the types of the `http` crate.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use http::{Method, StatusCode, header};
//! use httpteleport::{Limits, Server, lazy};
//!
//! let listener = tokio::net::TcpListener::bind("0.0.0.0:9876").await?;
//! let server = Server::lazy(Limits::default()).build()?;
//! server.serve(listener, |request: lazy::Request| async move {
//!     match (request.method(), request.target()) {
//!         (&Method::GET, "/ping") => lazy::Response::new(StatusCode::OK).with_body("pong"),
//!         _ => lazy::Response::new(StatusCode::NOT_FOUND),
//!     }
//! }).await;
//! # Ok(())
//! # }
//! ```
//!
//! # Memory
//!
//! A received message, of these types or of the `http` crate's, shares the buffer that it was read into: one that is kept, or
//! a header or the body of one, keeps about [`read_buffer`](crate::ServerBuilder::read_buffer) bytes alive, and, where many
//! are kept, about 4 KiB. Copy what is to be kept for long.

mod head;
mod request;
mod response;

pub(crate) use head::Head;
pub use request::Request;
pub use response::Response;
