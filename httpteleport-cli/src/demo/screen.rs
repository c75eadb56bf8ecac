//! Where the demo writes: a terminal, where the line on how it goes is written over, or anything else.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// Stdout.
pub(super) struct Screen {
    terminal: bool,
}

/// Goes to the start of the line and clears it (ECMA-48: EL).
const CLEAR: &str = "\r\x1b[K";

impl Screen {
    pub(super) fn new() -> Screen {
        let dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
        Screen { terminal: io::stdout().is_terminal() && !dumb }
    }

    /// When a new [`status`](Screen::status) is due.
    pub(super) fn ticks(&self) -> Interval {
        let period = Duration::from_millis(if self.terminal { 200 } else { 1000 });
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    /// Shows how it goes: in place of the line before on a terminal, on a line of its own otherwise.
    pub(super) fn status(&mut self, line: &str) {
        if self.terminal { write(&format!("{CLEAR}{line}")) } else { write(&format!("{line}\n")) }
    }

    /// Writes whole lines, in place of the status.
    pub(super) fn text(&mut self, text: &str) {
        if self.terminal { write(&format!("{CLEAR}{text}")) } else { write(text) }
    }
}

fn write(text: &str) {
    let mut stdout = io::stdout().lock();
    // Nobody may be reading, which is no reason to stop.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
