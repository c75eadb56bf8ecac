//! What compression contexts take of a process's memory, and what is left of it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

/// Bytes that the contexts of a process take, unless told otherwise.
const USUAL: usize = 1 << 30;

static PROCESS: LazyLock<ContextMemory> = LazyLock::new(|| ContextMemory::new(USUAL));

/// A budget for compression contexts, shared by the connections that are given a clone of it. Past it, new connections get
/// smaller contexts, and then none.
#[derive(Clone, Debug)]
pub struct ContextMemory(Arc<Budget>);

struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// Connections that run with less than they were to have.
    reduced: AtomicUsize,
    tell: OnceLock<Tell>,
}

/// Is told of each of these how many there are with it.
type Tell = Box<dyn Fn(usize) + Send + Sync>;

impl ContextMemory {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let (used, reduced) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self(Arc::new(Budget { limit: bytes, used, reduced, tell: OnceLock::new() }))
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

    /// Connections that are open and compress less than they were to, or not at all, as there was no memory for it.
    #[must_use]
    pub fn reduced(&self) -> usize {
        self.0.reduced.load(Ordering::Relaxed)
    }

    /// Has `tell` called for each connection of which that becomes true, with how many there are then, it among them. It is called where
    /// the connection is opened, so it must not block. What is given first stays.
    #[must_use]
    pub fn on_reduced(self, tell: impl Fn(usize) + Send + Sync + 'static) -> Self {
        let _ = self.0.tell.set(Box::new(tell));
        self
    }

    /// Nothing, for a connection for which there is none left.
    pub(super) fn nothing(&self) -> Reserved {
        Reserved { memory: self.clone(), bytes: 0, reduced: true, counted: false }
    }

    /// Takes so much out of the budget, if it is there; for a connection that is to have more, if it is `reduced`.
    pub(super) fn reserve(&self, bytes: usize, reduced: bool) -> Option<Reserved> {
        let Budget { limit, used, .. } = &*self.0;
        let more = |used: usize| used.checked_add(bytes).filter(|sum| sum <= limit);
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Reserved { memory: self.clone(), bytes, reduced, counted: false })
    }
}

/// Bytes of a budget, which return to it when this is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    memory: ContextMemory,
    bytes: usize,
    /// Whether it is less than the connection was to have.
    reduced: bool,
    /// Whether that counts: the connection is one of the framed wire.
    counted: bool,
}

impl Reserved {
    /// A connection has begun that keeps it.
    pub(super) fn begin(&mut self) {
        self.counted = self.reduced;
        if self.counted {
            let before = self.memory.0.reduced.fetch_add(1, Ordering::Relaxed);
            if let Some(tell) = self.memory.0.tell.get() {
                tell(before + 1);
            }
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Budget { limit, used, reduced, .. } = self;
        write!(f, "Budget({used:?} of {limit} bytes, {reduced:?} connections with less)")
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.memory.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
        if self.counted {
            self.memory.0.reduced.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
