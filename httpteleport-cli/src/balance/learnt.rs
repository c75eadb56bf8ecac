//! How quick an upstream is and how it fails, as its replies have shown.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use tokio::time::Instant;

/// What was seen so long ago counts for about a third.
const MEMORY: Duration = Duration::from_secs(10);

/// The very first latency, which pays for connecting, is not counted. So many that follow are averaged.
const FIRST: u32 = 32;

/// A failure counts for at least this much of what is remembered, however many requests there are a second.
const FAILURE_STEP: f64 = 1.0 / 16.0;

/// Smoothed measures. Threads that meet may lose an update of each other, which is no matter.
#[derive(Debug)]
pub(super) struct Learnt {
    epoch: Instant,
    /// Nanoseconds, as bits of an `f64`; 0 while nothing is known.
    latency: AtomicU64,
    /// Latencies so far, as far as that matters.
    samples: AtomicU32,
    /// The part that fails, 0 to 1, as bits of an `f64`.
    failing: AtomicU64,
    /// When something was learnt last, in nanoseconds since `epoch`.
    seen: AtomicU64,
}

/// What is known at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Nanoseconds; 0 while nothing is known.
    pub(super) latency: f64,
    /// The part that fails, 0 to 1.
    pub(super) failing: f64,
    /// How much of that still counts, 0 to 1.
    pub(super) freshness: f64,
}

impl Learnt {
    pub(super) fn new(epoch: Instant) -> Learnt {
        let (latency, samples) = (AtomicU64::new(0), AtomicU32::new(0));
        Learnt { epoch, latency, samples, failing: AtomicU64::new(0), seen: AtomicU64::new(0) }
    }

    /// A good reply took so long, if that says something.
    pub(super) fn good(&self, took: Option<Duration>, now: Instant) {
        let step = self.step(now);
        if let Some(took) = took {
            self.learn_latency(took, step);
        }
        self.learn_failing(0.0, step);
    }

    /// A request has failed. How long that took says nothing: failing is quick.
    pub(super) fn bad(&self, now: Instant) {
        let step = self.step(now);
        self.learn_failing(1.0, step);
    }

    /// A request was given up after so long without a reply: it would have taken at least that.
    pub(super) fn at_least(&self, took: Duration, now: Instant) {
        if to_f64(nanos(took)) > self.latency() {
            let step = self.step(now);
            self.learn_latency(took, step);
        }
    }

    /// What is known now.
    pub(super) fn known(&self, now: Instant) -> Known {
        let age = nanos(now.saturating_duration_since(self.epoch)).saturating_sub(self.seen.load(Relaxed));
        let age = to_f64(age) / to_f64(nanos(MEMORY));
        Known {
            latency: self.latency(),
            failing: f64::from_bits(self.failing.load(Relaxed)),
            // Not worth the arithmetic for one that is busy.
            freshness: if age < FAILURE_STEP { 1.0 } else { (-age).exp() },
        }
    }

    fn latency(&self) -> f64 {
        f64::from_bits(self.latency.load(Relaxed))
    }

    /// How much what happens now counts against what is remembered. Two threads may share the time since the last outcome;
    /// none of it is counted twice.
    fn step(&self, now: Instant) -> f64 {
        let now = nanos(now.saturating_duration_since(self.epoch));
        let age = now.saturating_sub(self.seen.swap(now, Relaxed));
        let age = to_f64(age) / to_f64(nanos(MEMORY));
        age / (1.0 + age)
    }

    fn learn_latency(&self, took: Duration, step: f64) {
        let old = self.latency();
        let samples = self.samples.load(Relaxed);
        if samples <= FIRST {
            self.samples.store(samples + 1, Relaxed);
        }
        let step = match samples {
            0 => return,
            1..=FIRST => step.max(1.0 / f64::from(samples)),
            _ => step,
        };
        self.latency.store((old + (to_f64(nanos(took)) - old) * step).to_bits(), Relaxed);
    }

    fn learn_failing(&self, failed: f64, step: f64) {
        let old = f64::from_bits(self.failing.load(Relaxed));
        if old != failed {
            self.failing.store((old + (failed - old) * step.max(FAILURE_STEP)).to_bits(), Relaxed);
        }
    }
}

/// As whole nanoseconds, of which a `u64` has centuries.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "half a year in nanoseconds is exact to two of them")]
pub(super) fn to_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn latency(learnt: &Learnt, now: Instant) -> u128 {
        Duration::from_secs_f64(learnt.known(now).latency / 1e9).as_millis()
    }

    #[test]
    fn the_first_latency_is_not_counted_and_the_next_ones_are_averaged() {
        let now = Instant::now();
        let learnt = Learnt::new(now);
        for (took, want) in [(500, 0), (10, 10), (30, 20), (20, 20)] {
            learnt.good(Some(MS * took), now);
            assert_eq!(latency(&learnt, now), want);
        }
        learnt.good(None, now);
        assert_eq!(latency(&learnt, now), 20, "an upload says nothing of it");
    }

    #[test]
    fn later_on_time_decides_how_much_one_counts() {
        let mut now = Instant::now();
        let learnt = Learnt::new(now);
        (0..100).for_each(|_| learnt.good(Some(10 * MS), now));
        learnt.good(Some(1000 * MS), now);
        assert_eq!(latency(&learnt, now), 10, "one of very many at the same moment");
        now += MEMORY;
        learnt.good(Some(1000 * MS), now);
        assert_eq!(latency(&learnt, now), 505, "the only one in a while");
        learnt.at_least(100 * MS, now + MEMORY);
        assert_eq!(latency(&learnt, now), 505, "it may have taken longer");
        learnt.at_least(2000 * MS, now + MEMORY);
        assert!(latency(&learnt, now) > 1000);
    }

    #[test]
    fn failures_are_seen_at_once_and_forgotten_with_time() {
        let now = Instant::now();
        let learnt = Learnt::new(now);
        learnt.bad(now);
        assert!(learnt.known(now).failing > 0.06);
        (0..50).for_each(|_| learnt.bad(now));
        assert!(learnt.known(now).failing > 0.95);
        let fresh = |seconds| learnt.known(now + Duration::from_secs(seconds)).freshness;
        assert!(fresh(0) == 1.0 && (0.3..0.4).contains(&fresh(10)) && fresh(100) < 0.001);
        (0..100).for_each(|_| learnt.good(Some(MS), now));
        assert!(learnt.known(now).failing < 0.01);
    }
}
