//! The command line that the two programs share: one that measures, one that counts allocations.

use std::process::ExitCode;

use clap::Parser;

use super::measure::{Heap, measure};
use super::{rows, table};
use crate::measure::Effort;
use crate::program::{at_least_one, check_only, end, say};

/// Measures calls over loopback TCP, made by httpteleport and fastrpc and by their peers: hyper HTTP/1.1 (a connection
/// for each caller), hyper HTTP/2, tonic and tarpc (one connection). Both ends of all run in one thread and take turns
/// in each round. Also the floor: the same bytes in the same batches, echoed. With 1 caller a call and its floor are both
/// system calls and wakes for the most part, and within noise of each other.
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
    /// Only name the rows.
    #[arg(long)]
    list: bool,
    /// Leave out what the rows are held against: for a profiler.
    #[arg(long, requires = "only")]
    alone: bool,
    /// How many callers call at once, each number a set of rows.
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "1,100", value_parser = callers)]
    callers: Vec<usize>,
    /// Rounds; the median is printed.
    #[arg(long, default_value_t = 7, value_parser = at_least_one::<usize>)]
    rounds: usize,
    /// Milliseconds that each row has in each round.
    #[arg(long, default_value_t = 200, value_parser = at_least_one::<u64>)]
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
    end("peers", run(&Options::parse(), heap))
}

fn run(options: &Options, heap: Heap) -> anyhow::Result<()> {
    let rows = rows::chosen(&options.callers, &options.only, options.alone);
    if rows.is_empty() {
        let names: Vec<_> = rows::chosen(&options.callers, "", false).iter().map(rows::Row::name).collect();
        check_only([&options.only], &names)?;
    }
    if options.list {
        return rows.iter().try_for_each(|row| say(row.name()));
    }
    let effort = Effort::new(options.rounds, options.round_ms);
    let measured = measure(&rows, effort, heap).map_err(anyhow::Error::from_boxed)?;
    let lines = table::lines(&measured);
    if options.json {
        return lines.iter().try_for_each(|line| say(line.json()));
    }
    say(table::head())?;
    lines.iter().try_for_each(|line| say(line.text()))?;
    say(format_args!("\n{}", table::notes()))
}
