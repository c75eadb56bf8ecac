//! Lines in the log that others can cause at will: no more than one a second, or in whatever time it is, so that nobody fills a disk.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Between two lines, unless it is said otherwise.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes them. Clones keep the pause together.
#[derive(Clone, Debug)]
pub(crate) struct Seldom {
    pause: Duration,
    said: Arc<Mutex<Said>>,
}

#[derive(Debug, Default)]
struct Said {
    last: Option<Instant>,
    /// Those since then that were not written.
    more: u64,
}

impl Default for Seldom {
    fn default() -> Seldom {
        Seldom { pause: PAUSE, said: Arc::default() }
    }
}

impl Seldom {
    /// One line in this time.
    #[cfg(feature = "otlp")]
    pub(crate) fn each(pause: Duration) -> Seldom {
        Seldom { pause, ..Seldom::default() }
    }

    /// A warning, or where that would be too many a line that is there for who wants all of them.
    pub(crate) fn warn(&self, line: impl Display) {
        match self.turn(Instant::now()) {
            Some(0) => tracing::warn!("{line}"),
            Some(more) => tracing::warn!("{line} (and {more} more since the last line)"),
            None => tracing::debug!("{line}"),
        }
    }

    /// Whether a line may be written, and how many were not since the last.
    pub(crate) fn turn(&self, now: Instant) -> Option<u64> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.last.is_some_and(|last| now < last + self.pause) {
            said.more += 1;
            return None;
        }
        said.last = Some(now);
        Some(std::mem::take(&mut said.more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_second_counts_those_that_were_not_written() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let turns = [0, 10, 999, 1000, 1500, 3000].map(|ms| seldom.turn(start + Duration::from_millis(ms)));
        assert_eq!(turns, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
