//! What `e2e` does with pairs of nodes, on the classic wire.

#![allow(missing_docs, dead_code)]

/// What the nodes of a pair speak with each other.
const WIRE: &str = "classic";

#[path = "../e2e/bad_origins.rs"]
mod bad_origins;
#[path = "../e2e/caller.rs"]
mod caller;
#[path = "../e2e/callers.rs"]
mod callers;
#[path = "../e2e/curl.rs"]
mod curl;
#[path = "../e2e/killed.rs"]
mod killed;
#[path = "../e2e/limits.rs"]
mod limits;
#[path = "../e2e/load.rs"]
mod load;
#[path = "../e2e/node.rs"]
mod node;
#[path = "../e2e/origin.rs"]
mod origin;
#[path = "../e2e/origins.rs"]
mod origins;
