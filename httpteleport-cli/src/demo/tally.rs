//! What callers have seen so far.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies are kept in microseconds up to this; longer ones count as this long.
const LONGEST: u64 = 60_000_000;
/// Significant digits of a latency.
const DIGITS: u8 = 3;

/// Counts of one shape. Its size does not depend on how many calls it saw.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Calls that got the reply they should.
    pub(super) calls: u64,
    /// Bytes of those requests and replies as HTTP/1.1.
    pub(super) http_bytes: u64,
    /// Calls that did not.
    pub(super) failed: u64,
    /// Why the first of them did not, in one line.
    pub(super) first_failure: Option<String>,
    latency: Histogram<u64>,
}

impl Tally {
    pub(super) fn new() -> Tally {
        let latency = Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("constants within the crate's limits");
        Tally { calls: 0, http_bytes: 0, failed: 0, first_failure: None, latency }
    }

    /// Adds a call that got the right reply.
    pub(super) fn add(&mut self, http_bytes: usize, took: Duration) {
        self.calls += 1;
        self.http_bytes += http_bytes as u64;
        self.latency.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LONGEST));
    }

    /// Adds a call that did not.
    pub(super) fn fail(&mut self, why: String) {
        self.failed += 1;
        self.first_failure.get_or_insert(why);
    }

    /// The latency that so many percent of the calls stayed within; zero when there were none.
    pub(super) fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.latency.value_at_percentile(percent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_percentiles() {
        let mut tally = Tally::new();
        assert_eq!(tally.percentile(99.0), Duration::ZERO);
        for ms in 1..=100 {
            tally.add(10, Duration::from_millis(ms));
        }
        tally.fail("one".to_owned());
        tally.fail("two".to_owned());
        assert_eq!((tally.calls, tally.http_bytes, tally.failed), (100, 1000, 2));
        assert_eq!(tally.first_failure.as_deref(), Some("one"));
        for (percent, ms) in [(50.0, 50.0), (99.0, 99.0), (100.0, 100.0)] {
            let found = tally.percentile(percent).as_secs_f64() * 1000.0;
            assert!((found / ms - 1.0).abs() < 0.002, "{percent}: {found}");
        }
    }

    #[test]
    fn a_latency_beyond_all_bounds_is_the_longest() {
        let mut tally = Tally::new();
        tally.add(0, Duration::from_secs(1 << 40));
        assert!((59.0..61.0).contains(&tally.percentile(50.0).as_secs_f64()));
    }
}
