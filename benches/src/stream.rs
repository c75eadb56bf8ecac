//! Large bodies on a long and narrow way, and what they do to small calls and events beside them.

mod beside;
mod far;
mod round;

pub use round::{Outcome, Times, Way, round};
