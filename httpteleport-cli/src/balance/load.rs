//! What is busy, counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One request that the process or a connection is busy with, or one connection that is open; over when dropped.
#[derive(Debug)]
pub(crate) struct Load(Arc<AtomicUsize>);

impl Load {
    /// One more in the count.
    pub(crate) fn of(count: &Arc<AtomicUsize>) -> Load {
        count.fetch_add(1, Ordering::Relaxed);
        Load(Arc::clone(count))
    }
}

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

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}
