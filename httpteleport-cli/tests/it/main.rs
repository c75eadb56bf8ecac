//! The real program, started on a free port and driven over sockets.

#![allow(missing_docs)]

mod client;
mod demo;
mod estimate;
mod failures;
mod http2;
mod limits;
mod origin;
mod pass;
mod program;
mod shutdown;
mod stage;
mod startup;
mod streaming;
mod teleport;
mod tls;
mod trailers;
mod unix;
mod upgrade;
