//! Bytes and CPU of traffic, by the way it travels.

use super::families::{Picture, Rows, Run};
use super::record::{Figure, Record};
use crate::cost::ways::Way;
use crate::plot::bars::{Bar, Bars, Row, Section, Series};
use crate::plot::lines::{self, Line, Lines, Panel, Point, Scale};
use crate::plot::style::Tone;
use crate::plot::unit::Unit;

/// Messages a flush of the bars: as many as a busy link has.
const FLUSH: &str = "16";
/// HTTP/1.1 has only this.
const ALONE: &str = "1";

pub(super) fn pictures(rows: &Rows, run: &Run) -> Vec<Picture> {
    let samples = samples(rows);
    let size = |record: &Record| {
        let part = record.number("of_http1")? * 100.0;
        let bytes = record.number("tcp_bytes_per_op").map(|bytes| Unit::Bytes.label(bytes));
        Some((Figure { median: part, range: None }, bytes.unwrap_or_default()))
    };
    let cpu = |record: &Record| Some((record.ns()?, String::new()));
    let mut pictures = Vec::new();
    let title = "Bytes on the wire per exchange, TCP/IP included, in percent of HTTP/1.1";
    let note = "Segments of 1448 bytes with 52 bytes of headers, and an acknowledgement for every second one.";
    pictures.extend(bars(rows, &samples, run, "bytes-size.svg", (title, note, Unit::Percent), size));
    let title = "CPU per exchange, both ends together";
    let note = "Clients, servers and compression, no system calls; medians, thin lines from the least to the most.";
    pictures.extend(bars(rows, &samples, run, "bytes-cpu.svg", (title, note, Unit::Time), cpu));
    pictures.extend(over_flushes(rows, &samples, run));
    pictures
}

/// `bytes/SAMPLE/WAY/MESSAGES` in parts.
fn parts(record: &Record) -> Option<(&str, &str, &str)> {
    match record.segments().as_slice() {
        [_, sample, way, messages] => Some((sample, way, messages)),
        _ => None,
    }
}

fn samples(rows: &Rows) -> Vec<&str> {
    let mut samples = Vec::new();
    for (sample, ..) in rows.iter().filter_map(parts) {
        if !samples.contains(&sample) {
            samples.push(sample);
        }
    }
    samples
}

fn title(way: &str) -> String {
    Way::ALL.into_iter().find(|known| known.name() == way).map_or_else(|| way.to_owned(), Way::title)
}

fn is_teleported(way: &str) -> bool {
    !way.starts_with("http")
}

/// One exchange at a time is a point and no line; what is not compressed hardly changes; and of the framed wire's
/// compressions one shows how all go.
fn is_line(way: &str) -> bool {
    !way.starts_with("http1") && way != "none" && (!way.starts_with("framed") || way == "framed_zstd")
}

/// What the samples are.
fn heading(sample: &str) -> String {
    let about = match sample {
        "rtb" => "bid requests, most replies empty",
        "rest" => "REST with JSON, cookies and tokens",
        "rpc" => "small JSON-RPC calls",
        "chat" => "completions that resend their history",
        _ => return sample.to_owned(),
    };
    format!("{sample}: {about}")
}

fn bars(
    rows: &Rows,
    samples: &[&str],
    run: &Run,
    file: &str,
    (title_text, note, unit): (&str, &str, Unit),
    value: impl Fn(&Record) -> Option<(Figure, String)>,
) -> Option<Picture> {
    let section = |sample: &&str| {
        let row = |record: &Record| {
            let (of, way, messages) = parts(record)?;
            let wanted = if way.starts_with("http1") { ALONE } else { FLUSH };
            if of != *sample || messages != wanted {
                return None;
            }
            let (figure, note) = value(record)?;
            let series = usize::from(!is_teleported(way));
            let bar = Bar { series, value: figure.median, range: figure.range, note };
            Some(Row { label: title(way), bars: vec![bar], mark: None })
        };
        Section { label: heading(sample), rows: rows.iter().filter_map(row).collect() }
    };
    let sections: Vec<Section> = samples.iter().map(section).filter(|section| !section.rows.is_empty()).collect();
    let how = format!(
        "{FLUSH} messages a flush but for HTTP/1.1, which has one exchange at a time. Real clients and servers over an \
         in-memory connection: hyper for HTTP, httpteleport for the rest; gzip is of each body, level 6."
    );
    let notes = vec![how, note.to_owned()];
    let bars = Bars {
        caption: run.caption("target/release/bytes", title_text, notes),
        unit,
        series: vec![
            Series { label: "teleported".to_owned(), tone: Tone::Ours },
            Series { label: "HTTP".to_owned(), tone: Tone::Other },
        ],
        mark: None,
        sections,
    };
    (!bars.sections.is_empty()).then(|| Picture { file: file.to_owned(), svg: bars.svg() })
}

/// Bytes over messages a flush, a panel for each sample.
fn over_flushes(rows: &Rows, samples: &[&str], run: &Run) -> Option<Picture> {
    let mut ways: Vec<&str> = Vec::new();
    for (_, way, _) in rows.iter().filter_map(parts) {
        if !ways.contains(&way) && is_line(way) {
            ways.push(way);
        }
    }
    let panel = |sample: &&str| {
        let line = |(series, way): (usize, &&str)| {
            let point = |record: &Record| {
                let (of, by, messages) = parts(record)?;
                let here = of == *sample && by == *way;
                let (x, y) = (messages.parse().ok().filter(|_| here)?, record.number("of_http1")? * 100.0);
                Some(Point { x, y, range: None })
            };
            Line { series, points: rows.iter().filter_map(point).collect() }
        };
        let lines = ways.iter().enumerate().map(line).filter(|line| !line.points.is_empty()).collect();
        Panel { label: heading(sample), lines }
    };
    // The last one compresses most, and has the colour that bars have.
    let mut ours = [Tone::Ours, Tone::OursToo].into_iter();
    let mut others = [Tone::OtherToo, Tone::Other].into_iter();
    let series = |way: &&str| {
        let tone = if is_teleported(way) { ours.next() } else { others.next() };
        lines::Series { label: title(way), tone: tone.unwrap_or(Tone::OursAlso), dashed: false }
    };
    let mut series: Vec<_> = ways.iter().rev().map(series).collect();
    series.reverse();
    let title = "Bytes on the wire over messages a flush, in percent of HTTP/1.1";
    let lines = Lines {
        caption: run.caption("target/release/bytes", title, vec!["TCP/IP included; logarithmic axes.".to_owned()]),
        x: Scale { label: "messages a flush".to_owned(), unit: Unit::Count },
        y: Scale { label: "percent of HTTP/1.1".to_owned(), unit: Unit::Percent },
        series,
        panels: samples.iter().map(panel).filter(|panel| !panel.lines.is_empty()).collect(),
    };
    let long = lines.panels.iter().flat_map(|panel| &panel.lines).any(|line| line.points.len() > 1);
    long.then(|| Picture { file: "bytes-flush.svg".to_owned(), svg: lines.svg() })
}
