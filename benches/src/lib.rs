//! What the benches share: the rows, the workloads, how a row is measured, and how it is told.

pub mod allocations;
pub mod floor;
pub mod go;
pub mod measure;
pub mod progress;
pub mod report;
pub mod rows;
pub mod scale;
pub mod system;
pub mod transport;
pub mod workload;
