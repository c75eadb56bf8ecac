//! What stands above and below every picture.

use super::style::{INK, LABEL, MARGIN, MUTED, SMALL, Tone, WIDTH};
use super::svg::{Svg, Type};
use super::text::{width, wrap};

/// The words around a picture.
#[derive(Clone, Debug, Default)]
pub struct Caption {
    /// What is seen, in a line.
    pub title: String,
    /// Machine, date, command.
    pub subtitle: String,
    /// What has to be known to read it rightly, below it.
    pub notes: Vec<String>,
}

/// An entry of the legend.
#[derive(Clone, Debug)]
pub struct Key {
    /// What it is.
    pub label: String,
    /// Its colour.
    pub tone: Tone,
    /// How it is drawn.
    pub sign: Sign,
}

/// How something is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// As a bar.
    Bar,
    /// As a short upright line.
    Mark,
    /// As a line.
    Line,
    /// As a broken line.
    Dashes,
}

impl Caption {
    /// Draws title, subtitle and legend; gives where the picture may begin.
    #[must_use]
    pub fn above(&self, svg: &mut Svg, keys: &[Key]) -> f64 {
        let mut y = MARGIN + 12.0;
        svg.text(MARGIN, y, Type::bold(19.0), &self.title);
        for line in wrap(&self.subtitle, LABEL, WIDTH - 2.0 * MARGIN) {
            y += 20.0;
            svg.text(MARGIN, y, Type::new(LABEL, MUTED), &line);
        }
        if keys.is_empty() { y + 12.0 } else { legend(svg, keys, y + 28.0) }
    }

    /// Draws the notes; gives where the panel ends.
    #[must_use]
    pub fn below(&self, svg: &mut Svg, y: f64) -> f64 {
        let mut y = y;
        for note in &self.notes {
            y += 5.0;
            for line in wrap(note, SMALL, WIDTH - 2.0 * MARGIN) {
                y += 16.0;
                svg.text(MARGIN, y, Type::new(SMALL, MUTED), &line);
            }
        }
        y + MARGIN - 6.0
    }
}

/// One line of keys, or more if there is no room.
fn legend(svg: &mut Svg, keys: &[Key], y: f64) -> f64 {
    const SAMPLE: f64 = 22.0;
    let (mut x, mut y) = (MARGIN, y);
    for key in keys {
        let room = SAMPLE + width(&key.label, LABEL) + 22.0;
        if x + room > WIDTH && x > MARGIN {
            (x, y) = (MARGIN, y + 20.0);
        }
        let (colour, middle) = (key.tone.colour(), y - 4.5);
        match key.sign {
            Sign::Bar => svg.bar([x, middle - 5.0, 14.0, 10.0], colour, &key.label),
            Sign::Mark => svg.line((x + 7.0, middle - 7.0), (x + 7.0, middle + 7.0), colour, 2.5),
            Sign::Line | Sign::Dashes => {
                svg.path(&[(x - 2.0, middle), (x + 16.0, middle)], colour, key.sign == Sign::Dashes);
            }
        }
        svg.text(x + SAMPLE, y, Type::new(LABEL, INK), &key.label);
        x += room;
    }
    y + 12.0
}
