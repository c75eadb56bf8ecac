//! What was counted beside what is committed, and whether that will do.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, ensure};

use super::figures::Counts;

/// So far may a count be from its figure, either way, as a share of it. Rows of a hundred instructions are no exception: they
/// are counted over hundreds of operations, and are the same to a few tenths of an instruction in each run.
const MARGIN: f64 = 0.05;

/// How a row stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Standing {
    /// Within the margin.
    Good,
    /// Over it.
    Slower,
    /// Under it. As bad for the guard: until the figure is lowered, all that was gained may be lost unseen.
    Faster,
    /// It has no figure.
    New,
    /// It has a figure and is counted no more.
    Gone,
}

/// What is said of rows that stand so, and what to do about it.
const FAULTS: [(Standing, &str, &str); 4] = [
    (
        Standing::Slower,
        "slower",
        "where it goes: callgrind_annotate with a row's file in target/instructions\n  \
         if it is meant: cargo xtask instructions --accept, and say why in the commit",
    ),
    (
        Standing::Faster,
        "faster, which has to be kept",
        "cargo xtask instructions --accept, and say in the commit what gained it",
    ),
    (Standing::New, "without a figure", "cargo xtask instructions --accept"),
    (
        Standing::Gone,
        "no longer counted",
        "if it is meant: cargo xtask instructions --accept, and say why in the commit",
    ),
];

struct Line {
    name: String,
    committed: Option<f64>,
    now: Option<f64>,
}

/// Every row, with its figure and its count.
pub(super) struct Comparison(Vec<Line>);

impl Comparison {
    /// Puts them side by side.
    pub(super) fn new(committed: &Counts, counted: &Counts) -> Self {
        let names: BTreeSet<&String> = committed.keys().chain(counted.keys()).collect();
        let line = |name: &String| Line {
            name: name.clone(),
            committed: committed.get(name).copied(),
            now: counted.get(name).copied(),
        };
        Self(names.into_iter().map(line).collect())
    }

    /// # Errors
    ///
    /// A row is not as committed; the error says which, and what to do.
    pub(super) fn verdict(&self) -> Result<()> {
        let fault = |(standing, what, remedy): (Standing, &str, &str)| {
            let rows = self.0.iter().filter(|line| line.standing() == standing);
            let rows: Vec<_> = rows.map(|line| line.name.as_str()).collect();
            (!rows.is_empty()).then(|| format!("\n{what}: {}\n  {remedy}", rows.join(", ")))
        };
        let faults: String = FAULTS.into_iter().filter_map(fault).collect();
        ensure!(faults.is_empty(), "instructions are not as committed in benches/instructions.json{faults}");
        Ok(())
    }
}

impl Line {
    fn standing(&self) -> Standing {
        match (self.committed, self.now) {
            (None, _) => Standing::New,
            (_, None) => Standing::Gone,
            (Some(figure), Some(now)) => {
                let margin = figure * MARGIN;
                match now - figure {
                    change if change > margin => Standing::Slower,
                    change if change < -margin => Standing::Faster,
                    _ => Standing::Good,
                }
            }
        }
    }
}

impl fmt::Display for Comparison {
    /// A table: row, committed, now, change.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|line| line.name.len()).max().unwrap_or_default();
        writeln!(f, "{:<width$} {:>12} {:>12} {:>8}", "row", "committed", "now", "change")?;
        self.0.iter().try_for_each(|line| {
            let number = |count: Option<f64>| count.map_or("-".to_owned(), |count| format!("{count:.1}"));
            let change = match (line.committed, line.now) {
                (Some(figure), Some(now)) => format!("{:+.1} %", (now / figure - 1.0) * 100.0),
                _ => String::new(),
            };
            let remark = match line.standing() {
                Standing::Good => "",
                Standing::Slower => "  slower",
                Standing::Faster => "  faster",
                Standing::New => "  no figure",
                Standing::Gone => "  not counted",
            };
            let (name, committed, now) = (&line.name, number(line.committed), number(line.now));
            writeln!(f, "{name:<width$} {committed:>12} {now:>12} {change:>8}{remark}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::Figures;
    use super::*;

    fn comparison(rows: &[(&str, Option<f64>, Option<f64>)]) -> Comparison {
        let side = |pick: fn(&(&str, Option<f64>, Option<f64>)) -> Option<f64>| -> Counts {
            rows.iter().filter_map(|row| Some((row.0.to_owned(), pick(row)?))).collect()
        };
        Comparison::new(&side(|row| row.1), &side(|row| row.2))
    }

    fn standing(committed: Option<f64>, now: Option<f64>) -> Standing {
        comparison(&[("a", committed, now)]).0[0].standing()
    }

    #[test]
    fn the_margin_is_five_percent_either_way() {
        assert_eq!(standing(Some(1000.0), Some(1000.0)), Standing::Good);
        assert_eq!(standing(Some(1000.0), Some(1049.9)), Standing::Good);
        assert_eq!(standing(Some(1000.0), Some(1050.1)), Standing::Slower);
        assert_eq!(standing(Some(1000.0), Some(950.1)), Standing::Good);
        assert_eq!(standing(Some(1000.0), Some(949.9)), Standing::Faster);
    }

    #[test]
    fn rows_that_come_and_go_are_noticed() {
        assert_eq!(standing(None, Some(1.0)), Standing::New);
        assert_eq!(standing(Some(1.0), None), Standing::Gone);
    }

    #[test]
    fn six_percent_are_too_many_for_every_committed_row() {
        let committed = Figures::read().unwrap().beginning_with("");
        assert!(!committed.is_empty());
        for (name, figure) in committed {
            let counted = |factor: f64| standing(Some(figure), Some((figure * factor * 10.0).round() / 10.0));
            assert_eq!(counted(1.06), Standing::Slower, "{name}");
            assert_eq!(counted(0.94), Standing::Faster, "{name}");
            assert_eq!(counted(1.04), Standing::Good, "{name}");
        }
    }

    #[test]
    fn the_verdict_names_each_row_that_is_off_and_what_to_do() {
        let good = ("good", Some(100.0), Some(101.0));
        assert!(comparison(&[good]).verdict().is_ok());
        let rows = [
            good,
            ("worse", Some(1000.0), Some(1060.0)),
            ("better", Some(1000.0), Some(900.0)),
            ("new", None, Some(1.0)),
            ("gone", Some(1.0), None),
        ];
        let fault = comparison(&rows).verdict().unwrap_err().to_string();
        for word in ["slower: worse\n", "kept: better\n", "figure: new\n", "counted: gone\n", "--accept"] {
            assert!(fault.contains(word), "{word:?} in {fault}");
        }
        assert!(!fault.contains("good"), "{fault}");
    }

    #[test]
    fn the_table_has_a_line_for_each_row() {
        let rows = [("a/long/name", Some(1000.0), Some(1060.0)), ("b", Some(2.5), Some(2.5)), ("c", None, Some(7.0))];
        let table = comparison(&rows).to_string();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 4, "{table}");
        assert!(lines[1].starts_with("a/long/name ") && lines[1].ends_with("+6.0 %  slower"), "{table}");
        assert!(lines[2].starts_with("b           ") && lines[2].ends_with("+0.0 %"), "{table}");
        assert!(lines[3].contains(" - ") && lines[3].ends_with("no figure"), "{table}");
    }
}
