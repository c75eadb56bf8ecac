//! A large body on a long and narrow way, and what it does to others on the same connection.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use benches::program::{at_least_one, end, say};
use benches::spread::Spread;
use benches::stream::{Outcome, Times, Way, round};
use clap::Parser;
use fastrpc::wire::framed::codec::RecordCodec;
use serde_json::json;
use testkit::relay::Leg;

/// Measures one download on one framed connection over a long and narrow way: how much of the way it uses, and how long
/// 1,000 small calls a second and 20 events a second take beside it, and without it.
///
/// The way is a relay of this program over loopback TCP; everything runs on one thread. Rounds with and without the
/// download take turns, each on a new connection. The bytes of the download do not compress.
#[derive(Parser)]
#[command(name = "stream")]
struct Options {
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Rounds of each kind; the median is printed.
    #[arg(long, default_value_t = 3, value_parser = at_least_one::<usize>)]
    rounds: usize,
    /// Megabits a second of the way.
    #[arg(long, default_value_t = 200, value_parser = at_least_one::<u64>)]
    mbit: u64,
    /// Milliseconds there and back.
    #[arg(long, default_value_t = 150)]
    rtt: u32,
    /// KiB that the way holds in each direction, those under way and those that wait for the narrow part.
    #[arg(long, default_value_t = 8192, value_parser = at_least_one::<u32>)]
    queue: u32,
    /// Megabytes of the download.
    #[arg(long, default_value_t = 100, value_parser = at_least_one::<u32>)]
    megabytes: u32,
    /// How records are compressed: none, lz4, zstd, zstd-small or zstd-max.
    #[arg(long, default_value_t = RecordCodec::Zstd)]
    codec: RecordCodec,
}

fn main() -> ExitCode {
    end("stream", run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    let rate = options.mbit * 1_000_000 / 8;
    let delay = Duration::from_millis(options.rtt.into()) / 2;
    let leg = Leg { delay, rate: Some(rate), queue: options.queue as usize * 1024 };
    let body = options.megabytes as usize * 1_000_000;
    let way = Way { leg, codec: options.codec, body, calm: Duration::from_secs(3) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        alone.push(runtime.block_on(round(&way, false))?);
        beside.push(runtime.block_on(round(&way, true))?);
    }
    let share = |outcome: &Outcome| Some(body as f64 / outcome.took?.as_secs_f64() / rate as f64);
    let share = Spread::of(beside.iter().filter_map(share)).unwrap_or_default();
    if options.json {
        say(json!({ "name": "stream/download", "share": share.median, "min": share.min, "max": share.max }))?;
    } else {
        let (share, range) = (share.median * 100.0, (share.min * 100.0, share.max * 100.0));
        let (least, most) = range;
        say(format_args!("download: {share:.1} % of {} Mbit/s ({least:.1}-{most:.1})", options.mbit))?;
    }
    let ways = [("alone", &alone), ("beside the download", &beside)];
    for (where_, outcomes) in ways {
        tell(options, "calls", where_, outcomes, |outcome| outcome.calls, Duration::ZERO)?;
        tell(options, "events, above the way's delay", where_, outcomes, |outcome| outcome.events, delay)?;
    }
    let p99 = |outcome: &Outcome| outcome.calls.p99.as_secs_f64();
    let times =
        Spread::of(alone.iter().zip(&beside).map(|(alone, beside)| p99(beside) / p99(alone))).unwrap_or_default();
    if options.json {
        say(json!({ "name": "stream/calls/times", "p99": times.median, "min": times.min, "max": times.max }))
    } else {
        say(format_args!("p99 of calls beside it, by that alone: {:.2} ({})", times.median, times.range(2)))
    }
}

/// Median and 99th percentile of something, in milliseconds beyond `less`: the medians of the rounds, and their range.
fn tell(
    options: &Options,
    what: &str,
    where_: &str,
    outcomes: &[Outcome],
    times: impl Fn(&Outcome) -> Times,
    less: Duration,
) -> Result<()> {
    let ms = |time: Duration| (time.as_secs_f64() - less.as_secs_f64()) * 1e3;
    let spread = |at: fn(Times) -> Duration| {
        Spread::of(outcomes.iter().map(|outcome| ms(at(times(outcome))))).unwrap_or_default()
    };
    let (median, p99) = (spread(|times| times.median), spread(|times| times.p99));
    let count: usize = outcomes.iter().map(|outcome| times(outcome).count).sum();
    if options.json {
        let name =
            format!("stream/{}/{}", what.split(',').next().unwrap_or(what), where_.split(' ').next().unwrap_or(where_));
        return say(json!({
            "name": name, "count": count, "median_ms": median.median, "p99_ms": p99.median, "p99_min": p99.min, "p99_max": p99.max,
        }));
    }
    let (middle, high) = (median.median, p99.median);
    say(format_args!("{what} {where_}: median {middle:.1} ms, p99 {high:.1} ms ({}), {count} of them", p99.range(1)))
}
