//! What the benches share: the rows, the workloads, how a row is measured, and how it is told; the peers and the other
//! proxies, which bring workloads and rows of their own; what traffic costs by the way it travels; large bodies on a long way; and the plots.

pub mod allocations;
pub mod cost;
pub mod floor;
pub mod go;
pub mod idle;
pub mod measure;
pub mod peers;
pub mod plot;
pub mod plots;
pub mod process;
pub mod program;
pub mod proxy;
pub mod report;
pub mod scale;
pub mod sibling;
pub mod spread;
pub mod stream;
pub mod system;

pub use httpteleport_cli::cost::framed;
pub use httpteleport_cli::progress;
pub use workloads::{rows, transport, workload};
