//! Families whose rows tell all that is needed to draw them as bars.

use super::families::{Picture, ROUNDS, Rows, Run};
use super::record::{Figure, Record};
use crate::plot::bars::{Bar, Bars, Row, Section, Series};
use crate::plot::caption::Caption;
use crate::plot::style::Tone;
use crate::plot::unit::Unit;

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
        let floor = record.text("floor").and_then(|floor| rows.ends_with(&format!("{floor}/{callers}")));
        let row = Row {
            mark: floor.and_then(Record::ns).map(|floor| floor.median),
            ..row(&library, bar(series, figure, to_ours(record)))
        };
        let plural = if *callers == "1" { "" } else { "s" };
        sections.add(&format!("{kind}, {callers} caller{plural}"), row);
    }
    let title = "Cost of a call beside other libraries, one core, both ends";
    let note = "Floor: the same bytes echoed in batches of all callers, and one task woken a call. With one caller both are system \
                calls and wakes for the most part, within noise of each other.";
    let caption = run.caption("taskset -c 1 target/release/peers", title, vec![ROUNDS.to_owned(), note.to_owned()]);
    sections.picture("peers.svg", caption, ["this project", "others"])
}

/// How many times as much as the row of ours with the same calls, unless it is that row.
fn to_ours(record: &Record) -> String {
    match record.text("ours") {
        Some(ours) if !format!("/{}", record.name).contains(&format!("/{ours}/")) => {
            to(record, "to_ours", ours.rsplit('/').next().unwrap_or(ours))
        }
        _ => String::new(),
    }
}

/// Proxies: CPU a request.
pub(super) fn proxy(rows: &Rows, run: &Run) -> Vec<Picture> {
    let mut sections = Sections::default();
    let mut cited = None;
    for record in rows.iter() {
        // Without a proxy there is none of its CPU.
        let Some(figure) = record.figure("cpu_us_per_request").filter(|figure| figure.median > 0.0) else { continue };
        let day = record.text("cited");
        cited = cited.or(day);
        let label =
            ["proxy/", "cited/"].iter().find_map(|begin| record.name.strip_prefix(begin)).unwrap_or(&record.name);
        let series = usize::from(!label.starts_with("httptp"));
        let label = day.map_or_else(|| label.to_owned(), |day| format!("{label}, {day}"));
        let note = to(record, "ratio_to_haproxy", "haproxy");
        sections.add("", row(&label, bar(series, figure.times(1e3), note)));
    }
    let mut notes = vec![ROUNDS.to_owned()];
    if let Some(day) = cited {
        notes.push(format!(
            "Cited rows were measured on {day}, on another machine: only their ratios compare with the others'."
        ));
    }
    let title = "CPU of proxies per request, user and system";
    sections.picture("proxy.svg", run.caption("target/release/proxy", title, notes), ["httptp", "others"])
}

/// `1.23x haproxy`, of a field that is a ratio.
fn to(record: &Record, field: &str, what: &str) -> String {
    match record.figure(field).map(|ratio| ratio.median) {
        Some(ratio) if ratio >= 10.0 => format!("{ratio:.1}x {what}"),
        Some(ratio) => format!("{ratio:.2}x {what}"),
        None => String::new(),
    }
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
        sections.add(&heading, row(&label, bar(0, figure, String::new())));
    }
    let caption = run.caption("what a bench printed", format!("Time per operation: {name}"), vec![ROUNDS.to_owned()]);
    sections.picture(&format!("{name}.svg"), caption, ["this project", "others"])
}

/// Rows that have a median and percentiles: `KIND/..`, a section for each kind.
pub(super) fn percentiles(rows: &Rows, run: &Run) -> Vec<Picture> {
    let mut sections = Sections::default();
    for record in rows.iter() {
        let Some(median) = record.ns() else { continue };
        let (kind, label) = record.name.split_once('/').unwrap_or(("", &record.name));
        if ["tcp", "mt"].contains(&kind) {
            continue; // `matrix --all` has them; they would be three pictures more.
        }
        let mut bars = vec![bar(0, median, String::new())];
        for (series, field) in [(1, "p99_ns"), (2, "p999_ns")] {
            bars.extend(record.figure(field).map(|figure| bar(series, figure, String::new())));
        }
        let heading = match kind {
            "latency" => "Latency of calls, by callers that wait or by a fixed rate".to_owned(),
            "flush" => "How late a batch leaves, by batch delay".to_owned(),
            kind => kind.to_owned(),
        };
        sections.add(&heading, Row { label: setting(label), bars, mark: None });
    }
    let tones = [(Tone::Ours, "median"), (Tone::OursBefore, "99 %"), (Tone::Other, "99.9 %")];
    let series = tones.map(|(tone, label)| Series { label: label.to_owned(), tone });
    let notes = vec![
        "Each call counts from the moment at which it was to be made; each batch from the end of its delay.".to_owned(),
        "99.9 % is left out where a round has fewer than 1000 of them.".to_owned(),
    ];
    let caption = run.caption(
        "taskset -c 1 target/release/matrix --only latency --only flush",
        "Latency, and lateness of flushes",
        notes,
    );
    let bars = Bars { caption, unit: Unit::Time, series: series.into(), mark: None, sections: sections.0 };
    vec![Picture { file: "latency.svg".to_owned(), svg: bars.svg() }]
}

/// What a row with percentiles was measured with, in words.
fn setting(label: &str) -> String {
    match label.split('/').collect::<Vec<_>>().as_slice() {
        [what @ .., "open", rate] => format!("{}, {rate} calls/s", what.join(" ")),
        [what @ .., "1"] => format!("{}, 1 caller", what.join(" ")),
        [what @ .., callers] if !what.is_empty() => format!("{}, {callers} callers", what.join(" ")),
        _ => label.to_owned(),
    }
}

fn row(label: &str, bar: Bar) -> Row {
    Row { label: label.to_owned(), bars: vec![bar], mark: None }
}

fn bar(series: usize, figure: Figure, note: String) -> Bar {
    Bar { series, value: figure.median, range: figure.range, note }
}

/// Rows under headings, in the order in which they came.
#[derive(Default)]
struct Sections(Vec<Section>);

impl Sections {
    fn add(&mut self, heading: &str, row: Row) {
        match self.0.iter_mut().find(|section| section.label == heading) {
            Some(section) => section.rows.push(row),
            None => self.0.push(Section { label: heading.to_owned(), rows: vec![row] }),
        }
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.0.iter().flat_map(|section| &section.rows)
    }

    /// Bars of two kinds: ours and others'.
    fn picture(self, file: &str, caption: Caption, kinds: [&str; 2]) -> Vec<Picture> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let kinds = [Tone::Ours, Tone::Other].into_iter().zip(kinds);
        let mut series: Vec<_> = kinds.map(|(tone, label)| Series { label: label.to_owned(), tone }).collect();
        if self.rows().all(|row| row.bars.iter().all(|bar| bar.series == 0)) {
            series.pop();
        }
        let mark = self.rows().any(|row| row.mark.is_some()).then(|| "floor: the same bytes echoed".to_owned());
        let bars = Bars { caption, unit: Unit::Time, series, mark, sections: self.0 };
        vec![Picture { file: file.to_owned(), svg: bars.svg() }]
    }
}
