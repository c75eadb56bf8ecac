//! What a call costs as work grows: callers, connections, bodies, cores, connections of a pool.
//!
//! Each row has a process of its own, so that memory is told of it alone; some have a second one for their server. Parent
//! and children talk in lines of JSON over standard input and output.

pub mod child;
pub mod rows;
pub mod server;
pub mod worker;
