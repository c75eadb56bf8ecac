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

    /// The row of this name, and the floor under it there. The original has one kind of HTTP heads, which ours are compared
    /// with whether they are lazy or not, and whether they are built for each call or not.
    #[must_use]
    pub fn row(&self, name: &str) -> Option<(GoRow, f64)> {
        let name = match name.strip_prefix("lazy/") {
            Some(shape) => format!("http/{}", shape.replace("built/", "no_delay/")),
            None => name.to_owned(),
        };
        Some((*self.rows.get(&name)?, self.floor(name.split('/').next()?)?))
    }

    /// The floor on that machine that day for rows of this kind.
    #[must_use]
    pub fn floor(&self, carried: &str) -> Option<f64> {
        self.floor_ns.get(if carried == "lazy" { "http" } else { carried }).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{Carried, Figure, original};

    #[test]
    fn it_has_every_row_of_the_original_set_and_no_other() {
        let go = GoReference::load();
        let ours: Vec<_> = original().into_iter().filter(|row| row.figure != Figure::Floor).collect();
        let own = ours.iter().filter(|row| row.carried != Carried::Lazy).count();
        assert_eq!(go.rows.len(), own);
        for row in ours {
            let (go, floor) = go.row(&row.name).unwrap_or_else(|| panic!("{} is not there", row.name));
            assert!(floor < go.min && go.min <= go.ns && go.ns <= go.max, "{}", row.name);
        }
    }
}
