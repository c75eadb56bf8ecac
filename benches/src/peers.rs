//! The same calls made by other libraries: on the same core, over the same kind of socket, in the same run.
//!
//! A peer is a module with a `start` that gives its callers, and one line in [`rows::PEERS`].

mod caller;
pub mod command;
mod floor;
mod gathered;
mod hyper1;
mod hyper2;
mod lazy;
pub mod measure;
mod ours;
pub mod rows;
pub mod table;
mod tarpc;
mod tonic;
pub mod workload;

/// Why a peer could not be started, or a call failed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
