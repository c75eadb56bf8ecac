//! The matrix: nanoseconds, allocations and wire bytes per call, rows named after the Go original's benchmarks.

use std::alloc::System;
use std::process::ExitCode;
use std::time::Duration;

use benches::measure::{Effort, measure, measure_floor};
use benches::rows;
use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Measures calls through an in-memory pipe on one core: 2 connections, N callers spread over both, deadlines, limits
/// and counters on.
#[derive(Parser)]
struct Options {
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Only rows whose name begins with this, for instance fastrpc/no_delay or http/compress/flate.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    only: String,
    /// Rounds per row; the median is printed.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Milliseconds per round.
    #[arg(long, default_value_t = 300)]
    round_ms: u64,
}

/// Bytes of a request and of a reply, as the rows with the same name send them uncompressed.
const FLOORS: [(&str, usize, usize); 2] = [("fastrpc", 18, 269), ("http", 46, 343)];

fn main() -> ExitCode {
    let options = Options::parse();
    let effort = Effort { rounds: options.rounds.max(1), round: Duration::from_millis(options.round_ms.max(1)) };
    let rows: Vec<_> = rows::all().into_iter().filter(|row| row.name.starts_with(&options.only)).collect();
    if rows.is_empty() && !options.only.starts_with("floor") {
        eprintln!("matrix: no row begins with {:?}; rows begin with fastrpc/, http/ or floor/", options.only);
        return ExitCode::from(2);
    }
    if !options.json {
        println!("{:<28} {:>10} {:>21} {:>8} {:>10}", "row", "ns/op", "min-max", "allocs", "wire bytes");
    }
    let floors = FLOORS.iter().filter(|(name, ..)| format!("floor/{name}").starts_with(&options.only));
    let floors = floors.map(|(name, request, reply)| measure_floor(name, *request, *reply, effort));
    for measured in floors.chain(rows.iter().map(|row| measure(row, effort, HEAP))) {
        if options.json {
            println!("{}", measured.json());
        } else {
            let (median, least, most) = measured.ns;
            let range = format!("{least:.0}-{most:.0}");
            let (allocs, wire) = (measured.allocs, measured.wire_bytes);
            println!("{:<28} {median:>10.0} {range:>21} {allocs:>8.2} {wire:>10.1}", measured.name);
        }
    }
    ExitCode::SUCCESS
}
