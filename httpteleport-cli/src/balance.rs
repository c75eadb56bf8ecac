//! Which upstream gets the next request: the least loaded of those that seem to be well.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long an upstream is avoided after its first failure to connect; doubles with each further one.
const FIRST_REST: Duration = Duration::from_millis(100);
/// It is never avoided for longer than this, give or take the jitter.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// Chooses among upstreams known by their index.
pub(crate) struct Balancer {
    nodes: Vec<Node>,
    /// Where the search begins; moves on with each choice, so that equals take turns.
    turn: AtomicUsize,
}

struct Node {
    pending: Arc<AtomicUsize>,
    /// Whether `health` holds a failure: it is looked at for every request, and hardly ever does.
    ailing: AtomicBool,
    health: Mutex<Health>,
}

/// Failures to connect in a row, and until when they keep requests away.
#[derive(Clone, Copy, Default)]
struct Health {
    failures: u32,
    avoided_until: Option<Instant>,
}

/// One request that an upstream, the process or a connection is busy with; over when dropped.
#[derive(Debug)]
pub(crate) struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many requests may run at a time.
pub(crate) struct Slots {
    taken: Arc<AtomicUsize>,
    most: usize,
}

impl Slots {
    /// At most `most` of them.
    pub(crate) fn new(most: usize) -> Slots {
        Slots { taken: Arc::default(), most }
    }

    /// One of them, free again when dropped; `None` when all are taken.
    pub(crate) fn take(&self) -> Option<Load> {
        let slot = Load(Arc::clone(&self.taken));
        // One too many is given back by its drop.
        (self.taken.fetch_add(1, Ordering::Relaxed) < self.most).then_some(slot)
    }

    /// How many there are.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Balancer {
    /// A balancer over `count` upstreams, 0 to `count - 1`.
    pub(crate) fn new(count: usize) -> Balancer {
        let node = || Node { pending: Arc::default(), ailing: AtomicBool::new(false), health: Mutex::default() };
        Balancer { nodes: (0..count).map(|_| node()).collect(), turn: AtomicUsize::new(0) }
    }

    /// The upstream for the next request and its place in that upstream's load; `None` when all were `tried`.
    ///
    /// When every one left is being avoided, the one whose rest ends first is taken: trying beats giving up.
    pub(crate) fn choose(&self, tried: &[usize], now: Instant) -> Option<(usize, Load)> {
        let count = self.nodes.len();
        let start = self.turn.fetch_add(1, Ordering::Relaxed);
        let (_, index) = (0..count)
            .map(|step| start.wrapping_add(step) % count)
            .filter(|index| !tried.contains(index))
            .map(|index| (self.nodes[index].rank(now), index))
            // `min_by_key` keeps the first of equals, so whose turn it is.
            .min_by_key(|(rank, _)| *rank)?;
        let pending = Arc::clone(&self.nodes[index].pending);
        pending.fetch_add(1, Ordering::Relaxed);
        Some((index, Load(pending)))
    }

    /// A connection to the upstream works. Tells whether it was being avoided.
    pub(crate) fn succeeded(&self, index: usize) -> bool {
        let node = &self.nodes[index];
        if !node.ailing.load(Ordering::Relaxed) {
            return false;
        }
        let mut health = node.lock();
        let was_down = health.failures > 0;
        *health = Health::default();
        node.ailing.store(false, Ordering::Relaxed);
        was_down
    }

    /// The upstream could not be connected to. Tells whether that is news.
    pub(crate) fn failed(&self, index: usize, now: Instant) -> bool {
        let mut health = self.nodes[index].lock();
        if health.avoided_until.is_some_and(|until| until > now) {
            // Calls that began together fail together: one failure, not many.
            return false;
        }
        let rest = FIRST_REST.saturating_mul(1 << health.failures.min(16)).min(LONGEST_REST);
        // A quarter of jitter either way keeps many proxies from coming back at the same moment.
        let rest = rest.mul_f64(0.75 + fastrand::f64() / 2.0);
        health.failures = health.failures.saturating_add(1);
        health.avoided_until = Some(now + rest);
        self.nodes[index].ailing.store(true, Ordering::Relaxed);
        health.failures == 1
    }
}

impl Node {
    /// What makes one better than another: well before avoided, then less load; among avoided ones the end of the rest.
    fn rank(&self, now: Instant) -> (bool, Duration, usize) {
        let avoided_until = if self.ailing.load(Ordering::Relaxed) { self.lock().avoided_until } else { None };
        let rest = avoided_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        (!rest.is_zero(), rest, self.pending.load(Ordering::Relaxed))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(balancer: &Balancer, tried: &[usize], now: Instant) -> usize {
        balancer.choose(tried, now).expect("one is left").0
    }

    #[test]
    fn equals_take_turns_and_the_least_loaded_wins() {
        let (balancer, now) = (Balancer::new(3), Instant::now());
        let mut held: Vec<_> = (0..9).map(|_| balancer.choose(&[], now).expect("one")).collect();
        for index in 0..3 {
            assert_eq!(held.iter().filter(|(i, _)| *i == index).count(), 3);
        }
        let freed = held.iter().position(|(i, _)| *i == 1).expect("there");
        held.remove(freed);
        assert_eq!(choose(&balancer, &[], now), 1);
        assert_eq!(choose(&balancer, &[], now), 1, "the load of a choice ends with its guard");
    }

    #[test]
    fn who_failed_is_avoided_for_a_while_and_longer_each_time() {
        let (balancer, start) = (Balancer::new(2), Instant::now());
        assert!(balancer.failed(0, start), "news");
        assert!(!balancer.failed(0, start), "the same failure");
        for _ in 0..4 {
            assert_eq!(choose(&balancer, &[], start), 1);
        }
        let rest = |at| {
            (0..10_000).find(|ms| {
                let now = at + Duration::from_millis(*ms);
                (0..2).any(|_| choose(&balancer, &[], now) == 0)
            })
        };
        let first = rest(start).expect("it comes back");
        assert!((75..=126).contains(&first), "{first}");
        let mut at = start;
        for _ in 0..10 {
            at += Duration::from_secs(7);
            assert!(!balancer.failed(0, at), "no news");
        }
        let last = rest(at).expect("it comes back");
        assert!((3_750..=6_251).contains(&last), "{last}");
        assert!(balancer.succeeded(0));
        assert!(!balancer.succeeded(0));
        assert_eq!(rest(at), Some(0));
    }

    #[test]
    fn all_avoided_still_gives_the_one_that_rests_least() {
        let (balancer, now) = (Balancer::new(2), Instant::now());
        balancer.failed(0, now + Duration::from_secs(1));
        balancer.failed(1, now);
        for _ in 0..4 {
            assert_eq!(choose(&balancer, &[], now), 1);
        }
        assert_eq!(choose(&balancer, &[1], now), 0);
        assert!(balancer.choose(&[0, 1], now).is_none());
    }
}
