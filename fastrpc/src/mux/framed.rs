//! The state of one framed connection, without I/O and clock: frames in, records out, and what the two ends' programs do
//! in between.
//!
//! [`Streams`] is the same on both sides. Nothing in it runs foreign code but the encoders of heads: wakers are handed out,
//! to be called when the lock around it is released.

mod bodies;
mod calls;
mod ends;
mod fill;
mod flood;
mod ids;
mod keepalive;
mod load;
mod outbox;
mod passing;
mod pieces;
mod receive;
mod received;
mod reserve;
mod stream;
mod streams;
mod table;
mod window;

pub use fill::Filled;
pub use keepalive::{Action, Keepalive};
pub use receive::Violation;
pub use received::Received;
pub use stream::{Reset, remember};
pub(crate) use streams::LYING;
pub use streams::{Balance, Gone, Role, Streams};
pub use table::Key;
