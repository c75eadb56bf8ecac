//! Measures rows side by side: in each round each has its turn, so that what the machine does meanwhile meets all alike.

use std::alloc::System;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use stats_alloc::{Region, StatsAlloc};
use tokio::runtime::Runtime;

use super::BoxError;
use super::caller::{Boxed, Load};
use super::rows::Row;
use super::workload::REPLY;
use crate::measure::Effort;

/// The longest that starting a row, or ending a round of it, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a row came to.
pub struct Measured {
    /// Which.
    pub row: Row,
    /// Nanoseconds per call, round by round.
    pub ns: Vec<f64>,
    /// Heap allocations per call, both ends, if they were counted.
    pub allocs: Option<f64>,
}

/// What counts allocations, in a program that does. Counting takes some 20 ns for each, so that figures to compare come
/// from one that does not.
pub type Heap = Option<&'static StatsAlloc<System>>;

/// Measures `rows` in rounds. Round after round another row is the first.
///
/// # Errors
///
/// A row cannot be started, gives a wrong reply, fails a call or leaves one unanswered; the error names it.
pub fn measure(rows: &[Row], effort: Effort, heap: Heap) -> Result<Vec<Measured>, BoxError> {
    let mut running = rows.iter().map(|row| Running::start(*row)).collect::<Result<Vec<_>, _>>()?;
    for row in &mut running {
        row.round(effort.round, heap)?; // Fills pools and buffers, and is not counted.
    }
    for row in &mut running {
        row.sum = Sum::default();
    }
    for round in 0..effort.rounds {
        let (before, from_here) = running.split_at_mut(round % rows.len());
        for row in from_here.iter_mut().chain(before) {
            row.round(effort.round, heap)?;
        }
    }
    Ok(running.into_iter().map(Running::measured).collect())
}

/// One reply for each caller of `row`.
///
/// # Errors
///
/// As [`measure`].
pub fn replies(row: Row) -> Result<Vec<Vec<u8>>, BoxError> {
    let mut running = Running::new(row)?;
    running.replies()
}

/// A row with the runtime in which both its ends live. It moves only while it has its turn.
struct Running {
    row: Row,
    load: Box<dyn Load>,
    runtime: Runtime,
    sum: Sum,
}

#[derive(Default)]
struct Sum {
    ns: Vec<f64>,
    calls: u64,
    allocations: usize,
    counted: bool,
}

impl Running {
    /// Starts a row and looks at what it replies.
    fn start(row: Row) -> Result<Self, BoxError> {
        let mut running = Self::new(row)?;
        for reply in running.replies()? {
            if reply != REPLY.as_bytes() {
                let text = String::from_utf8_lossy(&reply);
                return Err(format!("{}: the reply is {text:?}, not {REPLY:?}", row.name()).into());
            }
        }
        Ok(running)
    }

    fn new(row: Row) -> Result<Self, BoxError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let load = runtime.block_on(in_time("starting", row.start())).map_err(|fault| named(row, &fault))?;
        Ok(Self { row, load, runtime, sum: Sum::default() })
    }

    fn replies(&mut self) -> Result<Vec<Vec<u8>>, BoxError> {
        let replies = in_time("a first call of each caller", self.load.replies());
        self.runtime.block_on(replies).map_err(|fault| named(self.row, &fault))
    }

    /// One round. What it takes to set callers off is not counted, what they do is.
    fn round(&mut self, length: Duration, heap: Heap) -> Result<(), BoxError> {
        let over = Arc::new(AtomicBool::new(false));
        let entered = self.runtime.enter();
        let calls = self.load.begin(&over);
        drop(entered);
        let region = heap.map(Region::new);
        let begun = Instant::now();
        let calls = self.runtime.block_on(until_over(calls, &over, length)).map_err(|fault| named(self.row, &fault))?;
        let took = begun.elapsed();
        self.sum.allocations += region.map_or(0, |region| region.change().allocations);
        self.sum.counted = heap.is_some();
        self.sum.calls += calls;
        self.sum.ns.push(took.as_secs_f64() * 1e9 / calls.max(1) as f64);
        Ok(())
    }

    fn measured(self) -> Measured {
        let Sum { ns, calls, allocations, counted } = self.sum;
        Measured { row: self.row, ns, allocs: counted.then(|| allocations as f64 / calls.max(1) as f64) }
    }
}

/// Tells the callers when `length` has passed, and waits for their last calls.
async fn until_over(calls: Boxed<'_, u64>, over: &AtomicBool, length: Duration) -> Result<u64, BoxError> {
    let ending = async {
        tokio::time::sleep(length).await;
        over.store(true, Relaxed);
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        biased;
        calls = calls => calls,
        () = ending => Err(format!("calls are unanswered {} s after the round", PATIENCE.as_secs()).into()),
    }
}

async fn in_time<T>(what: &str, future: Boxed<'_, T>) -> Result<T, BoxError> {
    let late = || format!("{what} takes more than {} s", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, future).await.map_err(|_| late())?
}

fn named(row: Row, fault: &BoxError) -> BoxError {
    let hint = match fault.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error) {
        // EMFILE, which has no `ErrorKind`.
        Some(24) => ": raise the limit with `ulimit -n`, or measure fewer callers with --callers",
        _ => "",
    };
    format!("{}: {fault}{hint}", row.name()).into()
}
