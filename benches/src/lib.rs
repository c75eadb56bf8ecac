//! What the benches share: the rows of the matrix, how one is measured, and its workloads; the peers, which bring workloads
//! and rows of their own; what traffic costs by the way it travels; and the plots.

pub mod cost;
pub mod floor;
pub mod measure;
pub mod peers;
pub mod plot;
pub mod plots;

pub use workloads::{rows, workload};
