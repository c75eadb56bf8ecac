//! Hosts that the pattern takes and no certificate is ordered for, and what the log has of them.

use std::fmt;
use std::time::Duration;

use super::hosts::{BURST, MOST};
use crate::seldom::Seldom;

/// Why none is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// There were too many orders lately; the next one may begin after this time.
    Busy(Duration),
    /// There are as many hosts as there may be.
    Full,
    /// The last order has failed; the next one may begin after this time.
    Failed(Duration),
}

/// Writes a line a second for each reason: clients name whatever they like.
#[derive(Debug, Default)]
pub(super) struct Log {
    busy: Seldom,
    full: Seldom,
    failed: Seldom,
}

impl Log {
    /// Says that a client has asked for this host in vain.
    pub(super) fn say(&self, host: &str, why: Why) {
        let seldom = match why {
            Why::Busy(_) => &self.busy,
            Why::Full => &self.full,
            Why::Failed(_) => &self.failed,
        };
        seldom.warn(format_args!("certificate for {host}: {why}"));
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Busy(next) => {
                let next = whole_seconds(*next);
                write!(
                    f,
                    "none is ordered for the next {next}s: {BURST} orders at once are the most, then one a minute"
                )
            }
            Why::Full => {
                write!(f, "none is ordered: {MOST} hosts are the most; let --autocert-host-regexp take fewer")
            }
            Why::Failed(next) => {
                write!(f, "none is ordered for the next {}s: the last order has failed", whole_seconds(*next))
            }
        }
    }
}

/// Never 0 while there is something to wait for.
fn whole_seconds(time: Duration) -> u64 {
    time.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_why_and_when_it_goes_on() {
        let after = Duration::from_millis;
        for (why, want) in [
            (
                Why::Busy(after(41_001)),
                "none is ordered for the next 42s: 20 orders at once are the most, then one a minute",
            ),
            (Why::Full, "none is ordered: 1000 hosts are the most; let --autocert-host-regexp take fewer"),
            (Why::Failed(after(1)), "none is ordered for the next 1s: the last order has failed"),
        ] {
            assert_eq!(why.to_string(), want);
        }
    }
}
