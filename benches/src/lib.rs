//! What the benches share: the rows of the matrix, how one is measured, and the two workloads; and the peers, which
//! bring workloads and rows of their own.

pub mod floor;
pub mod measure;
pub mod peers;
pub mod rows;
pub mod workload;
