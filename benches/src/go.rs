//! What the Go original came to, where the same rows were measured.

use std::collections::HashMap;

use serde::Deserialize;

/// The medians of the Go original's own benchmarks, and the floors measured beside them.
#[derive(Clone, Debug, Deserialize)]
pub struct GoReference {
    /// When it was measured.
    pub date: String,
    /// Where.
    pub machine: String,
    /// The floor on that machine that day, by what is carried.
    pub floor_ns: HashMap<String, f64>,
    /// Each row.
    pub rows: HashMap<String, GoRow>,
}

/// One row of it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct GoRow {
    /// Nanoseconds per call, the median.
    pub ns: f64,
    /// The least of the rounds.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Allocations per call.
    pub allocs: f64,
}

impl GoReference {
    /// What is kept in `benches/data/go-reference.json`.
    ///
    /// # Panics
    ///
    /// The file is damaged.
    #[must_use]
    pub fn load() -> Self {
        serde_json::from_str(include_str!("../data/go-reference.json"))
            .expect("benches/data/go-reference.json is whole")
    }

    /// The row of this name, and the floor under it there.
    #[must_use]
    pub fn row(&self, name: &str) -> Option<(GoRow, f64)> {
        let floor = self.floor_ns.get(name.split('/').next()?)?;
        Some((*self.rows.get(name)?, *floor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{Figure, original};

    #[test]
    fn it_has_every_row_of_the_original_set_and_no_other() {
        let go = GoReference::load();
        let ours: Vec<_> = original().into_iter().filter(|row| row.figure != Figure::Floor).collect();
        assert_eq!(go.rows.len(), ours.len());
        for row in ours {
            let (go, floor) = go.row(&row.name).unwrap_or_else(|| panic!("{} is not there", row.name));
            assert!(floor < go.min && go.min <= go.ns && go.ns <= go.max, "{}", row.name);
        }
    }
}
