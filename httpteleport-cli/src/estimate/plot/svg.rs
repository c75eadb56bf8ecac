//! SVG, element by element.

use std::fmt::{Display, Write};

use super::style::{EDGE, INK, MUTED, PANEL};

/// A rim in the colour of the panel around letters.
const HALO: &str = r##"stroke="#ffffff" stroke-width="4" stroke-linejoin="round" paint-order="stroke""##;

/// A picture that is being drawn.
#[derive(Debug, Default)]
pub struct Svg {
    body: String,
}

/// Where a text is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// At its left end.
    Start,
    /// In the middle.
    Middle,
    /// At its right end.
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub struct Type {
    /// Pixels.
    pub size: f64,
    /// Whether it is bold.
    pub bold: bool,
    /// Its colour.
    pub colour: &'static str,
    /// Where it is held.
    pub anchor: Anchor,
}

impl Type {
    /// Plain text of this size.
    #[must_use]
    pub fn new(size: f64, colour: &'static str) -> Self {
        Self { size, bold: false, colour, anchor: Anchor::Start }
    }

    /// Bold text of this size.
    #[must_use]
    pub fn bold(size: f64) -> Self {
        Self { bold: true, ..Self::new(size, INK) }
    }

    /// Held elsewhere.
    #[must_use]
    pub fn anchored(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }
}

impl Svg {
    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.body, "{element}");
    }

    /// Text with its baseline at `y`.
    pub fn text(&mut self, x: f64, y: f64, kind: Type, text: &str) {
        let anchor = match kind.anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        let weight = if kind.bold { r#" font-weight="600""# } else { "" };
        let (x, y, size, colour, text) = (Px(x), Px(y), kind.size, kind.colour, escape(text));
        self.put(format_args!(
            r#"<text x="{x}" y="{y}" font-size="{size}" fill="{colour}"{anchor}{weight}>{text}</text>"#
        ));
    }

    /// A heading: bold, and legible over the lines of a grid.
    pub fn heading(&mut self, x: f64, y: f64, size: f64, text: &str) {
        let (x, y, text) = (Px(x), Px(y), escape(text));
        self.put(format_args!(
            r#"<text x="{x}" y="{y}" font-size="{size}" fill="{INK}" font-weight="600" {HALO}>{text}</text>"#
        ));
    }

    /// A value and, close behind it whatever the font, a note; legible over the lines of a grid.
    pub fn value(&mut self, x: f64, y: f64, kind: Type, value: &str, note: &str) {
        let weight = if kind.bold { "600" } else { "400" };
        let (x, y, size, colour, value, note) = (Px(x), Px(y), kind.size, kind.colour, escape(value), escape(note));
        let note = if note.is_empty() {
            note
        } else {
            format!(r#"<tspan dx="7" fill="{MUTED}" font-weight="400">{note}</tspan>"#)
        };
        self.put(format_args!(
            r#"<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" font-weight="{weight}" {HALO}>{value}{note}</text>"#
        ));
    }

    /// A filled rectangle. Screen readers and pointers are told `title`.
    pub fn bar(&mut self, [x, y, width, height]: [f64; 4], colour: &str, title: &str) {
        let (x, y, width, height) = (Px(x), Px(y), Px(width.max(1.0)), Px(height));
        let title = escape(title);
        self.put(format_args!(
            r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="1.5" fill="{colour}"><title>{title}</title></rect>"#
        ));
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        let (x1, y1, x2, y2) = (Px(from.0), Px(from.1), Px(to.0), Px(to.1));
        self.put(format_args!(
            r#"<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="{width}"/>"#
        ));
    }

    /// A line through points.
    pub fn path(&mut self, points: &[(f64, f64)], colour: &str, dashed: bool) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{},{}", Px(*x), Px(*y))).collect();
        let (points, dash) = (points.join(" "), if dashed { r#" stroke-dasharray="5 4""# } else { "" });
        self.put(format_args!(
            r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.2" stroke-linejoin="round"{dash}/>"#
        ));
    }

    /// A point. Screen readers and pointers are told `title`.
    pub fn dot(&mut self, at: (f64, f64), colour: &str, title: &str) {
        let (x, y, title) = (Px(at.0), Px(at.1), escape(title));
        self.put(format_args!(
            r#"<circle cx="{x}" cy="{y}" r="3.6" fill="{colour}" stroke="{PANEL}" stroke-width="1.2"><title>{title}</title></circle>"#
        ));
    }

    /// The picture, on its panel; `title` and `description` are for those who cannot see it.
    #[must_use]
    pub fn finish(self, width: f64, height: f64, title: &str, description: &str) -> String {
        let (width, height) = (width.round(), height.round());
        let (title, description) = (escape(title), escape(description));
        let (inner_width, inner_height, body) = (width - 1.0, height - 1.0, self.body);
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-labelledby="title description" font-family="system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif">
<title id="title">{title}</title>
<desc id="description">{description}</desc>
<rect x="0.5" y="0.5" width="{inner_width}" height="{inner_height}" rx="8" fill="{PANEL}" stroke="{EDGE}"/>
{body}</svg>
"#
        )
    }
}

/// A coordinate, to a tenth of a pixel: two runs of the same figures give the same file.
struct Px(f64);

impl Display for Px {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tenths = (self.0 * 10.0).round() / 10.0;
        // No negative zero.
        write!(f, "{}", tenths + 0.0)
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no way to write these.
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_makes_valid_xml() {
        let mut svg = Svg::default();
        svg.text(1.0, -0.04, Type::bold(12.0), "a < b & \"c\" > d\u{0}\n");
        svg.bar([0.0, 0.0, 0.0, 5.0], "red", "<>");
        let text = svg.finish(10.0, 10.0, "1 < 2", "&");
        let document = roxmltree::Document::parse(&text).expect("XML");
        let texts: Vec<_> = document.descendants().filter(|node| node.has_tag_name("text")).collect();
        assert_eq!(texts[0].text(), Some("a < b & \"c\" > d  "));
        assert_eq!(texts[0].attribute("y"), Some("0"));
    }
}
