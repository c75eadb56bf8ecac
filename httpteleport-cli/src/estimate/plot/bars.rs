//! Horizontal bars, in sections of rows; each bar with its value.

use super::caption::{Caption, Key, Sign};
use super::style::{GRID, INK, LABEL, MARGIN, MUTED, SMALL, Tone, WIDTH};
use super::svg::{Anchor, Svg, Type};
use super::text::width;
use super::unit::Unit;

/// A picture of bars.
#[derive(Clone, Debug)]
pub struct Bars {
    /// The words around it.
    pub caption: Caption,
    /// What the values are.
    pub unit: Unit,
    /// What the bars of a row stand for.
    pub series: Vec<Series>,
    /// What the marks stand for, if there are any: a target, a limit.
    pub mark: Option<String>,
    /// From top to bottom.
    pub sections: Vec<Section>,
}

/// One kind of bars.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is. A picture with a single series has no need of a legend.
    pub label: String,
    /// Its colour.
    pub tone: Tone,
}

/// Rows under a heading.
#[derive(Clone, Debug)]
pub struct Section {
    /// The heading; none if empty.
    pub label: String,
    /// From top to bottom.
    pub rows: Vec<Row>,
}

/// Bars beside one label.
#[derive(Clone, Debug)]
pub struct Row {
    /// What the row is.
    pub label: String,
    /// From top to bottom.
    pub bars: Vec<Bar>,
    /// Where the mark is.
    pub mark: Option<f64>,
}

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Which of [`Bars::series`].
    pub series: usize,
    /// Its length.
    pub value: f64,
    /// Least and most of what was measured: a thin line.
    pub range: Option<(f64, f64)>,
    /// Said after the value.
    pub note: String,
}

/// Height of a row's only bar, and of each when it has more.
const TALL: f64 = 15.0;
const LOW: f64 = 11.0;
const BETWEEN_BARS: f64 = 2.0;
const BETWEEN_ROWS: f64 = 8.0;
const HEADING: f64 = 26.0;

impl Bars {
    /// The picture.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut svg = Svg::default();
        let top = self.caption.above(&mut svg, &self.keys());
        let layout = Layout::of(self, top);
        self.draw_axis(&mut svg, &layout);
        let mut y = layout.top;
        for section in &self.sections {
            y = self.draw_section(&mut svg, &layout, section, y);
        }
        let height = self.caption.below(&mut svg, layout.bottom + 22.0);
        svg.finish(WIDTH, height, &self.caption.title, &self.description())
    }

    fn keys(&self) -> Vec<Key> {
        let bar = |series: &Series| Key { label: series.label.clone(), tone: series.tone, sign: Sign::Bar };
        let mut keys: Vec<Key> = self.series.iter().map(bar).collect();
        keys.extend(self.mark.iter().map(|label| Key { label: label.clone(), tone: Tone::Limit, sign: Sign::Mark }));
        if keys.len() > 1 { keys } else { Vec::new() }
    }

    fn bars(&self) -> impl Iterator<Item = &Bar> {
        self.rows().flat_map(|row| &row.bars)
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.sections.iter().flat_map(|section| &section.rows)
    }

    fn value_label(&self, bar: &Bar) -> String {
        self.unit.label(bar.value)
    }

    /// All that the picture says, for those who cannot see it.
    fn description(&self) -> String {
        let mut text = self.caption.subtitle.clone();
        for section in &self.sections {
            for row in &section.rows {
                let heading = [section.label.as_str(), row.label.as_str()].join(" ");
                let bar = |bar: &Bar| {
                    let series = self.series.get(bar.series).map_or("", |series| series.label.as_str());
                    [series, &self.value_label(bar), &bar.note].join(" ").trim().to_owned()
                };
                let bars: Vec<String> = row.bars.iter().map(bar).collect();
                text.push_str(&format!(" {}: {}.", heading.trim(), bars.join(", ")));
            }
        }
        text
    }

    fn draw_axis(&self, svg: &mut Svg, layout: &Layout) {
        let ticks = self.unit.axis(layout.most);
        for (tick, label) in ticks.iter().zip(self.unit.ticks(&ticks)) {
            let x = layout.x(*tick);
            svg.line((x, layout.top), (x, layout.bottom), GRID, 1.0);
            svg.text(x, layout.bottom + 16.0, Type::new(SMALL, MUTED).anchored(Anchor::Middle), &label);
        }
    }

    fn draw_section(&self, svg: &mut Svg, layout: &Layout, section: &Section, y: f64) -> f64 {
        let mut y = y;
        if !section.label.is_empty() {
            svg.heading(MARGIN, y + HEADING - 9.0, LABEL, &section.label);
            y += HEADING;
        }
        for row in &section.rows {
            self.draw_row(svg, layout, row, y);
            y += row.height() + BETWEEN_ROWS;
        }
        y
    }

    fn draw_row(&self, svg: &mut Svg, layout: &Layout, row: &Row, top: f64) {
        let label = Type::new(LABEL, INK).anchored(Anchor::End);
        svg.text(layout.left - 10.0, top + row.height() / 2.0 + 4.5, label, &row.label);
        let mut y = top;
        for bar in &row.bars {
            self.draw_bar(svg, layout, row, bar, y);
            y += row.bar_height() + BETWEEN_BARS;
        }
        if let Some(mark) = row.mark {
            let x = layout.x(mark);
            svg.line((x, top - 2.5), (x, top + row.height() + 2.5), Tone::Limit.colour(), 2.5);
        }
    }

    fn draw_bar(&self, svg: &mut Svg, layout: &Layout, row: &Row, bar: &Bar, y: f64) {
        let (end, middle) = (layout.x(bar.value), y + row.bar_height() / 2.0);
        let tone = self.series.get(bar.series).map_or(Tone::Ours, |series| series.tone);
        let value = self.value_label(bar);
        let title = format!("{}: {value} {}", row.label, bar.note);
        svg.bar([layout.left, y, end - layout.left, row.bar_height()], tone.colour(), title.trim());
        if let Some((least, most)) = bar.range {
            svg.line((layout.x(least), middle), (layout.x(most), middle), INK, 1.0);
        }
        let room = width(&value, SMALL) * BOLDER + 2.0 * GAP;
        let reach = layout.x(bar.reach());
        // Not across the mark.
        let mark = row.mark.map(|mark| layout.x(mark)).filter(|mark| (reach..reach + room).contains(mark));
        let x = mark.unwrap_or(reach) + GAP;
        let ours = !matches!(tone, Tone::Other | Tone::OtherToo);
        let kind = if ours { Type::bold(SMALL) } else { Type::new(SMALL, INK) };
        svg.value(x, middle + 4.2, kind, &value, &bar.note);
    }
}

/// Space before a value and before its note.
const GAP: f64 = 7.0;
/// How much wider bold text is.
const BOLDER: f64 = 1.08;

impl Row {
    fn bar_height(&self) -> f64 {
        if self.bars.len() > 1 { LOW } else { TALL }
    }

    fn height(&self) -> f64 {
        let count = self.bars.len().max(1) as f64;
        count * self.bar_height() + (count - 1.0) * BETWEEN_BARS
    }
}

impl Bar {
    /// How far anything of it is drawn, but for its label.
    fn reach(&self) -> f64 {
        self.range.map_or(self.value, |(_, most)| most.max(self.value))
    }
}

/// Where things are.
struct Layout {
    left: f64,
    top: f64,
    bottom: f64,
    /// The value at the right end, and where that is.
    most: f64,
    right: f64,
}

impl Layout {
    fn of(bars: &Bars, top: f64) -> Self {
        let labels = bars.rows().map(|row| width(&row.label, LABEL)).fold(60.0, f64::max);
        let values = bars.bars().map(|bar| {
            let note = if bar.note.is_empty() { 0.0 } else { GAP + width(&bar.note, SMALL) };
            GAP + width(&bars.value_label(bar), SMALL) * BOLDER + note
        });
        let values = values.fold(0.0, f64::max);
        let heights = bars.sections.iter().map(|section| {
            let heading = if section.label.is_empty() { 0.0 } else { HEADING };
            heading + section.rows.iter().map(|row| row.height() + BETWEEN_ROWS).sum::<f64>()
        });
        let most = bars.bars().map(Bar::reach).chain(bars.rows().filter_map(|row| row.mark)).fold(0.0, f64::max);
        Self {
            left: MARGIN + labels + 10.0,
            top,
            bottom: top + heights.sum::<f64>(),
            most: if most > 0.0 { most } else { 1.0 },
            right: WIDTH - MARGIN - values,
        }
    }

    fn x(&self, value: f64) -> f64 {
        self.left + (value / self.most) * (self.right - self.left)
    }
}
