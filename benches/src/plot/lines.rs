//! Lines over a size, on logarithmic axes; several panels when there is more than one subject.

use super::axis::Log;
use super::caption::{Caption, Key, Sign};
use super::style::{GRID, INK, LABEL, MARGIN, MUTED, SMALL, Tone, WIDTH};
use super::svg::{Anchor, Svg, Type};
use super::text::width;
use super::unit::Unit;

/// A picture of lines.
#[derive(Clone, Debug)]
pub struct Lines {
    /// The words around it.
    pub caption: Caption,
    /// Left to right.
    pub x: Scale,
    /// Bottom to top.
    pub y: Scale,
    /// What the lines stand for, the same in every panel.
    pub series: Vec<Series>,
    /// Pictures side by side, with the same axes.
    pub panels: Vec<Panel>,
}

/// An axis.
#[derive(Clone, Debug)]
pub struct Scale {
    /// What it shows.
    pub label: String,
    /// What its values are.
    pub unit: Unit,
}

/// One kind of lines.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is.
    pub label: String,
    /// Its colour.
    pub tone: Tone,
    /// Whether it is broken: what is not measured in the same run.
    pub dashed: bool,
}

/// One subject.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Its heading; none if empty.
    pub label: String,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Which of [`Lines::series`].
    pub series: usize,
    /// From left to right; values above zero.
    pub points: Vec<Point>,
}

/// One value.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// The size.
    pub x: f64,
    /// The value.
    pub y: f64,
    /// Least and most of what was measured: a thin line.
    pub range: Option<(f64, f64)>,
}

const SPACE_FOR_TICKS: f64 = 58.0;
const BETWEEN_PANELS: f64 = 26.0;
const LINE_OF_TEXT: f64 = 17.0;
/// As close to the right edge as this there is no room for a name.
const NEAR: f64 = 80.0;

impl Lines {
    /// The picture.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut svg = Svg::default();
        let top = self.caption.above(&mut svg, &self.keys());
        let scales = self.scales();
        let (columns, height) = if self.panels.len() > 1 { (2, 210.0) } else { (1, 340.0) };
        let room = WIDTH - 2.0 * MARGIN - self.label_room();
        let panel_width = (room - BETWEEN_PANELS * (columns - 1) as f64) / columns as f64;
        let mut bottom = top;
        for (index, panel) in self.panels.iter().enumerate() {
            let (column, row) = (index % columns, index / columns);
            let area = Area {
                left: MARGIN + SPACE_FOR_TICKS + column as f64 * (panel_width + BETWEEN_PANELS),
                right: MARGIN + column as f64 * (panel_width + BETWEEN_PANELS) + panel_width,
                top: top + 34.0 + row as f64 * (height + 88.0),
                bottom: top + 34.0 + row as f64 * (height + 88.0) + height,
                scales: &scales,
            };
            self.draw_panel(&mut svg, &area, panel);
            bottom = area.bottom + 40.0;
        }
        let height = self.caption.below(&mut svg, bottom + 4.0);
        svg.finish(WIDTH, height, &self.caption.title, &self.description())
    }

    fn is_single(&self) -> bool {
        self.panels.len() == 1
    }

    /// Lines of a single panel have their names at their ends instead.
    fn keys(&self) -> Vec<Key> {
        let sign = |series: &Series| if series.dashed { Sign::Dashes } else { Sign::Line };
        let key = |series: &Series| Key { label: series.label.clone(), tone: series.tone, sign: sign(series) };
        let used = |index: usize| self.panels.iter().flat_map(|panel| &panel.lines).any(|line| line.series == index);
        let keys = self.series.iter().enumerate().filter(|(index, _)| used(*index)).map(|(_, series)| key(series));
        if self.is_single() { Vec::new() } else { keys.collect() }
    }

    /// Room to the right of a single panel for the names of its lines.
    fn label_room(&self) -> f64 {
        let widths = self.series.iter().map(|series| width(&series.label, LABEL) + 12.0);
        if self.is_single() { widths.fold(0.0, f64::max) } else { 0.0 }
    }

    fn points(&self) -> impl Iterator<Item = &Point> {
        self.panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points)
    }

    fn scales(&self) -> Scales {
        let ys =
            self.points().flat_map(|point| [Some(point.y), point.range.map(|it| it.0), point.range.map(|it| it.1)]);
        Scales { x: Log::at(self.points().map(|point| point.x)), y: Log::over(ys.flatten()) }
    }

    /// All that the picture says, for those who cannot see it.
    fn description(&self) -> String {
        let mut text = format!("{} {} over {}.", self.caption.subtitle, self.y.label, self.x.label);
        for panel in &self.panels {
            for line in &panel.lines {
                let series = self.series.get(line.series).map_or("", |series| series.label.as_str());
                let point = |point: &Point| format!("{} at {}", self.y.unit.label(point.y), self.x.unit.tick(point.x));
                let points: Vec<String> = line.points.iter().map(point).collect();
                let name = [panel.label.as_str(), series].join(" ");
                text.push_str(&format!(" {}: {}.", name.trim(), points.join(", ")));
            }
        }
        text
    }

    fn draw_panel(&self, svg: &mut Svg, area: &Area<'_>, panel: &Panel) {
        self.draw_axes(svg, area, panel);
        for line in &panel.lines {
            let Some(series) = self.series.get(line.series) else { continue };
            self.draw_line(svg, area, line, series);
        }
        if self.is_single() {
            self.draw_names(svg, area, panel);
        }
    }

    fn draw_axes(&self, svg: &mut Svg, area: &Area<'_>, panel: &Panel) {
        let heading = if panel.label.is_empty() { &self.y.label } else { &panel.label };
        let kind = if panel.label.is_empty() { Type::new(LABEL, MUTED) } else { Type::bold(LABEL) };
        svg.text(area.left, area.top - 12.0, kind, heading);
        for tick in &area.scales.y.ticks {
            let y = area.y(*tick);
            svg.line((area.left, y), (area.right, y), GRID, 1.0);
            let label = Type::new(SMALL, MUTED).anchored(Anchor::End);
            svg.text(area.left - 8.0, y + 4.0, label, &self.y.unit.tick(*tick));
        }
        for tick in &area.scales.x.ticks {
            let x = area.x(*tick);
            svg.line((x, area.bottom), (x, area.bottom + 4.0), MUTED, 1.0);
            let label = Type::new(SMALL, MUTED).anchored(Anchor::Middle);
            svg.text(x, area.bottom + 18.0, label, &self.x.unit.tick(*tick));
        }
        svg.line((area.left, area.bottom), (area.right, area.bottom), MUTED, 1.0);
        let middle = f64::midpoint(area.left, area.right);
        svg.text(middle, area.bottom + 36.0, Type::new(SMALL, INK).anchored(Anchor::Middle), &self.x.label);
    }

    fn draw_line(&self, svg: &mut Svg, area: &Area<'_>, line: &Line, series: &Series) {
        let colour = series.tone.colour();
        let places: Vec<(f64, f64)> = line.points.iter().map(|point| (area.x(point.x), area.y(point.y))).collect();
        for (point, (x, _)) in line.points.iter().zip(&places) {
            if let Some((least, most)) = point.range.filter(|(least, _)| *least > 0.0) {
                svg.line((*x, area.y(least)), (*x, area.y(most)), colour, 1.0);
            }
        }
        svg.path(&places, colour, series.dashed);
        for (point, place) in line.points.iter().zip(&places) {
            let (y, x) = (self.y.unit.label(point.y), self.x.unit.tick(point.x));
            svg.dot(*place, colour, &format!("{}, {x}: {y}", series.label));
        }
    }

    /// Names at the right ends of the lines, moved apart where lines end close to each other. Lines that end near the edge
    /// have theirs in a column beyond it, others below their end.
    fn draw_names(&self, svg: &mut Svg, area: &Area<'_>, panel: &Panel) {
        let named = |line: &Line| {
            let (point, series) = (line.points.last()?, self.series.get(line.series)?);
            let (x, y) = (area.x(point.x), area.y(point.y));
            let place = if x > area.right - NEAR { (area.right + 12.0, y + 4.5) } else { (x + 8.0, y + 17.0) };
            (!series.label.is_empty()).then_some((place, series))
        };
        let mut names: Vec<((f64, f64), &Series)> = panel.lines.iter().filter_map(named).collect();
        names.sort_by(|((x, y), _), ((other_x, other_y), _)| x.total_cmp(other_x).then(y.total_cmp(other_y)));
        for column in names.chunk_by(|((x, _), _), ((other_x, _), _)| x == other_x) {
            let heights = apart(column.iter().map(|((_, y), _)| *y).collect(), LINE_OF_TEXT);
            for (y, ((x, _), series)) in heights.into_iter().zip(column) {
                svg.text(*x, y, name(series), &series.label);
            }
        }
    }
}

/// How a line's name looks.
fn name(series: &Series) -> Type {
    Type { bold: !series.dashed, colour: series.tone.colour(), ..Type::bold(LABEL) }
}

/// Moves sorted heights apart so that none is closer to the next than `gap`, as little as that takes.
fn apart(heights: Vec<f64>, gap: f64) -> Vec<f64> {
    // Groups of labels that touch: their first height, and how many they are. Each is centred on what it names.
    let mut groups: Vec<(f64, Vec<f64>)> = Vec::new();
    for height in heights {
        groups.push((height, vec![height]));
        while let [.., (above, first), (below, _)] = groups.as_slice() {
            if *above + first.len() as f64 * gap <= *below {
                break;
            }
            let Some((_, members)) = groups.pop() else { break };
            if let Some((start, all)) = groups.last_mut() {
                all.extend(members);
                let middle = all.iter().sum::<f64>() / all.len() as f64;
                *start = middle - (all.len() - 1) as f64 * gap / 2.0;
            }
        }
    }
    let spread = |(start, all): (f64, Vec<f64>)| (0..all.len()).map(move |index| start + index as f64 * gap);
    groups.into_iter().flat_map(spread).collect()
}

struct Scales {
    x: Log,
    y: Log,
}

/// Where a panel is.
struct Area<'a> {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    scales: &'a Scales,
}

impl Area<'_> {
    fn x(&self, value: f64) -> f64 {
        self.left + self.scales.x.place(value) * (self.right - self.left)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom - self.scales.y.place(value) * (self.bottom - self.top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_distance_and_their_order() {
        assert_eq!(apart(vec![10.0, 50.0], 15.0), [10.0, 50.0]);
        assert_eq!(apart(vec![10.0, 12.0], 15.0), [3.5, 18.5]);
        let crowded = apart(vec![10.0, 11.0, 12.0, 24.0, 90.0], 15.0);
        assert!(crowded.windows(2).all(|pair| pair[1] - pair[0] >= 14.99), "{crowded:?}");
        assert_eq!(crowded[4], 90.0);
    }
}
