//! What was typed, or is in a file that was named, and cannot be.

use std::fmt;

/// Says in a line, or one for each, what does not fit, and what to do. It ends the program as bad options do.
#[derive(Debug)]
pub(crate) struct Misfit(String);

impl Misfit {
    /// That line.
    pub(crate) fn new(line: impl Into<String>) -> Misfit {
        Misfit(line.into())
    }

    /// Several of them, each a line.
    pub(crate) fn all(lines: &[String]) -> Misfit {
        Misfit(lines.join("\n"))
    }

    /// An error that is the fault of what was given, in its own words.
    pub(crate) fn of(error: &anyhow::Error) -> Misfit {
        Misfit(format!("{error:#}"))
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misfit {}
