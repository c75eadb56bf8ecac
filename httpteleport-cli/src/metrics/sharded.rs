//! Counters that many threads add to at once.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// More threads than this share places.
const SHARDS: usize = 16;

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Where this thread adds.
    static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Counters in as many copies as a few threads need to keep out of each other's cache lines.
#[derive(Debug, Default)]
pub(crate) struct Sharded<T>(Box<[Apart<T>; SHARDS]>);

/// On cache lines of its own; two of them, as processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

impl<T> Sharded<T> {
    /// The copy of this thread.
    pub(crate) fn mine(&self) -> &T {
        let mut index = MINE.get();
        if index == usize::MAX {
            index = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
            MINE.set(index);
        }
        &self.0[index].0
    }

    /// One of the counters, of all threads together.
    pub(crate) fn sum(&self, counter: impl Fn(&T) -> &AtomicU64) -> u64 {
        self.0.iter().map(|shard| counter(&shard.0).load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_threads_add_is_summed() {
        let counters = Sharded::<[AtomicU64; 2]>::default();
        std::thread::scope(|scope| {
            for _ in 0..SHARDS + 3 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        counters.mine()[1].fetch_add(2, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!((counters.sum(|both| &both[0]), counters.sum(|both| &both[1])), (0, 200 * (SHARDS as u64 + 3)));
    }
}
