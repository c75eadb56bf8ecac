//! One row, a fixed number of calls: what is counted or profiled from outside, under callgrind for instance.

use std::process::ExitCode;

use benches::rows;
use benches::workload::{Pair, run};
use clap::Parser;

/// Makes a fixed number of calls of one row of the matrix and prints nothing.
#[derive(Parser)]
struct Options {
    /// The row's whole name, for instance http/no_delay/100.
    row: String,
    /// How many calls.
    calls: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let Some(row) = rows::all().into_iter().find(|row| row.name == options.row) else {
        eprintln!("fixed: no row is named {:?}; the matrix prints the names", options.row);
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let tasks = tokio::task::LocalSet::new();
    runtime.block_on(tasks.run_until(async {
        let caller = Pair::start(&row);
        run(&caller, row.callers, options.calls).await;
        if std::env::var_os("SHOW").is_some() {
            println!("{:?}", caller.stats());
        }
    }));
    ExitCode::SUCCESS
}
