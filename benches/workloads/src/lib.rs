//! What is measured, apart from how: the rows of the benches with client and server of each and the streams that join
//! them, and the parts of a call by themselves, codecs and compression.
//!
//! The benches take the time of the rows; `cargo xtask instructions` has those in [`counted`] counted, by running the
//! program `fixed`.

pub mod batches;
pub mod codecs;
pub mod counted;
pub mod messages;
pub mod rows;
pub mod transport;
pub mod workload;
