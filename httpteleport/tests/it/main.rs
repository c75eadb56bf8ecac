//! The crate as its users see it.

mod body;
mod either_wire;
mod encode_reply;
mod encode_request;
mod end_to_end;
mod framed_heads;
mod framing;
mod fuzzed;
mod golden;
mod head_method;
mod hostile;
mod lazy;
mod received;
mod refused;
mod replay;
mod roundtrip;
mod stream;
mod stream_sockets;
mod streaming_api;
mod support;
mod wire_examples;
