//! What traffic costs on the wire, by the way it travels.
//!
//! A [`sample::Sample`] of exchanges goes through a real client and server, joined by a pipe that counts
//! ([`pipe::metered`]), once for each [`ways::Row`]. Nothing is sent over a network.

mod framed_way;
mod gzip;
mod hyper_ways;
mod teleport_way;
mod together;

pub mod framed;
pub mod pass;
pub mod pipe;
pub mod recorded;
pub mod sample;
pub mod tcp;
pub mod ways;
