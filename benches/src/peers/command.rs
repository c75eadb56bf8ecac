//! The command line that the two programs share: one that measures, one that counts allocations.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use super::measure::{Heap, measure};
use super::{BoxError, rows, table};
use crate::measure::Effort;

/// Measures calls over loopback TCP, made by httpteleport and fastrpc and by their peers: hyper HTTP/1.1 (a connection
/// for each caller), hyper HTTP/2, tonic and tarpc (one connection). Both ends of all run in one thread and take turns
/// in each round. Also the floor: the same bytes in the same batches, echoed.
///
/// Takes about (rounds + 1) x round-ms for each row. Keep it on one core: taskset -c 1. Allocations are counted by
/// peers-allocs alone, whose times are longer for it; compare those of peers.
#[derive(Parser)]
struct Options {
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Only rows whose name begins with this, for instance http/ or rpc/tarpc, and those they are held against.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    only: String,
    /// Leave out what the rows are held against: for a profiler.
    #[arg(long, requires = "only")]
    alone: bool,
    /// How many callers call at once, each number a set of rows.
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "1,100", value_parser = callers)]
    callers: Vec<usize>,
    /// Rounds; the median is printed.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Milliseconds that each row has in each round.
    #[arg(long, default_value_t = 200)]
    round_ms: u64,
}

fn callers(number: &str) -> Result<usize, String> {
    match number.parse() {
        Ok(callers @ 1..=10_000) => Ok(callers),
        _ => Err("give numbers from 1 to 10000, for instance 1,10,100,1000".to_owned()),
    }
}

/// Does what the command line says; `heap` counts allocations in the program that does.
#[must_use]
pub fn main(heap: Heap) -> ExitCode {
    match run(&Options::parse(), heap) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, heap: Heap) -> Result<(), BoxError> {
    let rows = rows::chosen(&options.callers, &options.only, options.alone);
    if rows.is_empty() {
        let names: Vec<_> = rows::PEERS.iter().map(|peer| peer.name).collect();
        let (only, names) = (&options.only, names.join(", "));
        return Err(format!("no row begins with {only:?}: rows are, each /N for the N of --callers, {names}").into());
    }
    let effort = Effort { rounds: options.rounds.max(1), round: Duration::from_millis(options.round_ms.max(1)) };
    let measured = measure(&rows, effort, heap)?;
    let lines = table::lines(&measured);
    if options.json {
        lines.iter().for_each(|line| println!("{}", line.json()));
        return Ok(());
    }
    println!("{}", table::head());
    lines.iter().for_each(|line| println!("{}", line.text()));
    println!("\n{}", table::notes());
    Ok(())
}
