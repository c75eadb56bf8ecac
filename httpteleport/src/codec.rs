//! How HTTP messages become bytes.

pub mod classic;
pub(crate) mod error;
pub mod framed;
