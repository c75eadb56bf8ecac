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
    pub(super) bodies: Bodies,
}

/// What bodies are held to.
#[derive(Clone, Copy, Default)]
pub(super) struct Bodies {
    /// Most bytes of one.
    pub(super) most: usize,
    /// Longest pause in one.
    pub(super) patience: Duration,
    /// Most bytes of the fields behind one, as HTTP/2 counts them.
    pub(super) most_trailers: usize,
}

/// The one that holds now.
pub(super) type Current = Arc<ArcSwap<Policy>>;
