//! Heap allocations per call of the matrix's rows.

use std::alloc::System;
use std::process::ExitCode;

use benches::allocations::count;
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
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("allocations: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    if options.child {
        system::end_with_parent()?;
    }
    let rows = rows::select(&options.only, options.all);
    anyhow::ensure!(!rows.is_empty(), "no row begins with {:?}: `matrix --list` names them", options.only);
    for row in rows {
        let counted = count(&row, || HEAP.stats().allocations)?;
        if options.json {
            println!("{}", serde_json::to_string(&counted)?);
        } else {
            println!("{:<32} {:>8.2}", counted.name, counted.allocs_per_op);
        }
    }
    Ok(())
}
