//! What the benches share: the rows of the matrix, how one is measured, and the two workloads; what traffic costs by the
//! way it travels; and the plots.

pub mod cost;
pub mod floor;
pub mod measure;
pub mod plot;
pub mod plots;
pub mod rows;
pub mod workload;
