//! Streaming contexts: what compressed records of one direction share.
//!
//! Each takes one whole record at a time and moves its plain bytes to wire bytes or back, exactly.

pub(super) mod lz4;
pub(super) mod zstd;
