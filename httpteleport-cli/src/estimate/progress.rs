//! What a run is at, for whoever sits at a terminal.

use std::io::{IsTerminal, Write as _, stderr};

/// One line that says it, over and over; nothing where no terminal is.
pub struct Progress {
    shown: bool,
}

impl Progress {
    /// Begins.
    #[must_use]
    pub fn new() -> Self {
        Self { shown: stderr().is_terminal() }
    }

    /// Says what comes now.
    pub fn say(&self, what: &str) {
        if self.shown {
            // To the beginning of the line, what it is, and the rest of the line empty.
            eprint!("\r{what}\x1b[K");
            let _ = stderr().flush();
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.say("");
    }
}
