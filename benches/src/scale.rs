//! Costs as work grows.
