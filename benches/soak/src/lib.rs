//! A long run of the framed wire in which everything happens at once, and after which nothing may be left.
//!
//! Large bodies go down and up, every byte checked; meanwhile callers call, cancel, read slowly and break off, and
//! connections are cut and replaced. The same workload runs for minutes over sockets (the program `soak`) and for moments in
//! virtual time (the tests).

mod bulk;
mod calling;
mod content;
mod ground;
mod link;
mod order;
mod report;
mod run;
mod serving;

pub use ground::Ground;
pub use report::Report;
pub use run::{Plan, run};
