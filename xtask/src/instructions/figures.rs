//! The committed figures, and what they were taken with.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::process::{output, root};

/// Instructions each time a row is done, by its name.
pub(super) type Counts = BTreeMap<String, f64>;

/// What is in benches/instructions.json.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Figures {
    pub(super) taken_with: TakenWith,
    instructions: Counts,
}

/// What else than our own source decides how many instructions there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TakenWith {
    glibc: String,
    rustc: String,
    valgrind: String,
}

impl Figures {
    /// Reads them; where there is no file there are none.
    pub(super) fn read() -> Result<Self> {
        let path = path();
        if !path.exists() {
            return Ok(Self::default());
        }
        let place = || format!("cannot read {}", path.display());
        serde_json::from_str(&fs::read_to_string(&path).with_context(place)?).with_context(place)
    }

    /// Writes them, one a line and sorted, so that a change shows as the lines it is.
    pub(super) fn write(&self) -> Result<()> {
        let path = path();
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("Wrote {}: say in the commit why its figures changed", path.display());
        Ok(())
    }

    /// These, with what was counted in the place of all rows that begin with `only`.
    ///
    /// # Errors
    ///
    /// The rest would remain from another compiler or valgrind, and the file could not say so.
    pub(super) fn accept(mut self, taken_with: TakenWith, counted: Counts, only: &str) -> Result<Self> {
        ensure!(
            only.is_empty() || taken_with == self.taken_with,
            "the other figures were taken with something else than what is here: accept all, without --only"
        );
        self.instructions.retain(|name, _| !name.starts_with(only));
        // Tenths are what is the same in each run.
        let rounded = counted.into_iter().map(|(name, count)| (name, (count * 10.0).round() / 10.0));
        self.instructions.extend(rounded);
        self.taken_with = taken_with;
        Ok(self)
    }

    /// Those of the rows that begin with `only`.
    pub(super) fn beginning_with(&self, only: &str) -> Counts {
        let wanted = self.instructions.iter().filter(|(name, _)| name.starts_with(only));
        wanted.map(|(name, count)| (name.clone(), *count)).collect()
    }
}

impl TakenWith {
    /// What is used here.
    pub(super) fn here() -> Result<Self> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        Ok(Self {
            glibc: said(Command::new("getconf").arg("GNU_LIBC_VERSION"))?,
            rustc: said(Command::new(rustc).arg("--version").current_dir(root()))?,
            valgrind: said(Command::new("valgrind").arg("--version"))?,
        })
    }

    /// In what this differs from what is used now, for a sentence; empty if in nothing.
    pub(super) fn differences(&self, now: &Self) -> String {
        let pairs = [(&self.rustc, &now.rustc), (&self.valgrind, &now.valgrind), (&self.glibc, &now.glibc)];
        let changed = pairs.into_iter().filter(|(then, now)| then != now && !then.is_empty());
        changed.map(|(then, now)| format!("{then} (here: {now})")).collect::<Vec<_>>().join(", ")
    }
}

/// The first line that `command` prints.
fn said(command: &mut Command) -> Result<String> {
    let said = output(command)?;
    let said = String::from_utf8_lossy(&said);
    Ok(said.lines().next().unwrap_or_default().trim().to_owned())
}

fn path() -> PathBuf {
    root().join("benches/instructions.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts<const N: usize>(counts: [(&str, f64); N]) -> Counts {
        counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
    }

    #[test]
    fn accepting_a_part_leaves_the_rest() {
        let old = counts([("call/a", 10.0), ("call/gone", 1.0), ("codec/a", 5.0)]);
        let figures = Figures { taken_with: TakenWith::default(), instructions: old };
        let counted = counts([("call/a", 12.34), ("call/new", 3.0)]);
        let figures = figures.accept(TakenWith::default(), counted, "call/").unwrap();
        let expected = counts([("call/a", 12.3), ("call/new", 3.0), ("codec/a", 5.0)]);
        assert_eq!(figures.beginning_with(""), expected);
        assert_eq!(figures.beginning_with("codec"), counts([("codec/a", 5.0)]));
    }

    #[test]
    fn a_part_is_accepted_only_beside_its_like() {
        let newer = || TakenWith { rustc: "rustc 1.96.0".to_owned(), ..TakenWith::default() };
        assert!(Figures::default().accept(newer(), counts([("a", 1.0)]), "a").is_err());
        assert_eq!(Figures::default().accept(newer(), counts([("a", 1.0)]), "").unwrap().taken_with, newer());
    }

    #[test]
    fn another_compiler_is_told() {
        let of = |rustc: &str| TakenWith { rustc: rustc.to_owned(), ..TakenWith::default() };
        assert_eq!(of("rustc 1.95.0").differences(&of("rustc 1.95.0")), "");
        assert_eq!(of("rustc 1.95.0").differences(&of("rustc 1.96.0")), "rustc 1.95.0 (here: rustc 1.96.0)");
    }

    #[test]
    fn the_file_has_a_row_a_line_in_order() {
        let figures = Figures { taken_with: TakenWith::default(), instructions: counts([("b", 2.5), ("a", 1.0)]) };
        let text = serde_json::to_string_pretty(&figures).unwrap();
        assert!(text.contains("\n    \"a\": 1.0,\n    \"b\": 2.5\n"), "{text}");
        assert_eq!(serde_json::from_str::<Figures>(&text).unwrap(), figures);
    }
}
