//! Families whose rows tell all that is needed to draw them.

use super::families::{Picture, Rows, Run};
use super::record::{Figure, Record};
use crate::plot::bars::{Bar, Bars, Row, Section, Series};
use crate::plot::lines::{self, Line, Lines, Panel, Point, Scale};
use crate::plot::style::Tone;
use crate::plot::unit::Unit;

const ROUNDS: &str = "Medians of interleaved rounds, thin lines from the least to the most.";

/// Libraries that do the same, by kind and number of callers: `KIND/LIBRARY/CALLERS`.
pub(super) fn peers(rows: &Rows, run: &Run) -> Vec<Picture> {
    let mut sections = Sections::default();
    for record in rows.iter() {
        let segments: Vec<&str> = record.segments().into_iter().filter(|segment| *segment != "peers").collect();
        let ([kind, library @ .., callers], Some(figure)) = (segments.as_slice(), record.ns()) else { continue };
        if *kind == "floor" {
            continue;
        }
        let library = library.join("/");
        let series = usize::from(!(library.contains("fastrpc") || library.contains("teleport")));
        sections.add(
            &format!("{kind}, {callers} callers"),
            &library,
            bar(series, figure, to(record, "to_ours", "ours")),
        );
    }
    let title = "Cost of a call beside other libraries, one core, both ends";
    sections.picture("peers.svg", run.caption("peers", title, vec![ROUNDS.to_owned()]), ["this project", "others"])
}

/// Proxies: CPU a request.
pub(super) fn proxy(rows: &Rows, run: &Run) -> Vec<Picture> {
    let mut sections = Sections::default();
    let mut cited = false;
    for record in rows.iter() {
        let Some(figure) = record.figure("cpu_us_per_request") else { continue };
        cited |= record.has("cited");
        let label = record.name.strip_prefix("proxy/").unwrap_or(&record.name);
        let ours = label.starts_with("httptp");
        sections.add("", label, bar(usize::from(!ours), figure.times(1e3), to(record, "ratio_to_haproxy", "haproxy")));
    }
    let mut notes = vec![ROUNDS.to_owned()];
    if cited {
        notes.push("Cited rows were measured on another day: only their ratios compare with the others'.".to_owned());
    }
    let title = "CPU of proxies per request, user and system";
    sections.picture("proxy.svg", run.caption("proxy", title, notes), ["httptp", "others"])
}

/// `1.23x haproxy`, of a field that is a ratio.
fn to(record: &Record, field: &str, what: &str) -> String {
    record.figure(field).map(|ratio| format!("{:.2}x {what}", ratio.median)).unwrap_or_default()
}

/// Rows of which no more is known than their names.
pub(super) fn plain(name: &str, rows: &Rows, run: &Run) -> Vec<Picture> {
    let mut sections = Sections::default();
    for record in rows.iter() {
        let Some(figure) = record.ns() else { continue };
        let segments = record.segments();
        let (heading, label) = match segments.as_slice() {
            [_, heading @ .., section, last] if heading.len() > 1 => (heading.join("/"), format!("{section} {last}")),
            [_, section, rest @ ..] if !rest.is_empty() => ((*section).to_owned(), rest.join("/")),
            _ => (String::new(), record.name.clone()),
        };
        sections.add(&heading, &label, bar(0, figure, String::new()));
    }
    let title = format!("Time per operation: {name}");
    sections.picture(
        &format!("{name}.svg"),
        run.caption("matrix", title, vec![ROUNDS.to_owned()]),
        ["this project", "others"],
    )
}

fn bar(series: usize, figure: Figure, note: String) -> Bar {
    Bar { series, value: figure.median, range: figure.range, note }
}

/// Bars under headings, in the order in which they came.
#[derive(Default)]
struct Sections(Vec<Section>);

impl Sections {
    fn add(&mut self, heading: &str, label: &str, bar: Bar) {
        let row = Row { label: label.to_owned(), bars: vec![bar], mark: None };
        match self.0.iter_mut().find(|section| section.label == heading) {
            Some(section) => section.rows.push(row),
            None => self.0.push(Section { label: heading.to_owned(), rows: vec![row] }),
        }
    }

    fn picture(self, file: &str, caption: crate::plot::caption::Caption, series: [&str; 2]) -> Vec<Picture> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let used =
            |index: usize| self.0.iter().flat_map(|section| &section.rows).any(|row| row.bars[0].series == index);
        let tones = [Tone::Ours, Tone::Other].into_iter().zip(series);
        let mut series: Vec<_> = tones.map(|(tone, label)| Series { label: label.to_owned(), tone }).collect();
        if !used(1) {
            series.pop();
        }
        let bars = Bars { caption, unit: Unit::Time, series, mark: None, sections: self.0 };
        vec![Picture { file: file.to_owned(), svg: bars.svg() }]
    }
}

/// What grows, the unit it is counted in, and what it is called.
const DIMENSIONS: [(&str, Unit, &str); 5] = [
    ("callers", Unit::Count, "callers"),
    ("connections", Unit::Count, "connections"),
    ("body", Unit::Bytes, "bytes of a body"),
    ("cores", Unit::Count, "cores"),
    ("pool", Unit::Count, "connections of a pool"),
];

/// Cost as something grows: a picture for each dimension, a line for each of the other segments.
pub(super) fn scale(rows: &Rows, run: &Run) -> Vec<Picture> {
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
        let name = if name.is_empty() { "time per call".to_owned() } else { name.join(", ") };
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
