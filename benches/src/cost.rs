//! What traffic costs, by the way it travels: bytes on the wire, and CPU of both ends.
//!
//! A [`sample::Sample`] of exchanges goes through a real client and server, joined by a pipe that counts
//! ([`pipe::metered`]), once for each [`ways::Row`]. All of a sample's rows are measured in turn, round after round.

pub mod framed_way;
pub mod gzip;
pub mod hyper_ways;
pub mod measure;
pub mod pass;
pub mod pipe;
pub mod recorded;
pub mod sample;
pub mod table;
pub mod tcp;
pub mod teleport_way;
pub mod together;
pub mod ways;
