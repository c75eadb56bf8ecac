//! How often settings were read again, and what came of it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::counters::Count;

/// Readings of settings, certificates and the admin token after the start.
#[derive(Debug)]
pub(crate) struct Reloads {
    applied: Count,
    failed: Count,
    /// When what holds was read, in milliseconds since 1970.
    last: AtomicU64,
    /// Whether the last one failed: 1 if so.
    broken: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReloadsSeen {
    pub(crate) applied: u64,
    pub(crate) failed: u64,
    /// Whether what was read last holds.
    pub(crate) holds: bool,
    /// When what holds was read.
    pub(crate) last: SystemTime,
}

impl Reloads {
    /// None yet; what was read at the start holds.
    pub(crate) fn since(start: SystemTime) -> Reloads {
        let last = AtomicU64::new(millis(start));
        Reloads { applied: Count::default(), failed: Count::default(), last, broken: AtomicU64::new(0) }
    }

    /// One more, which holds now, or does not.
    pub(crate) fn note(&self, applied: bool) {
        if applied {
            self.applied.add();
            self.last.store(millis(SystemTime::now()), Relaxed);
        } else {
            self.failed.add();
        }
        self.broken.store(u64::from(!applied), Relaxed);
    }

    /// So many so far.
    pub(crate) fn seen(&self) -> ReloadsSeen {
        ReloadsSeen {
            applied: self.applied.get(),
            failed: self.failed.get(),
            holds: self.broken.load(Relaxed) == 0,
            last: UNIX_EPOCH + Duration::from_millis(self.last.load(Relaxed)),
        }
    }
}

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_failed_leaves_the_time_of_what_holds() {
        let reloads = Reloads::since(UNIX_EPOCH);
        let start = ReloadsSeen { applied: 0, failed: 0, holds: true, last: UNIX_EPOCH };
        assert_eq!(reloads.seen(), start);
        reloads.note(false);
        assert_eq!(reloads.seen(), ReloadsSeen { failed: 1, holds: false, ..start });
        reloads.note(true);
        let seen = reloads.seen();
        assert!(seen.holds && seen.last > UNIX_EPOCH && (seen.applied, seen.failed) == (1, 1));
    }
}
