//! RPC over one connection: batched, compressed in one long context, answered out of order.

pub mod codec;
pub mod wire;
