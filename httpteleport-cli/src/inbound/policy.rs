//! What holds for the requests of an input, and may change while connections last.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::gate::Gate;
use crate::router::Router;

/// All of it. A request keeps to what holds when it comes.
pub(super) struct Policy {
    pub(super) gate: Gate,
    pub(super) router: Router,
    /// Most bytes of a body.
    pub(super) max_body: usize,
    /// Longest pause in one.
    pub(super) patience: Duration,
}

/// The one that holds now.
pub(super) type Current = Arc<ArcSwap<Policy>>;
