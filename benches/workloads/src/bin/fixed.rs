//! One row, a fixed number of times: what is counted or profiled from outside, under callgrind for instance.

use std::io::{Write as _, stdout};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use workloads::counted::{self, Counted};
use workloads::rows;

/// Does one thing a fixed number of times and prints nothing, for a profiler to watch.
///
/// `cargo xtask instructions` counts with it.
#[derive(Parser)]
#[command(
    name = "fixed",
    after_help = "Example:\n  valgrind --tool=callgrind fixed call/http/no_delay/100 3100\n\n\
                  Rows with TLS are there if it is built with --features tls."
)]
struct Options {
    /// What is done: a name that --list prints, or call/ and any row of the matrix about calls on one thread.
    #[arg(required_unless_present = "list")]
    row: Option<String>,
    /// How often.
    #[arg(required_unless_present = "list")]
    times: Option<u64>,
    /// Print the rows that are counted, one a line: its name, and how often it is done in each of two runs.
    #[arg(long, exclusive = true)]
    list: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match (options.row, options.times) {
        (Some(name), Some(times)) => run(&name, times),
        _ => list(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fixed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, times: u64) -> anyhow::Result<()> {
    let row = find(name).with_context(|| {
        format!(
            "no row is named {name:?}: --list prints names, and call/ with a row that `matrix --list` prints is one too"
        )
    })?;
    row.run(times)
}

fn list() -> anyhow::Result<()> {
    for Counted { name, times: (few, many), .. } in counted::all() {
        writeln!(stdout(), "{name} {few} {many}")?;
    }
    Ok(())
}

fn find(name: &str) -> Option<Counted> {
    let of_matrix = rows::all().into_iter().filter_map(Counted::of_matrix);
    counted::all().into_iter().chain(of_matrix).find(|row| row.name == name)
}
