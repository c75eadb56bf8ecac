//! Plots as SVG text: [`bars`] for comparisons.
//!
//! Written by hand rather than with a plotting library: what is needed is a few kinds of picture with labels that never
//! collide, in the reader's own fonts, that look right on a light and on a dark page.

pub mod axis;
pub mod bars;
pub mod caption;
pub mod style;
pub mod svg;
pub mod text;
pub mod unit;
