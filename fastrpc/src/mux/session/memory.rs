//! What compression contexts take of a process's memory, and what is left of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

/// Bytes that the contexts of a process take, unless told otherwise.
const USUAL: usize = 1 << 30;

static PROCESS: LazyLock<ContextMemory> = LazyLock::new(|| ContextMemory::new(USUAL));

/// A budget for compression contexts, shared by the connections that are given a clone of it. Past it, new connections get
/// smaller contexts, and then none.
#[derive(Clone, Debug)]
pub struct ContextMemory(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl ContextMemory {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Budget { limit: bytes, used: AtomicUsize::new(0) }))
    }

    /// The one that connections share unless they are given another: 1 GiB.
    #[must_use]
    pub fn process() -> Self {
        PROCESS.clone()
    }

    /// Bytes that connections have reserved, whether their contexts have taken them yet or not.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Takes so much out of the budget, if it is there.
    pub(super) fn reserve(&self, bytes: usize) -> Option<Reserved> {
        let Budget { limit, used } = &*self.0;
        let more = |used: usize| used.checked_add(bytes).filter(|sum| sum <= limit);
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Reserved { memory: self.clone(), bytes })
    }
}

/// Bytes of a budget, which return to it when this is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    memory: ContextMemory,
    bytes: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.memory.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
