//! The bytes on the connection, without I/O, clock or runtime.

pub mod compress;
pub mod framed;
pub mod hello;
