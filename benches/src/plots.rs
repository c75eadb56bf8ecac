//! Pictures of what the benches print with `--json`: one family of rows, one or more pictures.

pub mod bytes;
pub mod families;
pub mod matrix;
pub mod others;
pub mod record;
pub mod scale;
