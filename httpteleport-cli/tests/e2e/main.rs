//! The real program between programs and peers that know nothing of it: curl, nginx, Python, Go's dialect byte for byte.

#![allow(missing_docs)]

/// What the nodes of a pair speak with each other.
const WIRE: &str = "auto";

mod acme;
mod acme_http;
mod alerts;
mod bad_origins;
mod caller;
mod callers;
mod cert;
mod curl;
mod cut;
mod discover;
mod go_client;
mod go_server;
mod goaway;
mod grpc;
mod grpc_server;
mod health;
mod http2;
mod http2_origin;
mod killed;
mod limits;
mod load;
mod neighbours;
mod node;
mod not_yet;
mod origin;
mod origins;
mod ports;
mod repeat;
mod schemes;
mod short;
mod shortage;
mod slow;
mod smuggling;
mod streaming_origin;
mod streams;
mod trailers;
