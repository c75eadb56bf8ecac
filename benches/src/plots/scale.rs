//! Cost as something grows: `scale/DIMENSION/SIZE/WHAT`.

use super::families::{Picture, ROUNDS, Rows, Run};
use super::record::{Figure, Record};
use crate::plot::bars::{self, Bar, Bars, Row, Section};
use crate::plot::lines::{self, Line, Lines, Panel, Point, Scale};
use crate::plot::style::Tone;
use crate::plot::unit::Unit;

/// What grows, the unit it is counted in, and what it is called.
const DIMENSIONS: [(&str, Unit, &str); 4] = [
    ("callers", Unit::Count, "callers"),
    ("connections", Unit::Count, "connections"),
    ("body", Unit::Bytes, "the size of a body"),
    ("pool", Unit::Count, "connections of a pool"),
];

pub(super) fn pictures(rows: &Rows, run: &Run) -> Vec<Picture> {
    let mut pictures: Vec<Picture> = DIMENSIONS.iter().filter_map(|dimension| over(dimension, rows, run)).collect();
    pictures.extend(cores(rows, run));
    pictures.extend(memory(rows, run));
    pictures
}

/// A line for each of what is measured at more than one size.
fn over((dimension, unit, label): &(&str, Unit, &str), rows: &Rows, run: &Run) -> Option<Picture> {
    let mut found: Vec<(String, Vec<Point>)> = Vec::new();
    for record in rows.iter() {
        let Some((size, what)) = size_and_what(record, dimension) else { continue };
        let (Ok(x), Some(figure)) = (size.parse(), record.ns()) else { continue };
        let point = Point { x, y: figure.median, range: figure.range };
        match found.iter_mut().find(|(known, _)| *known == what) {
            Some((_, points)) => points.push(point),
            None => found.push((what, vec![point])),
        }
    }
    found.retain(|(_, points)| points.len() > 1);
    if found.is_empty() {
        return None;
    }
    let tones = [Tone::Ours, Tone::OursToo, Tone::OursAlso, Tone::OtherToo, Tone::Other].into_iter().cycle();
    let (mut series, mut lines) = (Vec::new(), Vec::new());
    for (index, ((what, mut points), tone)) in found.into_iter().zip(tones).enumerate() {
        points.sort_by(|one, other| one.x.total_cmp(&other.x));
        series.push(lines::Series { label: what, tone, dashed: false });
        lines.push(Line { series: index, points });
    }
    let picture = Lines {
        caption: run.caption("target/release/scale", format!("Cost of a call over {label}"), vec![ROUNDS.to_owned()]),
        x: Scale { label: (*label).to_owned(), unit: *unit },
        y: Scale { label: "time per call".to_owned(), unit: Unit::Time },
        series,
        panels: vec![Panel { label: String::new(), lines }],
    };
    Some(Picture { file: format!("scale-{dimension}.svg"), svg: picture.svg() })
}

/// The size of a row of this dimension, and what is measured, however many segments that takes.
fn size_and_what<'a>(record: &'a Record, dimension: &str) -> Option<(&'a str, String)> {
    let rest = record.name.strip_prefix("scale/")?.strip_prefix(dimension)?.strip_prefix('/')?;
    let (size, what) = rest.split_once('/').unwrap_or((rest, ""));
    Some((size, what.replace('/', ", ").replace("apart", "two processes")))
}

/// One core, two, and two processes on a core each.
fn cores(rows: &Rows, run: &Run) -> Option<Picture> {
    let row = |record: &Record| {
        let (cores, what) = size_and_what(record, "cores")?;
        let label = match cores {
            "1" => "1 worker thread".to_owned(),
            "apart" => "a process on each core".to_owned(),
            workers => format!("{workers} worker threads"),
        };
        Some((what, Row { label, bars: vec![bar(0, record.ns()?)], mark: None }))
    };
    let series = [(Tone::Ours, "this project")];
    let note = "One worker thread is a multi-thread runtime with one worker, which takes longer than the one-thread runtime of \
                other pictures.";
    let caption = run.caption(
        "target/release/scale",
        "Time per call by cores, 100 callers",
        vec![ROUNDS.to_owned(), note.to_owned()],
    );
    picture(
        "scale-cores.svg",
        &Bars { caption, unit: Unit::Time, series: named(series), mark: None, sections: by_what(rows, row) },
    )
}

/// Memory of a connection that does nothing, and of one that is in use.
fn memory(rows: &Rows, run: &Run) -> Option<Picture> {
    let row = |record: &Record| {
        let (count, what) = size_and_what(record, "connections")?;
        let idle = bar(0, record.figure("idle_bytes_per_connection")?);
        let active = record.figure("active_bytes_per_connection").map(|active| bar(1, active));
        let plural = if count == "1" { "" } else { "s" };
        let bars = [idle].into_iter().chain(active).collect();
        Some((what, Row { label: format!("{count} connection{plural}"), bars, mark: None }))
    };
    let series = [(Tone::Ours, "idle"), (Tone::OursBefore, "active")];
    let notes = vec![
        "Resident memory of the process over that without connections, by their number: with few of them it is what the \
         first ones of a process take."
            .to_owned(),
        "Idle: right after the first call of each connection. Active: right after the last round of calls.".to_owned(),
    ];
    let caption = run.caption("target/release/scale", "Memory per connection, both ends", notes);
    picture(
        "scale-memory.svg",
        &Bars { caption, unit: Unit::Bytes, series: named(series), mark: None, sections: by_what(rows, row) },
    )
}

fn bar(series: usize, figure: Figure) -> Bar {
    Bar { series, value: figure.median, range: figure.range, note: String::new() }
}

fn named<const N: usize>(series: [(Tone, &str); N]) -> Vec<bars::Series> {
    series.into_iter().map(|(tone, label)| bars::Series { label: label.to_owned(), tone }).collect()
}

/// Rows under what they measure.
fn by_what(rows: &Rows, row: impl Fn(&Record) -> Option<(String, Row)>) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for (label, row) in rows.iter().filter_map(row) {
        match sections.iter_mut().find(|section| section.label == label) {
            Some(section) => section.rows.push(row),
            None => sections.push(Section { label, rows: vec![row] }),
        }
    }
    sections
}

fn picture(file: &str, bars: &Bars) -> Option<Picture> {
    (!bars.sections.is_empty()).then(|| Picture { file: file.to_owned(), svg: bars.svg() })
}
