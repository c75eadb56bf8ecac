//! Measures one row: rounds of equal length, the median of them.

use std::alloc::System;
use std::time::Duration;

use serde_json::json;
use stats_alloc::{Region, StatsAlloc};

use crate::floor;
use crate::rows::Row;
use crate::workload::{Pair, run};

/// What one row came to.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The row's name.
    pub name: String,
    /// Nanoseconds per operation: median, least, most of the rounds.
    pub ns: (f64, f64, f64),
    /// Heap allocations per operation, both ends.
    pub allocs: f64,
    /// Bytes on the wire per operation, both directions.
    pub wire_bytes: f64,
}

impl Measured {
    /// One JSON object on one line.
    #[must_use]
    pub fn json(&self) -> String {
        json!({
            "name": self.name,
            "ns_per_op": round(self.ns.0, 1.0),
            "ns_min": round(self.ns.1, 1.0),
            "ns_max": round(self.ns.2, 1.0),
            "allocs_per_op": round(self.allocs, 100.0),
            "wire_bytes_per_op": round(self.wire_bytes, 10.0),
        })
        .to_string()
    }
}

fn round(value: f64, per_unit: f64) -> f64 {
    (value * per_unit).round() / per_unit
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds per row.
    pub rounds: usize,
    /// Length of each.
    pub round: Duration,
}

/// Measures `row` on a runtime of its own with one thread.
///
/// # Panics
///
/// When the runtime cannot be made or a call fails.
#[must_use]
pub fn measure(row: &Row, effort: Effort, heap: &'static StatsAlloc<System>) -> Measured {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let tasks = tokio::task::LocalSet::new();
    runtime.block_on(tasks.run_until(async {
        let caller = Pair::start(row);
        let stats = || caller.stats();
        rounds(row, &caller, stats, effort, heap).await
    }))
}

/// Measures the floor for frames of these sizes, named `floor/NAME/100`.
///
/// # Panics
///
/// When the runtime cannot be made.
#[must_use]
pub fn measure_floor(name: &str, request: usize, reply: usize, effort: Effort) -> Measured {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let tasks = tokio::task::LocalSet::new();
    let mut ns = Vec::new();
    let mut batches = 64;
    while ns.len() < effort.rounds {
        let took = runtime.block_on(tasks.run_until(floor::run(request, reply, batches)));
        if took < effort.round / 2 {
            batches *= 2;
            continue;
        }
        ns.push(took.as_secs_f64() * 1e9 / (batches * floor::BATCH as u64) as f64);
    }
    ns.sort_by(f64::total_cmp);
    Measured {
        name: format!("floor/{name}/{}", floor::BATCH),
        ns: (ns[ns.len() / 2], ns[0], ns[ns.len() - 1]),
        allocs: 0.0,
        wire_bytes: (request + reply) as f64,
    }
}

async fn rounds(
    row: &Row,
    caller: &Pair,
    stats: impl Fn() -> fastrpc::Stats,
    effort: Effort,
    heap: &'static StatsAlloc<System>,
) -> Measured {
    let per_round = calibrate(row, caller, effort.round).await;
    let mut ns = Vec::new();
    let before = stats();
    let region = Region::new(heap);
    for _ in 0..effort.rounds {
        let took = run(caller, row.callers, per_round).await;
        ns.push(took.as_secs_f64() * 1e9 / per_round as f64);
    }
    let total = (per_round * effort.rounds as u64) as f64;
    let allocs = region.change().allocations as f64 / total;
    let after = stats();
    let wire = (after.wire_bytes_in + after.wire_bytes_out - before.wire_bytes_in - before.wire_bytes_out) as f64;
    ns.sort_by(f64::total_cmp);
    Measured {
        name: row.name.clone(),
        ns: (ns[ns.len() / 2], ns[0], ns[ns.len() - 1]),
        allocs,
        wire_bytes: wire / total,
    }
}

/// Operations that fill one round; warms everything up on the way.
async fn calibrate(row: &Row, caller: &Pair, round: Duration) -> u64 {
    let mut count = row.callers as u64 * 2;
    loop {
        let took = run(caller, row.callers, count).await;
        if took * 5 >= round {
            let per_round = u128::from(count) * round.as_nanos() / took.as_nanos().max(1);
            return u64::try_from(per_round).unwrap_or(u64::MAX).max(row.callers as u64);
        }
        count *= 2;
    }
}
