//! Heap allocations of a call in steady state, both ends and their callers together. Unlike times they are the same in each
//! run, so that one too many fails here.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use workloads::counted::Counted;
use workloads::rows;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is allowed a call. With the types of the `http` crate six are header maps, which both programs and both codecs make;
/// the host is in the URI, so there is no `Host` header that would take more. Lazy heads take none where they are cloned;
/// built for each call, the text of both heads takes eight.
const ALLOWED: [(&str, f64); 15] = [
    ("fastrpc/no_delay/1", 0.0),
    ("fastrpc/no_delay/100", 0.0),
    ("fastrpc/compress/flate", 0.0),
    ("http/no_delay/1", 6.0),
    ("http/no_delay/100", 6.0),
    ("lazy/no_delay/1", 0.0),
    ("lazy/no_delay/100", 0.0),
    ("lazy/built/1", 8.0),
    ("lazy/built/100", 8.0),
    ("fastrpc/framed/none/1", CHUNKS),
    ("fastrpc/framed/none/100", 0.0),
    ("fastrpc/framed/zstd/100", CHUNKS),
    ("http/framed/none/1", 6.0 + CHUNKS),
    ("http/framed/none/100", 6.0),
    ("http/framed/zstd/1000", 6.0),
];

/// What the chunks come to that a framed connection reads into, where each record brings few calls.
const CHUNKS: f64 = 0.05;
/// What buffers that grow, or are made anew for a batch, may come to a call.
const SLACK: f64 = 0.05;

/// One test, as others beside it would allocate too.
#[test]
fn calls_allocate_no_more_than_they_have_to() {
    for (name, allowed) in ALLOWED {
        let found = per_call(name);
        assert!(found <= allowed + SLACK, "{name}: {found:.3} allocations a call, {allowed} are allowed");
    }
}

/// Those of a long run less those of a short one: what starting takes falls out.
fn per_call(name: &str) -> f64 {
    let row = rows::all().into_iter().find(|row| row.name == name).expect("a row of the matrix");
    let row = Counted::of_matrix(row).expect("a row about calls on one thread");
    let allocations = |times| {
        let region = Region::new(HEAP);
        row.run(times).expect("it runs");
        region.change().allocations as f64
    };
    let (few, many) = row.times;
    (allocations(many) - allocations(few)) / (many - few) as f64
}
