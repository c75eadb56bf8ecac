//! Which rows belong together, and who draws them.

use std::collections::BTreeMap;

use super::record::Record;
use super::{bytes, matrix, others, scale};
use crate::plot::caption::Caption;

/// How bars and lines that have a range come about.
pub(super) const ROUNDS: &str = "Medians of interleaved rounds, thin lines from the least to the most.";

/// One file to write.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Its name, without folder.
    pub file: String,
    /// What is in it.
    pub svg: String,
}

/// What a subtitle says about the run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The machine.
    pub machine: String,
    /// The day.
    pub date: String,
}

impl Run {
    /// The words around a picture of what `command` printed: one of the programs, with the options that its rows need.
    pub(super) fn caption(&self, command: &str, title: impl Into<String>, notes: Vec<String>) -> Caption {
        let subtitle = format!("{}, {}, {command}", self.machine, self.date);
        Caption { title: title.into(), subtitle, notes }
    }
}

/// Rows that are drawn together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    Matrix,
    Bytes,
    Peers,
    Proxy,
    Scale,
    /// How long calls, or flushes, take: with percentiles.
    Percentiles,
    /// Named by their first segment.
    Other(String),
}

impl Family {
    /// Fields tell more than names: the peers have rows that are called as those of the matrix are.
    fn of(record: &Record) -> Self {
        let first = record.segments()[0];
        match first {
            _ if record.has("to_ours") => Self::Peers,
            _ if record.has("cpu_us_per_request") => Self::Proxy,
            _ if record.has("p99_ns") => Self::Percentiles,
            "fastrpc" | "http" | "lazy" | "floor" | "tcp" | "mt" => Self::Matrix,
            "bytes" => Self::Bytes,
            "peers" => Self::Peers,
            "proxy" => Self::Proxy,
            "scale" => Self::Scale,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// The rows of one family, in the order in which they came.
#[derive(Debug, Default)]
pub struct Rows(Vec<Record>);

impl Rows {
    /// A row measured twice counts as it was measured last, where it stood first.
    fn add(&mut self, record: Record) {
        match self.0.iter_mut().find(|known| known.name == record.name) {
            Some(known) => *known = record,
            None => self.0.push(record),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Record> {
        self.0.iter().find(|record| record.name == name)
    }

    /// The row with this name or, before it, what a bench puts before all of its names.
    pub(super) fn ends_with(&self, name: &str) -> Option<&Record> {
        let is_it = |rest: &str| rest.is_empty() || rest.ends_with('/');
        self.0.iter().find(|record| record.name.strip_suffix(name).is_some_and(is_it))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.0.iter()
    }
}

/// Draws all that the records show. Rows that no family knows are drawn as plain bars if they have nanoseconds.
#[must_use]
pub fn draw(records: Vec<Record>, run: &Run) -> Vec<Picture> {
    let mut families: BTreeMap<Family, Rows> = BTreeMap::new();
    for record in records {
        families.entry(Family::of(&record)).or_default().add(record);
    }
    let draw = |(family, rows): (Family, Rows)| match family {
        Family::Matrix => matrix::pictures(&rows, run),
        Family::Bytes => bytes::pictures(&rows, run),
        Family::Peers => others::peers(&rows, run),
        Family::Proxy => others::proxy(&rows, run),
        Family::Percentiles => others::percentiles(&rows, run),
        Family::Scale => scale::pictures(&rows, run),
        Family::Other(name) => others::plain(&name, &rows, run),
    };
    families.into_iter().flat_map(draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plots::record::parse;

    const LINES: &str = r#"{"name":"fastrpc/no_delay/1","ns_per_op":900,"ns_min":800,"ns_max":1000}
        {"name":"fastrpc/no_delay/100","ns_per_op":999,"ns_min":200,"ns_max":260}
        {"name":"fastrpc/no_delay/100","ns_per_op":231,"ns_min":200,"ns_max":260}
        {"name":"fastrpc/delay/1ms","ns_per_op":1200}
        {"name":"fastrpc/delay/2ms","ns_per_op":2200}
        {"name":"http/compress/flate","ns_per_op":2500,"ns_min":2400,"ns_max":2600}
        {"name":"floor/fastrpc/100","ns_per_op":88,"ns_min":80,"ns_max":95}
        {"name":"bytes/rtb/http1/1","ns_per_op":7500,"ns_min":7000,"ns_max":8000,"of_http1":1,"tcp_bytes_per_op":3326.7}
        {"name":"bytes/rtb/flate/1","ns_per_op":70000,"ns_min":70000,"ns_max":80000,"of_http1":0.21,"tcp_bytes_per_op":700}
        {"name":"bytes/rtb/flate/16","ns_per_op":44000,"ns_min":41000,"ns_max":49000,"of_http1":0.177,"tcp_bytes_per_op":588}
        {"name":"http/hyper1/100","ns_per_op":5000,"ns_min":4800,"ns_max":5200,"ours":"http/httpteleport","to_ours":null}
        {"name":"proxy/haproxy","cpu_us_per_request":{"median":22.1,"min":21,"max":23}}
        {"name":"scale/callers/1/http","ns_per_op":5000}
        {"name":"scale/callers/1000/http","ns_per_op":1500}
        {"name":"scale/cores/apart/http","ns_per_op":1750,"resident_peak_bytes":5000000}
        {"name":"mt/tcp/http/no_delay/1","ns_per_op":9000,"ns_min":8000,"ns_max":9900}
        {"name":"mt/tcp/http/no_delay/100","ns_per_op":1700,"ns_min":1600,"ns_max":1900}
        {"name":"latency/http/open/20000","ns_per_op":3235,"p99_ns":17519,"p999_ns":121151}
        {"name":"framed/no_delay/100","ns_per_op":1111}
        {"name":"about","nothing":"to draw"}
        {"name":"scale/connections/9000/http","skipped":"needs 18100 open files"}"#;

    fn pictures() -> Vec<Picture> {
        let run = Run { machine: "a <machine>".to_owned(), date: "2026-11-25".to_owned() };
        draw(parse("test", LINES).expect("lines"), &run)
    }

    #[test]
    fn each_family_has_its_pictures() {
        let files: Vec<String> = pictures().into_iter().map(|picture| picture.file).collect();
        assert_eq!(
            files,
            [
                "matrix-fastrpc.svg",
                "matrix-http.svg",
                "matrix-callers.svg",
                "matrix-delay.svg",
                "matrix-transport.svg",
                "bytes-size.svg",
                "bytes-cpu.svg",
                "bytes-flush.svg",
                "peers.svg",
                "proxy.svg",
                "scale-callers.svg",
                "scale-cores.svg",
                "latency.svg",
                "framed.svg",
            ]
        );
    }

    #[test]
    fn every_picture_is_xml_with_a_title_and_says_all_it_shows() {
        for Picture { file, svg } in pictures() {
            let document = roxmltree::Document::parse(&svg).unwrap_or_else(|error| panic!("{file}: {error}"));
            let root = document.root_element();
            let text = |tag: &str| root.children().find(|node| node.has_tag_name(tag)).and_then(|node| node.text());
            assert!(text("title").is_some_and(|title| !title.is_empty()), "{file}");
            assert!(text("desc").is_some_and(|text| text.contains("a <machine>, 2026-11-25, ")), "{file}");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{file}");
        }
        let all: String = pictures().into_iter().map(|picture| picture.svg).collect();
        for label in ["231 ns", "3.62 µs", "588 B", "17.7 %", "22.1 µs", "5.00 µs", "1.70 µs", "17.5 µs", "1.11 µs"]
        {
            assert!(all.contains(label), "{label}");
        }
        assert!(!all.contains("999 ns"), "measured anew");
    }
}
