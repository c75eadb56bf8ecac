//! Lines that benches print.

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

/// One row of a bench: a JSON object with a `name`.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its name, segments apart by slashes.
    pub name: String,
    fields: Map<String, Value>,
}

/// A figure with its spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Median of the rounds.
    pub median: f64,
    /// Least and most, where the bench has more than one round.
    pub range: Option<(f64, f64)>,
}

/// What pictures are drawn of. A row may lack them, but not have something else there: it would be left out unseen.
const FIGURES: [&str; 12] = [
    "ns_per_op",
    "ns_min",
    "ns_max",
    "p99_ns",
    "p999_ns",
    "of_http1",
    "tcp_bytes_per_op",
    "cpu_us_per_request",
    "ratio_to_haproxy",
    "to_ours",
    "idle_bytes_per_connection",
    "active_bytes_per_connection",
];

/// Reads lines; `source` is what errors call the place they come from.
///
/// # Errors
///
/// The line that is no JSON object with a name, or whose figure is no number.
pub fn parse(source: &str, lines: &str) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for (number, line) in lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{source}, line {}: run the bench with --json and give what it prints", number + 1);
        records.push(Record::parse(line).with_context(place)?);
    }
    ensure!(!records.is_empty(), "{source}: holds no lines; run the bench with --json and give what it prints");
    Ok(records)
}

impl Record {
    fn parse(line: &str) -> Result<Self> {
        let fields: Map<String, Value> = serde_json::from_str(line).context("no JSON object")?;
        let name = fields.get("name").and_then(Value::as_str).context("no \"name\"")?.to_owned();
        let record = Self { name, fields };
        for field in FIGURES {
            let good = record.fields.get(field).is_none_or(Value::is_null) || record.figure(field).is_some();
            ensure!(good, "\"{field}\" of {} is {}, which is no number", record.name, record.fields[field]);
        }
        Ok(record)
    }

    /// Its name's segments.
    #[must_use]
    pub fn segments(&self) -> Vec<&str> {
        self.name.split('/').collect()
    }

    /// Whether it has this field, be it `null`.
    #[must_use]
    pub fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// A field that is a number.
    #[must_use]
    pub fn number(&self, field: &str) -> Option<f64> {
        self.fields.get(field).and_then(Value::as_f64)
    }

    /// A field that is a text.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }

    /// Nanoseconds an operation.
    #[must_use]
    pub fn ns(&self) -> Option<Figure> {
        let range = self.number("ns_min").zip(self.number("ns_max"));
        Some(Figure { median: self.number("ns_per_op")?, range })
    }

    /// A field that is a number, or an object with `median`, `min` and `max`.
    #[must_use]
    pub fn figure(&self, field: &str) -> Option<Figure> {
        let value = self.fields.get(field)?;
        let part = |name: &str| value.get(name).and_then(Value::as_f64);
        let median = value.as_f64().or_else(|| part("median"))?;
        Some(Figure { median, range: part("min").zip(part("max")) })
    }
}

impl Figure {
    /// In another unit.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self { median: self.median * factor, range: self.range.map(|(least, most)| (least * factor, most * factor)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_numbers_or_medians() {
        let lines = r#"{"name":"a/b","ns_per_op":2,"ns_min":1,"ns_max":3}

            {"name":"c","cpu":{"median":5.5,"min":5,"max":6}}"#;
        let records = parse("here", lines).expect("two");
        assert_eq!(records[0].ns(), Some(Figure { median: 2.0, range: Some((1.0, 3.0)) }));
        assert_eq!(records[1].figure("cpu"), Some(Figure { median: 5.5, range: Some((5.0, 6.0)) }));
        assert_eq!(records[1].ns(), None);
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = format!("{:#}", parse("x.jsonl", "{\"name\":\"a\"}\nrow   ns/op").expect_err("a table"));
        assert!(error.starts_with("x.jsonl, line 2: "), "{error}");
        assert!(parse("x.jsonl", " \n").is_err());
        let error = format!("{:#}", parse("x.jsonl", r#"{"name":"a","ns_per_op":"x"}"#).expect_err("a text"));
        assert!(error.starts_with("x.jsonl, line 1: ") && error.contains("\"ns_per_op\" of a is \"x\""), "{error}");
    }
}
