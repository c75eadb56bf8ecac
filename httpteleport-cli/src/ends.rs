//! Connections that ended for a reason that somebody should know, in the log: but no more than a line a second, since whoever
//! can connect can cause them, and must not fill a disk.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use httpteleport::ErrorKind;
use tokio::time::Instant;

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes them. Clones keep the pause together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    last: Option<Instant>,
    /// Those since then that were not written.
    more: u64,
}

impl Ends {
    /// A teleport connection of, or to, `whom` has ended.
    pub(crate) fn note(&self, whom: impl Display, kind: ErrorKind, why: &str) {
        if !matches!(kind, ErrorKind::Protocol | ErrorKind::Connection) {
            return tracing::debug!("teleport connection of {whom}: {why}");
        }
        if let Some(more) = self.turn(Instant::now()) {
            let more = if more > 0 { format!(" (and {more} more since the last line)") } else { String::new() };
            tracing::warn!("teleport connection of {whom}: {why}{more}");
        }
    }

    /// Whether a line may be written, and how many were not since the last.
    fn turn(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.last.is_some_and(|last| now < last + PAUSE) {
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
        let (ends, start) = (Ends::default(), Instant::now());
        let turns = [0, 10, 999, 1000, 1500, 3000].map(|ms| ends.turn(start + Duration::from_millis(ms)));
        assert_eq!(turns, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
