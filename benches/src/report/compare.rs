//! Figures against others: the floor under them, the Go original, an earlier run.
//!
//! Machines differ, and one machine differs from minute to minute. The floor was measured on each beside the figures, so
//! figures by floor can be compared where figures cannot.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::go::GoReference;
use crate::measure::Measured;
use crate::rows::Figure;

/// A figure against others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compared {
    /// How many times the floor of this run it is.
    pub times_floor: Option<f64>,
    /// Against the Go original.
    pub go: Option<Against>,
    /// Against an earlier run.
    pub earlier: Option<Against>,
}

/// A figure against another.
#[derive(Clone, Copy, Debug)]
pub struct Against {
    /// The other.
    pub ns: f64,
    /// How many times the other this one is: below 1 it is quicker.
    pub times: f64,
    /// The same, each divided by the floor beside it.
    pub by_floor: Option<f64>,
}

impl Against {
    fn new(ours: f64, our_floor: Option<f64>, theirs: f64, their_floor: Option<f64>) -> Self {
        let floors = our_floor.zip(their_floor).map(|(ours, theirs)| theirs / ours);
        Self { ns: theirs, times: ours / theirs, by_floor: floors.map(|floors| ours / theirs * floors) }
    }
}

/// An earlier run's lines.
#[derive(Debug, Default)]
pub struct Earlier {
    ns: HashMap<String, f64>,
}

/// As much of a line as is needed.
#[derive(Deserialize)]
struct Line {
    name: String,
    ns_per_op: f64,
}

impl Earlier {
    /// Reads what `--json` printed.
    ///
    /// # Errors
    ///
    /// Names the file and the line that cannot be read.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?;
        Self::parse(&text).with_context(|| format!("{}: not what --json prints", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut ns = HashMap::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let line: Line = serde_json::from_str(line).with_context(|| format!("line {}", number + 1))?;
            ns.insert(line.name, line.ns_per_op);
        }
        ensure!(!ns.is_empty(), "it has no line");
        Ok(Self { ns })
    }

    /// The floors that both runs have: name, this run's, the earlier one's.
    #[must_use]
    pub fn floors(&self, rows: &[Measured]) -> Vec<(String, f64, f64)> {
        let floors = rows.iter().filter(|row| row.figure == Figure::Floor);
        floors.filter_map(|row| Some((row.name.clone(), row.ns.median, *self.ns.get(&row.name)?))).collect()
    }
}

/// Compares each row of a run.
#[must_use]
pub fn compare(rows: Vec<Measured>, go: &GoReference, earlier: &Earlier) -> Vec<(Measured, Compared)> {
    let floors = rows.iter().filter(|row| row.figure == Figure::Floor);
    let floors: HashMap<_, _> = floors.map(|row| (row.name.clone(), row.ns.median)).collect();
    let compared = |row: &Measured| {
        let (ours, floor) = (row.ns.median, floors.get(&row.floor).copied());
        // A latency is no time spent on a call, and the floor would be divided by itself.
        let times_floor = floor.filter(|_| row.figure == Figure::Calls).map(|floor| ours / floor);
        let go = go.row(&row.name).map(|(go, go_floor)| Against::new(ours, floor, go.ns, Some(go_floor)));
        let earlier = earlier.ns.get(&row.name).map(|&ns| {
            let their_floor = earlier.ns.get(&row.floor).copied().filter(|_| row.figure != Figure::Floor);
            Against::new(ours, floor, ns, their_floor)
        });
        Compared { times_floor, go, earlier }
    };
    let compared: Vec<_> = rows.iter().map(compared).collect();
    rows.into_iter().zip(compared).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Round;
    use crate::rows::original;

    fn measured(name: &str, ns: f64) -> Measured {
        let row = original().into_iter().find(|row| row.name == name).expect("a row");
        Measured::new(&row, &[Round { ns, ..Round::default() }])
    }

    #[test]
    fn a_machine_of_half_the_speed_shows_in_the_raw_ratio_and_not_in_that_by_floor() {
        let rows = vec![measured("floor/http/100", 190.0), measured("http/no_delay/100", 5781.0)];
        let lines =
            [r#"{"name":"floor/http/100","ns_per_op":95}"#, r#"{"name":"http/no_delay/100","ns_per_op":2890.5}"#];
        let earlier = Earlier::parse(&lines.join("\n\n")).expect("lines");
        assert_eq!(earlier.floors(&rows), [("floor/http/100".to_owned(), 190.0, 95.0)]);
        let rows = compare(rows, &GoReference::load(), &earlier);
        let (floor, row) = (rows[0].1, rows[1].1);
        let go = row.go.expect("a Go row");
        assert_eq!((go.times, go.by_floor), (1.0, Some(0.5)));
        let earlier = row.earlier.expect("an earlier row");
        assert_eq!((earlier.times, earlier.by_floor), (2.0, Some(1.0)));
        assert!(floor.go.is_none() && floor.times_floor.is_none());
        assert_eq!(floor.earlier.map(|earlier| (earlier.times, earlier.by_floor)), Some((2.0, None)));
        assert_eq!(row.times_floor.map(f64::round), Some(30.0));
    }

    #[test]
    fn a_file_of_something_else_is_told_by_its_line() {
        let error = format!("{:#}", Earlier::parse("{\"name\":\"a\",\"ns_per_op\":1}\nrow ns").expect_err("no JSON"));
        assert!(error.starts_with("line 2: "), "{error}");
        assert!(Earlier::parse("\n").is_err());
    }
}
