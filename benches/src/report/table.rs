//! Figures in columns.

use std::fmt::Write as _;

use super::Compared;
use crate::measure::Measured;

/// What a column says of a row, if anything.
type Cell = fn(&Measured, &Compared) -> Option<String>;

/// One column: its heading, and its cells. A column that says nothing of any row is left out.
#[derive(Clone, Copy)]
pub struct Column {
    heading: &'static str,
    cell: Cell,
}

impl Column {
    /// A column of this heading.
    #[must_use]
    pub const fn new(heading: &'static str, cell: Cell) -> Self {
        Self { heading, cell }
    }
}

/// The rows under their headings, names to the left and figures to the right.
#[must_use]
pub fn table(columns: &[Column], rows: &[(Measured, Compared)]) -> String {
    let columns: Vec<Vec<String>> = columns.iter().filter_map(|column| cells(column, rows)).collect();
    let names: Vec<&str> = std::iter::once("row").chain(rows.iter().map(|(row, _)| row.name.as_str())).collect();
    let width = |cells: &[String]| cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
    let left = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (line, name) in names.iter().enumerate() {
        let _ = write!(text, "{name:<left$}");
        for column in &columns {
            let _ = write!(text, "  {:>1$}", column[line], width(column));
        }
        text.push('\n');
    }
    text
}

/// The heading and the cells of a column, unless it is empty.
fn cells(column: &Column, rows: &[(Measured, Compared)]) -> Option<Vec<String>> {
    let cells: Vec<_> = rows.iter().map(|(row, compared)| (column.cell)(row, compared)).collect();
    cells.iter().any(Option::is_some).then(|| {
        let cells = cells.into_iter().map(Option::unwrap_or_default);
        std::iter::once(column.heading.to_owned()).chain(cells).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Round;
    use crate::rows::{Carried, Row};

    #[test]
    fn columns_are_as_wide_as_they_need_and_empty_ones_left_out() {
        let row = |name, ns| {
            let round = Round { ns, ..Round::default() };
            (Measured::new(&Row::new(Carried::Http, name, 1), &[round]), Compared::default())
        };
        let columns = [
            Column::new("ns", |row, _| Some(format!("{:.0}", row.ns.median))),
            Column::new("allocs", |row, _| row.allocs.map(|allocs| allocs.to_string())),
        ];
        let text = table(&columns, &[row("a", 7.0), row("longer", 12345.0)]);
        assert_eq!(text, "row             ns\nhttp/a           7\nhttp/longer  12345\n");
    }
}
