//! One row, a fixed number of calls: what is counted or profiled from outside, under callgrind for instance.

use anyhow::Context as _;
use benches::rows::{self, Carried, Row};
use benches::transport;
use benches::workload::{HttpCalls, LazyCalls, Tls, TlvCalls, Workload, run};
use clap::Parser;

/// Makes a fixed number of calls of one row of the matrix and prints nothing.
#[derive(Parser)]
struct Options {
    /// The row's whole name, for instance http/no_delay/100.
    row: String,
    /// How many calls.
    calls: u64,
}

fn main() -> anyhow::Result<()> {
    let Options { row, calls } = Options::parse();
    let row = rows::all().into_iter().find(|known| known.name == row);
    let row = row.context("there is no such row: `matrix --list` prints the names")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match row.carried {
            Carried::Tlv => calls_of::<TlvCalls>(&row, calls).await,
            Carried::Http => calls_of::<HttpCalls>(&row, calls).await,
            Carried::Lazy => calls_of::<LazyCalls>(&row, calls).await,
        }
    })
}

async fn calls_of<W: Workload>(row: &Row, calls: u64) -> anyhow::Result<()> {
    let (dialer, listening) = transport::join(row.setting.wire)?;
    let tls = row.tls.then(Tls::new);
    let _counters = W::serve(row, listening, tls.as_ref())?;
    let client = W::connect(row, dialer, tls.as_ref())?;
    run(&[client], row.callers, calls).await?;
    Ok(())
}
