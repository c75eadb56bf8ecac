//! Where handlers run.

/// Where handlers run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dispatch {
    /// Each handler is polled once right where its call was decoded; only one that has to wait moves to a task of its
    /// own. The fastest choice for handlers that do not compute for long: while one is polled, its connection waits.
    #[default]
    Inline,
    /// Each handler runs in a task of its own from the start. For handlers that compute for more than some
    /// microseconds before their first wait.
    Spawn,
    /// One call of a connection at a time, replies in the order of requests.
    Pipeline,
}
