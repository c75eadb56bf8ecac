//! What the Go original was measured with.

use std::collections::BTreeMap;

use serde_json::Value;

use super::record::Figure;

/// Its benchmarks, named as the rows of the matrix.
#[derive(Clone, Debug)]
pub struct Reference {
    /// When.
    pub date: String,
    /// Where.
    pub machine: String,
    rows: BTreeMap<String, Figure>,
    floors: BTreeMap<String, f64>,
}

impl Reference {
    /// The one that is kept with the benches.
    ///
    /// # Panics
    ///
    /// The file is not as it should be, which a test would have told.
    #[must_use]
    pub fn kept() -> Self {
        Self::parse(include_str!("../../data/go-reference.json")).expect("benches/data/go-reference.json")
    }

    fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let row = |row: &Value| {
            let range = row["min"].as_f64().zip(row["max"].as_f64());
            Some(Figure { median: row["ns"].as_f64()?, range })
        };
        let rows = value["rows"].as_object()?.iter().map(|(name, fields)| Some((name.clone(), row(fields)?)));
        let floors = value["floor_ns"].as_object()?.iter().map(|(name, ns)| Some((name.clone(), ns.as_f64()?)));
        Some(Self {
            date: text("date")?,
            machine: text("machine")?,
            rows: rows.collect::<Option<_>>()?,
            floors: floors.collect::<Option<_>>()?,
        })
    }

    /// Nanoseconds of the benchmark that a row is named after.
    #[must_use]
    pub fn ns(&self, row: &str) -> Option<Figure> {
        self.rows.get(row).copied()
    }

    /// Nanoseconds of the floor on that day, for `fastrpc` or `http`.
    #[must_use]
    pub fn floor(&self, carried: &str) -> Option<f64> {
        self.floors.get(carried).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_benchmark_is_there_with_its_range() {
        let reference = Reference::kept();
        assert_eq!(reference.rows.len(), 41);
        for (name, figure) in &reference.rows {
            let (least, most) = figure.range.expect("a range");
            assert!(least <= figure.median && figure.median <= most, "{name}");
        }
        assert_eq!(reference.ns("fastrpc/no_delay/100").expect("a row").median, 3616.0);
        assert_eq!(reference.ns("http/delay/16ms").expect("a row").median, 19_718.0);
        assert_eq!((reference.floor("fastrpc"), reference.floor("http")), (Some(85.0), Some(95.0)));
    }
}
