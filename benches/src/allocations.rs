//! Heap allocations per call.
//!
//! Counting them costs time, on several threads much of it, so they are counted by a program of their own: `allocations`,
//! which `matrix` runs if it lies beside it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use crate::measure;
use crate::rows::Row;
use crate::sibling;

/// Long enough that what starting the callers allocates is little beside their calls.
const ROUND: Duration = Duration::from_millis(100);

/// What the program says of one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// The row's name.
    pub name: String,
    /// Allocations per call, both ends and their callers.
    pub allocs_per_op: f64,
}

/// Runs one round of `row`; `allocated` tells how often this process has allocated so far.
///
/// # Errors
///
/// The row failed.
pub fn count(row: &Row, allocated: impl Fn() -> usize) -> anyhow::Result<Counted> {
    let mut subject = measure::start(row, ROUND)?;
    let before = allocated();
    let round = subject.round()?;
    let allocs = (allocated() - before) as f64 / round.calls as f64;
    Ok(Counted { name: row.name.clone(), allocs_per_op: (allocs * 1000.0).round() / 1000.0 })
}

/// What the program counts of the rows that these arguments pick.
///
/// # Errors
///
/// It is not there, or failed.
pub fn counted(picking: &[String]) -> anyhow::Result<HashMap<String, f64>> {
    let program = program()?;
    let mut command = Command::new(&program);
    command.args(picking).args(["--json", "--child"]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("{} cannot be run", program.display()))?;
    ensure!(output.status.success(), "{} ended with {}", program.display(), output.status);
    let lines = String::from_utf8(output.stdout).context("it printed no text")?;
    let line = |line| serde_json::from_str(line).with_context(|| format!("not understood: {line}"));
    let counted = lines.lines().map(line).collect::<anyhow::Result<Vec<Counted>>>()?;
    Ok(counted.into_iter().map(|row| (row.name, row.allocs_per_op)).collect())
}

/// The program, beside the one that runs.
fn program() -> anyhow::Result<PathBuf> {
    let program = sibling::beside("allocations");
    ensure!(program.exists(), "they are counted by {}, which is not there: {BUILD}", program.display());
    if let Some(why) = sibling::stale(&program, BUILD) {
        eprintln!("allocations: {why}");
    }
    Ok(program)
}

const BUILD: &str = "cargo build --release -p benches";
