//! The framed wire over real sockets, for minutes: `cargo xtask soak` runs it.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use fastrpc::wire::framed::codec::RecordCodec;
use soak::{Ground, Plan, Report, run};
use testkit::relay::{Leg, RelayOptions};

/// Carries large bodies and random calls over the framed wire, through a relay with 75 ms each way, while calls are
/// cancelled, readers lag, and connections drain or are cut. Every byte is checked; in the end nothing may be left.
#[derive(Parser)]
#[command(name = "soak")]
struct Options {
    /// For so many minutes at least.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Gigabytes of large bodies, down and up each.
    #[arg(long, default_value_t = 2)]
    gigabytes: u32,
    /// Decides who calls what, and when connections are cut.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Megabytes a second of the way, in each direction; none without.
    #[arg(long)]
    rate: Option<u32>,
    /// How records are compressed: none, lz4, zstd, zstd-small or zstd-max.
    #[arg(long, default_value_t = RecordCodec::Zstd)]
    codec: RecordCodec,
}

fn main() -> ExitCode {
    match soak(&Options::parse()) {
        Ok(report) if report.fault_count == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn soak(options: &Options) -> anyhow::Result<Report> {
    let plan = Plan {
        seed: options.seed,
        time: Duration::try_from_secs_f64(options.minutes * 60.0)?,
        bytes: u64::from(options.gigabytes) * 1_000_000_000,
        stripe: 32 << 20,
        callers: 200,
        turmoil: 2_000..8_000,
        codec: options.codec,
        growth: Some(64 << 20),
        tell: Duration::from_secs(10),
    };
    println!("soak: seed {}, {:?}, {} bytes each way, {}", plan.seed, plan.time, plan.bytes, plan.codec);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let rate = options.rate.map(|megabytes| u64::from(megabytes) * 1_000_000);
    let leg = Leg { delay: Duration::from_millis(75), rate, ..Leg::default() };
    let report = runtime.block_on(async {
        let ground = Ground::tcp(RelayOptions::both(leg)).await?;
        run(&plan, ground, |report| println!("{report}")).await
    })?;
    println!("{report}");
    report.faults.iter().for_each(|fault| println!("  fault: {fault}"));
    println!("soak: {}", if report.fault_count == 0 { "nothing is left, nothing was wrong" } else { "FAILED" });
    Ok(report)
}
