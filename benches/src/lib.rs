//! What the benches share: the rows of the matrix, how one is measured, and the two workloads; proxies as processes.

pub mod floor;
pub mod idle;
pub mod measure;
pub mod process;
pub mod proxy;
pub mod rows;
pub mod workload;
