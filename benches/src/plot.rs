//! Plots as SVG text: [`bars`] for comparisons, as `httptp estimate` draws them, and [`lines`] for what changes with a size.

pub mod lines;

pub use httpteleport_cli::plot::{axis, bars, caption, style, svg, text, unit};
