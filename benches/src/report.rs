//! How figures are told: a table for people, one JSON object a line for programs.

use serde_json::{Map, Value, json};

use crate::measure::Measured;
use crate::rows::Figure;

mod compare;
mod table;

pub use compare::{Against, Compared, Earlier, compare};
pub use table::{Column, table};

/// One line of JSON.
#[must_use]
pub fn json_line(row: &Measured, compared: &Compared) -> String {
    let mut line = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            line.insert(key.to_owned(), value);
        }
    };
    put("name", Some(row.name.clone().into()));
    put("figure", Some(figure(row.figure).into()));
    put("ns_per_op", Some(round(row.ns.median, 1)));
    put("ns_min", Some(round(row.ns.min, 1)));
    put("ns_max", Some(round(row.ns.max, 1)));
    if let Some(cpu) = row.cpu_ns {
        put("cpu_ns_per_op", Some(round(cpu.median, 1)));
        put("cpu_ns_min", Some(round(cpu.min, 1)));
        put("cpu_ns_max", Some(round(cpu.max, 1)));
    }
    put("allocs_per_op", row.allocs.map(|allocs| round(allocs, 3)));
    if let Some(of) = row.traffic {
        put("wire_bytes_per_op", Some(round(of.bytes_out + of.bytes_in, 1)));
        put("wire_bytes_out_per_op", Some(round(of.bytes_out, 1)));
        put("wire_bytes_in_per_op", Some(round(of.bytes_in, 1)));
        put("flushes_out_per_op", Some(round(of.batches_out, 4)));
        put("flushes_in_per_op", Some(round(of.batches_in, 4)));
    }
    if let Some(tail) = row.tail {
        put("p99_ns", Some(round(tail.p99, 0)));
        put("p999_ns", tail.p999.map(|p999| round(p999, 0)));
        put("greatest_ns", Some(round(tail.max, 0)));
        put("early", (row.figure == Figure::Flush).then(|| tail.early.into()));
    }
    put("calls_per_s", row.rate.map(|rate| round(rate, 0)));
    put("ns_per_byte", row.body.map(|bytes| round(row.ns.median / bytes as f64, 4)));
    if let Some(memory) = row.memory {
        put("resident_peak_bytes", Some(round(memory.peak, 0)));
        if let Some(each) = memory.each {
            put("idle_bytes_per_connection", Some(round(each.idle, 0)));
            put("active_bytes_per_connection", Some(round(each.active, 0)));
            put("idle_bytes_per_client_connection", each.idle_client.map(|bytes| round(bytes, 0)));
        }
    }
    put("times_floor", compared.times_floor.map(|times| round(times, 2)));
    put_against(&mut put, "go", compared.go);
    put_against(&mut put, "earlier", compared.earlier);
    Value::Object(line).to_string()
}

fn put_against(put: &mut impl FnMut(&str, Option<Value>), whom: &str, against: Option<Against>) {
    let Some(against) = against else { return };
    put(&format!("{whom}_ns"), Some(round(against.ns, 1)));
    put(&format!("times_{whom}"), Some(round(against.times, 3)));
    put(&format!("times_{whom}_by_floor"), against.by_floor.map(|times| round(times, 3)));
}

/// What `ns_per_op` is.
fn figure(figure: Figure) -> &'static str {
    match figure {
        Figure::Calls => "time per call",
        Figure::Latency | Figure::OpenLatency { .. } => "latency, median",
        Figure::Flush => "lateness, median",
        Figure::Floor => "floor",
    }
}

/// A number of so many digits after the point.
fn round(value: f64, digits: i32) -> Value {
    let unit = 10_f64.powi(digits);
    json!((value * unit).round() / unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Memory, PerConnection, Round, Tail, Traffic};
    use crate::rows::{Carried, Payload, Row};

    fn parsed(row: &Row, round: Round, compared: &Compared) -> Map<String, Value> {
        let line = json_line(&Measured::new(row, &[round]), compared);
        assert!(!line.contains('\n'));
        serde_json::from_str(&line).expect("JSON")
    }

    #[test]
    fn a_line_has_the_keys_of_what_was_measured_and_no_other() {
        let plain =
            parsed(&Row::new(Carried::Tlv, "x", 1), Round { ns: 12.3, ..Round::default() }, &Compared::default());
        let keys: Vec<_> = plain.keys().map(String::as_str).collect();
        assert_eq!(keys, ["figure", "name", "ns_max", "ns_min", "ns_per_op"]);
        assert_eq!(plain["name"], "fastrpc/x");
        assert_eq!(plain["ns_per_op"], 12.3);
    }

    #[test]
    fn a_full_line_has_them_all() {
        let row = Row { figure: Figure::Flush, payload: Payload::Echo(50), ..Row::new(Carried::Tlv, "x", 1) };
        let round = Round {
            ns: 1000.0,
            cpu_ns: Some(5.0),
            rate: Some(7.0),
            traffic: Some(Traffic { bytes_out: 18.0, bytes_in: 269.0, batches_out: 0.01, batches_in: 0.02 }),
            tail: Some(Tail { p99: 2.0, p999: Some(3.0), max: 4.0, early: 0 }),
            memory: Some(Memory {
                peak: 9.0,
                each: Some(PerConnection { idle: 1.0, active: 2.0, idle_client: Some(0.5) }),
            }),
            ..Round::default()
        };
        let against = Some(Against { ns: 4000.0, times: 0.25, by_floor: Some(0.5) });
        let line = parsed(&row, round, &Compared { times_floor: Some(10.0), go: against, earlier: against });
        assert_eq!(line["wire_bytes_per_op"], 287.0);
        assert_eq!(line["ns_per_byte"], 10.0);
        assert_eq!((&line["times_go"], &line["times_go_by_floor"]), (&json!(0.25), &json!(0.5)));
        assert_eq!((&line["early"], &line["times_earlier"]), (&json!(0), &json!(0.25)));
        assert_eq!(line["idle_bytes_per_client_connection"], 1.0);
    }
}
