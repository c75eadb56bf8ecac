//! The framed wire: settings in the hello, then records that hold whole frames. `docs/wire.md` has the bytes.

pub mod codec;
mod compress;
pub mod frame;
pub mod record;
pub mod settings;
pub mod varint;
