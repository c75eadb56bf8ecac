//! `cargo xtask instructions`: how many instructions calls and their parts take, held against committed figures.
//!
//! Times tell little on a busy machine; instructions are the same in each run to a few hundredths of a percent. What is
//! counted is the program `fixed` of benches/workloads, as users build ours: optimised, over crate borders too.

mod callgrind;
mod compare;
mod figures;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use self::callgrind::Counter;
use self::compare::Comparison;
use self::figures::{Figures, TakenWith};
use crate::apt;
use crate::process::{cargo, output};

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Write the figures instead of checking them.
    accept: bool,
    /// How names of rows begin.
    only: String,
}

impl Options {
    /// Reads what was typed behind the chore's name.
    ///
    /// # Errors
    ///
    /// The word that is no option.
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--accept" => options.accept = true,
                "--only" => {
                    let prefix =
                        words.next().context("--only wants how names of rows begin, for instance call/http")?;
                    options.only = (*prefix).to_owned();
                }
                word => bail!("instructions takes --accept and --only NAME, not {word:?}"),
            }
        }
        Ok(options)
    }
}

/// A row as `fixed --list` tells it.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    name: String,
    /// How often in each of two runs. Their difference is what counts: the start of the program falls out.
    times: (u64, u64),
}

impl Row {
    /// Reads `NAME TIMES TIMES`.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        let times = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        words.next().is_none().then_some(Self { name, times })
    }
}

/// Counts, and compares with the committed figures or replaces them.
///
/// # Errors
///
/// valgrind is missing, something cannot be built or counted, or a figure is off.
pub(crate) fn run(options: &Options) -> Result<()> {
    callgrind::check_processor()?;
    apt::provide(&apt::INSTRUCTIONS)?;
    let program = build()?;
    let rows = rows(&program, &options.only)?;
    let taken_with = TakenWith::here()?;
    let counted = Counter::new(program)?.count(&rows)?;
    let committed = Figures::read()?;

    let comparison = Comparison::new(&committed.beginning_with(&options.only), &counted);
    print!("{comparison}");
    let differences = committed.taken_with.differences(&taken_with);
    if !differences.is_empty() {
        println!("\nThe figures were taken with {differences}: some of the change may come from that.");
    }
    if options.accept {
        return committed.accept(taken_with, counted, &options.only)?.write();
    }
    comparison.verdict()
}

/// Builds `fixed` and tells where it is.
fn build() -> Result<PathBuf> {
    let mut build = cargo(["build", "--release", "--locked", "-p", "workloads", "--bin", "fixed"]);
    build.arg("--message-format=json-render-diagnostics");
    // Flags of one's own, such as another target CPU, make another program.
    build.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let messages = String::from_utf8(output(&mut build)?).context("cargo's messages are not UTF-8")?;
    let executable = |line| {
        let message: Value = serde_json::from_str(line).ok()?;
        message.get("executable").and_then(Value::as_str).map(PathBuf::from)
    };
    messages.lines().filter_map(executable).next_back().context("cargo built fixed and did not say where it is")
}

/// What can be counted.
fn rows(program: &Path, only: &str) -> Result<Vec<Row>> {
    let list = String::from_utf8(output(Command::new(program).arg("--list"))?).context("fixed --list is not UTF-8")?;
    let row = |line| Row::parse(line).with_context(|| format!("fixed --list printed {line:?}, which is no row"));
    let mut rows = list.lines().map(row).collect::<Result<Vec<_>>>()?;
    rows.retain(|row| row.name.starts_with(only));
    ensure!(!rows.is_empty(), "no row begins with {only:?}; names begin with call/, codec/ and batch/");
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read() {
        assert_eq!(Row::parse("a/b 32 320"), Some(Row { name: "a/b".to_owned(), times: (32, 320) }));
        for line in ["", "a", "a 1", "a 1 x", "a 1 2 3"] {
            assert_eq!(Row::parse(line), None, "{line}");
        }
    }

    #[test]
    fn options_are_read_in_any_order() {
        let both = Options { accept: true, only: "call/".to_owned() };
        assert_eq!(Options::parse(&["--only", "call/", "--accept"]).unwrap(), both);
        assert_eq!(Options::parse(&["--accept", "--only", "call/"]).unwrap(), both);
        assert_eq!(Options::parse(&[]).unwrap(), Options::default());
        assert!(Options::parse(&["--only"]).unwrap_err().to_string().contains("--only"));
        assert!(Options::parse(&["call/"]).unwrap_err().to_string().contains("\"call/\""));
    }
}
