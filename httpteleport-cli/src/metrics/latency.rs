//! How long replies took.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::sharded::Sharded;

/// Largest times of the buckets, in microseconds; there is one more for all that took longer.
const BOUNDS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// A histogram that many threads fill.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Sharded<Shard>);

#[derive(Debug, Default)]
struct Shard {
    counts: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LatenciesSeen {
    counts: [u64; BOUNDS.len() + 1],
    micros: u64,
}

impl Latencies {
    /// One that took so long.
    pub(crate) fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        let mine = self.0.mine();
        mine.counts[bucket].fetch_add(1, Relaxed);
        mine.micros.fetch_add(micros, Relaxed);
    }

    /// All so far.
    pub(crate) fn seen(&self) -> LatenciesSeen {
        LatenciesSeen {
            counts: std::array::from_fn(|bucket| self.0.sum(|shard| &shard.counts[bucket])),
            micros: self.0.sum(|shard| &shard.micros),
        }
    }
}

impl LatenciesSeen {
    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All together, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.micros as f64 / 1e6
    }

    /// Bounds in seconds, without the one that has none, each with how many took no longer.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut sum = 0;
        BOUNDS.iter().zip(self.counts).map(move |(bound, count)| {
            sum += count;
            (*bound as f64 / 1e6, sum)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_the_bucket_that_they_do_not_exceed() {
        let latencies = Latencies::default();
        for micros in [0, 500, 501, 7_000_000, 60_000_000] {
            latencies.add(Duration::from_micros(micros));
        }
        let seen = latencies.seen();
        let cumulative: Vec<_> = seen.cumulative().collect();
        assert_eq!((cumulative[0], cumulative[1], cumulative[13]), ((0.0005, 2), (0.001, 3), (10.0, 4)));
        assert_eq!((seen.count(), seen.seconds()), (5, 67.001_001));
    }
}
