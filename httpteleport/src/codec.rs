//! How HTTP messages become bytes.

pub mod classic;
