//! Heap allocations per call of the matrix's rows.

use std::alloc::System;
use std::process::ExitCode;

use benches::allocations::count;
use benches::program::{check_only, end, say};
use benches::{rows, system};
use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Counts heap allocations per call of the rows of the matrix: both ends and their callers together. `matrix` runs it by
/// itself.
#[derive(Parser)]
struct Options {
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Only rows whose name begins with this; may be given several times.
    #[arg(long, value_name = "PREFIX")]
    only: Vec<String>,
    /// Every row, not only those that have a counterpart in the Go original.
    #[arg(long)]
    all: bool,
    /// End with the program that started this.
    #[arg(long, hide = true)]
    child: bool,
}

fn main() -> ExitCode {
    end("allocations", run(&Options::parse()))
}

fn run(options: &Options) -> anyhow::Result<()> {
    if options.child {
        system::end_with_parent()?;
    }
    check_only(&options.only, &rows::all().into_iter().map(|row| row.name).collect::<Vec<_>>())?;
    let rows = rows::select(&options.only, options.all);
    for row in rows {
        let counted = count(&row, || HEAP.stats().allocations)?;
        if options.json {
            say(serde_json::to_string(&counted)?)?;
        } else {
            say(format_args!("{:<32} {:>8.2}", counted.name, counted.allocs_per_op))?;
        }
    }
    Ok(())
}
