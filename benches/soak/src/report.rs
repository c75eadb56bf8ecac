//! What was done, and what was wrong.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Faults that are told; the others are counted.
const TOLD: usize = 20;

/// Counts while it goes on.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) down: AtomicU64,
    pub(crate) up: AtomicU64,
    /// Calls that ended as they should.
    pub(crate) calls: AtomicU64,
    /// Calls that were given up or broken off on purpose.
    pub(crate) dropped: AtomicU64,
    /// Calls that ended with their connection, which was cut.
    pub(crate) cut: AtomicU64,
    /// Calls that were made once more, as their connection drained.
    pub(crate) again: AtomicU64,
    pub(crate) drains: AtomicU64,
    pub(crate) cuts: AtomicU64,
    faults: Mutex<(u64, Vec<String>)>,
}

pub(crate) fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Tally {
    pub(crate) fn fault(&self, what: String) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.0 += 1;
        if faults.1.len() < TOLD {
            faults.1.push(what);
        }
    }

    pub(crate) fn report(&self, time: Duration) -> Report {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        Report {
            time,
            down: read(&self.down),
            up: read(&self.up),
            calls: read(&self.calls),
            dropped: read(&self.dropped),
            cut: read(&self.cut),
            again: read(&self.again),
            drains: read(&self.drains),
            cuts: read(&self.cuts),
            memory: resident(),
            fault_count: faults.0,
            faults: faults.1.clone(),
        }
    }
}

/// How it stands, or stood at the end.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Since the start.
    pub time: Duration,
    /// Bytes of large bodies that came down and were right.
    pub down: u64,
    /// Likewise up.
    pub up: u64,
    /// Calls that ended as they should.
    pub calls: u64,
    /// Calls that were given up or broken off on purpose.
    pub dropped: u64,
    /// Calls that ended with their connection, which was cut.
    pub cut: u64,
    /// Calls that were made once more, as their connection drained.
    pub again: u64,
    /// Connections that drained while they were in use.
    pub drains: u64,
    /// Times that all connections were cut.
    pub cuts: u64,
    /// Resident bytes of the process; 0 where that is not known.
    pub memory: u64,
    /// How many things were wrong.
    pub fault_count: u64,
    /// The first of them.
    pub faults: Vec<String>,
}

/// One line.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: u64| bytes / 1_000_000;
        let Self { calls, dropped, cut, again, drains, cuts, fault_count, .. } = self;
        write!(
            f,
            "{:>5.0} s: {} MB down, {} MB up, {calls} calls, {dropped} dropped, {cut} cut off, {again} again, \
             {drains} drains, {cuts} cuts, {} MB resident, {fault_count} faults",
            self.time.as_secs_f64(),
            mb(self.down),
            mb(self.up),
            mb(self.memory),
        )
    }
}

/// Resident bytes of this process; 0 where that is not known.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0u64) * 1024
}
