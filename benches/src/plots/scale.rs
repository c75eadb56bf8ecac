//! Cost as something grows.

use super::families::{Picture, ROUNDS, Rows, Run};
use crate::plot::lines::{self, Line, Lines, Panel, Point, Scale};
use crate::plot::style::Tone;
use crate::plot::unit::Unit;

/// What grows, the unit it is counted in, and what it is called.
const DIMENSIONS: [(&str, Unit, &str); 5] = [
    ("callers", Unit::Count, "callers"),
    ("connections", Unit::Count, "connections"),
    ("body", Unit::Bytes, "bytes of a body"),
    ("cores", Unit::Count, "cores"),
    ("pool", Unit::Count, "connections of a pool"),
];

/// A picture for each dimension, a line for each of the other segments: `scale/LINE/DIMENSION/SIZE`.
pub(super) fn pictures(rows: &Rows, run: &Run) -> Vec<Picture> {
    DIMENSIONS.iter().filter_map(|dimension| over(dimension, rows, run)).collect()
}

fn over((dimension, unit, label): &(&str, Unit, &str), rows: &Rows, run: &Run) -> Option<Picture> {
    let mut names: Vec<String> = Vec::new();
    let mut lines: Vec<Line> = Vec::new();
    for record in rows.iter() {
        let segments = record.segments();
        let (Some(figure), Some(x)) = (record.ns(), segments.last().and_then(|last| last.parse().ok())) else {
            continue;
        };
        if !segments.contains(dimension) {
            continue;
        }
        let middle = &segments[1..segments.len() - 1];
        let name: Vec<&str> = middle.iter().copied().filter(|segment| segment != dimension).collect();
        let name = if name.is_empty() { String::new() } else { name.join(", ") };
        let series = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            lines.push(Line { series: names.len() - 1, points: Vec::new() });
            names.len() - 1
        });
        lines[series].points.push(Point { x, y: figure.median, range: figure.range });
    }
    if !lines.iter().any(|line| line.points.len() > 1) {
        return None;
    }
    let tones = [Tone::Ours, Tone::OursToo, Tone::OursAlso, Tone::OtherToo, Tone::Other].into_iter().cycle();
    let series = names.into_iter().zip(tones).map(|(label, tone)| lines::Series { label, tone, dashed: false });
    let picture = Lines {
        caption: run.caption("scale", format!("Cost of a call over {label}"), vec![ROUNDS.to_owned()]),
        x: Scale { label: (*label).to_owned(), unit: *unit },
        y: Scale { label: "time per call".to_owned(), unit: Unit::Time },
        series: series.collect(),
        panels: vec![Panel { label: String::new(), lines }],
    };
    Some(Picture { file: format!("scale-{dimension}.svg"), svg: picture.svg() })
}
