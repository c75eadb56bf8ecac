//! What traffic costs, by the way it travels: bytes on the wire, and CPU of both ends.
//!
//! How it travels and how bytes are counted is `httptp estimate`'s ([`httpteleport_cli::cost`]); here its CPU is measured,
//! all of a sample's rows in turn, round after round.

pub mod measure;
pub mod table;

pub use httpteleport_cli::cost::{pass, recorded, sample, tcp, ways};
