//! The framed wire: records of frames. Its format: `docs/wire.md`.

pub mod codec;
mod compress;
pub mod record;
