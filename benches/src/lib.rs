//! What the benches share: the rows of the matrix, how one is measured, and the two workloads.

pub mod floor;
pub mod measure;
pub mod rows;
pub mod workload;
