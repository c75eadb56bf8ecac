//! The matrix, beside the Go original.

use super::families::{Picture, ROUNDS, Rows, Run};
use super::record::Figure;
use crate::go::GoReference;
use crate::plot::bars::{Bar, Bars, Row, Section, Series};
use crate::plot::lines::{self, Line, Lines, Panel, Point, Scale};
use crate::plot::style::Tone;
use crate::plot::unit::Unit;

/// What is carried: the first segment of a row's name, and what it is called.
const CARRIED: [(&str, &str, &str); 3] = [
    ("fastrpc", "fastrpc", "Cost of a small RPC, fastrpc beside the Go original"),
    ("http", "httpteleport", "Cost of an HTTP exchange, httpteleport beside the Go original"),
    ("lazy", "httpteleport, lazy heads", "Cost of an HTTP exchange with lazy heads, beside the Go original"),
];

/// Sections of the bars: rows that begin so, the heading, and what the last segment counts.
const SECTIONS: [(&str, &str, &str); 6] = [
    ("no_delay/", "No batch delay", " callers"),
    ("built/", "The same, request and reply built for each call", " callers"),
    ("compress/", "Compressed: 1000 callers, batch delay 1 ms", ""),
    ("tls/", "The same over TLS", ""),
    ("pipeline/", "A server that takes one call of a connection at a time", " callers"),
    ("send_nowait", "Fire and forget", ""),
];

/// What prints the rows of all pictures here but that of the transports.
const ON_ONE_CORE: &str = "taskset -c 1 target/release/matrix";

/// Callers of the rows with a batch delay.
const DELAYED_CALLERS: f64 = 1000.0;

pub(super) fn pictures(rows: &Rows, run: &Run) -> Vec<Picture> {
    let reference = GoReference::load();
    let mut pictures = Vec::new();
    for (carried, name, title) in CARRIED {
        let bars = bars(rows, run, &reference, carried, name, title);
        if bars.sections.iter().any(|section| !section.rows.is_empty()) {
            pictures.push(Picture { file: format!("matrix-{carried}.svg"), svg: bars.svg() });
        }
    }
    pictures.extend(callers(rows, run, &reference));
    pictures.extend(delays(rows, run, &reference));
    pictures.extend(transports(rows, run));
    pictures
}

fn bars(rows: &Rows, run: &Run, reference: &GoReference, carried: &str, name: &str, title: &str) -> Bars {
    let floor = rows.get(&format!("floor/{carried}/100")).and_then(super::record::Record::ns);
    let section = |(prefix, heading, suffix): &(&str, &str, &str)| {
        let prefix = format!("{carried}/{prefix}");
        let of_section = rows.iter().filter(|record| record.name.starts_with(&prefix));
        let row = |record: &super::record::Record| {
            let last = record.name.strip_prefix(&prefix).filter(|last| !last.is_empty()).unwrap_or("one caller");
            let go = figure_of(reference, &record.name);
            let ours = record.ns()?;
            let times = go.map(|go| format!("{:.1}x", go.median / ours.median)).unwrap_or_default();
            let mut bars = vec![bar(0, ours, times)];
            bars.extend(go.map(|go| bar(1, go, String::new())));
            // The floor is of batches of a hundred, neither compressed nor encrypted.
            let batched = last.parse::<u32>().is_ok_and(|callers| callers >= 100) || last == "none";
            let mark = floor.filter(|_| batched && !prefix.contains("/tls/")).map(|floor| floor.median);
            Some(Row { label: label(last, suffix), bars, mark })
        };
        Section { label: (*heading).to_owned(), rows: of_section.filter_map(row).collect() }
    };
    let sections = SECTIONS.iter().map(section).filter(|section| !section.rows.is_empty()).collect();
    let ours = format!("{name}, and how many times less time than Go");
    Bars {
        caption: run.caption(ON_ONE_CORE, title, notes(reference, carried, floor)),
        unit: Unit::Time,
        series: vec![
            Series { label: ours, tone: Tone::Ours },
            Series { label: "Go original".to_owned(), tone: Tone::Other },
        ],
        mark: floor.map(|_| "floor: the same bytes echoed, one task woken a call".to_owned()),
        sections,
    }
}

fn label(last: &str, suffix: &str) -> String {
    match (last, suffix) {
        ("1", " callers") => "1 caller".to_owned(),
        ("none", _) => "not compressed".to_owned(),
        (last, suffix) => format!("{last}{suffix}"),
    }
}

fn bar(series: usize, figure: Figure, note: String) -> Bar {
    Bar { series, value: figure.median, range: figure.range, note }
}

fn figure_of(reference: &GoReference, row: &str) -> Option<Figure> {
    reference.row(row).map(|(row, _)| Figure { median: row.ns, range: Some((row.min, row.max)) })
}

fn notes(reference: &GoReference, carried: &str, floor: Option<Figure>) -> Vec<String> {
    let GoReference { date, machine, .. } = reference;
    let floors = match (reference.floor(carried), floor) {
        (Some(then), Some(now)) => {
            let now = now.median;
            format!(
                " The floor was {then:.0} ns on that day and is {now:.0} ns in this run: the machines compare as these do."
            )
        }
        _ => String::new(),
    };
    vec![
        "Time per call on one core, both ends and the in-memory connection together; medians of rounds, thin lines from \
         the least to the most. Two connections, deadlines, limits and counters on."
            .to_owned(),
        format!("Go original: its own benchmarks of the same names, medians of {date}, {machine}.{floors}"),
    ]
}

/// Cost over the number of callers.
fn callers(rows: &Rows, run: &Run, reference: &GoReference) -> Option<Picture> {
    let x = |last: &str| last.parse().ok();
    let lines = both(rows, reference, "no_delay/", x);
    let note = format!("Broken lines: the Go original on {}, {}.", reference.date, reference.machine);
    let lines = Lines {
        caption: run.caption(ON_ONE_CORE, "Cost of a call over callers that wait at a time", vec![note]),
        x: Scale { label: "callers".to_owned(), unit: Unit::Count },
        y: Scale { label: "time per call, one core, both ends".to_owned(), unit: Unit::Time },
        series: series(),
        panels: vec![Panel { label: String::new(), lines }],
    };
    picture("matrix-callers.svg", &lines)
}

/// Cost over the batch delay, with what 1000 callers cannot go below.
fn delays(rows: &Rows, run: &Run, reference: &GoReference) -> Option<Picture> {
    let x = |last: &str| last.strip_suffix("ms")?.parse::<f64>().ok().map(|ms| ms * 1e6);
    let mut lines = both(rows, reference, "delay/", x);
    let mut series = series();
    if let Some(longest) = lines.iter().max_by_key(|line| line.points.len()) {
        let limit = |point: &Point| Point { x: point.x, y: point.x / DELAYED_CALLERS, range: None };
        let points = longest.points.iter().map(limit).collect();
        lines.push(Line { series: series.len(), points });
        series.push(lines::Series { label: "limit".to_owned(), tone: Tone::Limit, dashed: true });
    }
    let notes = vec![
        "Limit: a caller makes one call a batch, so 1000 callers cannot make more than 1000 calls in each delay."
            .to_owned(),
        format!("Broken lines: the Go original on {}, {}.", reference.date, reference.machine),
    ];
    let lines = Lines {
        caption: run.caption(ON_ONE_CORE, "Cost of a call over the batch delay, 1000 callers", notes),
        x: Scale { label: "batch delay of the client".to_owned(), unit: Unit::Time },
        y: Scale { label: "time per call, one core, both ends".to_owned(), unit: Unit::Time },
        series,
        panels: vec![Panel { label: String::new(), lines }],
    };
    picture("matrix-delay.svg", &lines)
}

/// What comes before the names of rows that run otherwise than in memory and on one thread.
const TRANSPORTS: [(&str, &str, Tone); 4] = [
    ("", "in memory, one thread", Tone::Ours),
    ("tcp/", "TCP, one thread", Tone::OursToo),
    ("mt/", "in memory, two threads", Tone::OursBefore),
    ("mt/tcp/", "TCP, two threads", Tone::OtherToo),
];

/// Cost over the number of callers, by transport: a panel for each of what is carried.
fn transports(rows: &Rows, run: &Run) -> Option<Picture> {
    let panel = |(carried, name, _): &(&str, &str, &str)| {
        let line = |(series, (prefix, ..)): (usize, &(&str, &str, Tone))| {
            let prefix = format!("{prefix}{carried}/no_delay/");
            let point = |record: &super::record::Record| {
                let (x, figure) = (record.name.strip_prefix(&prefix)?.parse().ok()?, record.ns()?);
                Some(Point { x, y: figure.median, range: figure.range })
            };
            Line { series, points: rows.iter().filter_map(point).collect() }
        };
        let lines = TRANSPORTS.iter().enumerate().map(line).filter(|line| !line.points.is_empty());
        Panel { label: (*name).to_owned(), lines: lines.collect() }
    };
    let panels: Vec<Panel> = CARRIED.iter().map(panel).filter(|panel| !panel.lines.is_empty()).collect();
    let others = panels.iter().flat_map(|panel| &panel.lines).any(|line| line.series > 0);
    let series = |(_, label, tone): &(&str, &str, Tone)| lines::Series {
        label: (*label).to_owned(),
        tone: *tone,
        dashed: false,
    };
    let lines = Lines {
        caption: run.caption(
            "target/release/matrix --all",
            "Cost of a call over callers, by transport",
            vec![ROUNDS.to_owned()],
        ),
        x: Scale { label: "callers".to_owned(), unit: Unit::Count },
        y: Scale { label: "time per call".to_owned(), unit: Unit::Time },
        series: TRANSPORTS.iter().map(series).collect(),
        panels,
    };
    if others { picture("matrix-transport.svg", &lines) } else { None }
}

fn series() -> Vec<lines::Series> {
    let series = |label: &str, tone, dashed| lines::Series { label: label.to_owned(), tone, dashed };
    vec![
        series("fastrpc", Tone::OursToo, false),
        series("Go fastrpc", Tone::OursTooBefore, true),
        series("httpteleport", Tone::Ours, false),
        series("Go httpteleport", Tone::OursBefore, true),
        series("lazy heads", Tone::OursAlso, false),
    ]
}

/// A line for each of [`series`]: ours and Go's, of what is carried.
fn both(rows: &Rows, reference: &GoReference, shape: &str, x: impl Fn(&str) -> Option<f64>) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, (carried, ..)) in CARRIED.iter().enumerate() {
        let prefix = format!("{carried}/{shape}");
        let (mut ours, mut go) = (Vec::new(), Vec::new());
        for record in rows.iter() {
            let Some(x) = record.name.strip_prefix(&prefix).and_then(&x) else { continue };
            ours.extend(record.ns().map(|figure| Point { x, y: figure.median, range: figure.range }));
            go.extend(figure_of(reference, &record.name).map(|figure| Point {
                x,
                y: figure.median,
                range: figure.range,
            }));
        }
        lines.push(Line { series: 2 * index, points: ours });
        if *carried != "lazy" {
            lines.push(Line { series: 2 * index + 1, points: go });
        }
    }
    lines.retain(|line| !line.points.is_empty());
    lines
}

/// A line of one point says nothing.
fn picture(file: &str, lines: &Lines) -> Option<Picture> {
    let long = lines.panels.iter().flat_map(|panel| &panel.lines).any(|line| line.points.len() > 1);
    long.then(|| Picture { file: file.to_owned(), svg: lines.svg() })
}
