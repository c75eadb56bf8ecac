//! What a call costs as work grows.

use std::process::ExitCode;

use anyhow::Context as _;
use benches::measure::{Effort, Measured, Subject, interleave};
use benches::progress::Progress;
use benches::report::{Column, Compared, json_line, table};
use benches::scale::rows::{ScaleRow, groups, select};
use benches::scale::{server, worker};
use benches::system;
use clap::Parser;

/// Measures what a call over loopback TCP costs as work grows.
///
/// Rows are named scale/GROWING/SIZE/CARRIED:
///   callers      all calling all the time over 2 connections, on one thread
///   pool         connections of the pool, with 1000 callers
///   cores        worker threads of one process with both ends: 1 is a multi-thread runtime with one
///                worker, not the one-thread runtime of other rows. And `apart`: two processes of
///                one thread, each on its core
///   body         bytes of a body that is echoed, 2 callers. fastrpc ends at 1 MiB, which is the
///                most that a value of TLV may have
///   connections  clients with one connection each, and one caller on each. Those that end in
///                `apart` have a process for each end, so two cores if they are there
///
/// Each row has a process to itself. Rows of a group take turns, round by round. Columns: ns is the
/// median of the rounds, cpu the time that all threads of both ends ran, ns/byte per byte of body
/// there and back; peak is the most memory resident.
///
/// idle and active are what each connection holds of the resident memory, both ends: idle when all
/// are open, right after each one's first call; active right after the last round of calls. (An idle
/// connection of `proxy` has rested for 4 seconds.)
///
/// A row that cannot run here is said on stderr, and with --json in its place: {"name", "skipped"}.
/// If none can, that is a failure.
#[derive(Parser)]
#[command(verbatim_doc_comment)]
struct Options {
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Only rows whose name begins with this, for instance scale/body; may be given several times.
    #[arg(long, value_name = "PREFIX")]
    only: Vec<String>,
    /// Only name the rows.
    #[arg(long)]
    list: bool,
    /// Rounds per row; the median is printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Milliseconds per round, at the least: each caller makes some calls.
    #[arg(long, default_value_t = 200)]
    round_ms: u64,
    /// Be the process of this row.
    #[arg(long, hide = true)]
    work: Option<String>,
    /// Be the server of this row.
    #[arg(long, hide = true)]
    serve: Option<String>,
    /// The core to serve on.
    #[arg(long, hide = true)]
    core: Option<usize>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("scale: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every row that was to run did.
fn run(options: &Options) -> anyhow::Result<bool> {
    let files = system::raise_open_files();
    let effort = Effort::new(options.rounds, options.round_ms);
    if let Some(name) = &options.serve {
        options.core.map(system::pin).transpose().context("keeping the server on its core")?;
        return server::serve(&named(name)?).map(|()| true);
    }
    if let Some(name) = &options.work {
        return worker::work(&named(name)?, effort.round).map(|()| true);
    }
    let groups = select(&options.only);
    anyhow::ensure!(!groups.is_empty(), "no row begins with {:?}: --list names them", options.only);
    if options.list {
        groups.iter().flatten().for_each(|scale| println!("{}", scale.row.name));
        return Ok(true);
    }
    let mut all_well = true;
    for group in groups {
        match measure(able(group, files), effort) {
            Ok(measured) => print(options, measured),
            Err(error) => {
                eprintln!("scale: {error:#}");
                all_well = false;
            }
        }
    }
    Ok(all_well)
}

fn named(name: &str) -> anyhow::Result<ScaleRow> {
    groups().into_iter().flatten().find(|scale| scale.row.name == name).with_context(|| format!("no row {name}"))
}

/// Those that can run here; of the others it is told why they cannot.
fn able(group: Vec<ScaleRow>, files: usize) -> Vec<ScaleRow> {
    let cores = system::cores().len();
    let able = |scale: &ScaleRow| {
        let unmet = scale.unmet(files, cores);
        if let Some(why) = &unmet {
            eprintln!("scale: not run: {} {why}", scale.row.name);
        }
        unmet.is_none()
    };
    group.into_iter().filter(able).collect()
}

fn measure(group: Vec<ScaleRow>, effort: Effort) -> anyhow::Result<Vec<Measured>> {
    let progress = Progress::new();
    let mut subjects: Vec<(_, Box<dyn Subject>)> = Vec::new();
    for scale in group {
        progress.say(&format!("start: {}", scale.row.name));
        let mut worker = worker::Worker::start(&scale, effort.round)?;
        worker.ready().with_context(|| scale.row.name.clone())?; // One at a time: each finds out how much fills a round.
        subjects.push((scale.row, Box::new(worker)));
    }
    interleave(&mut subjects, effort.rounds, |round, row| {
        progress.say(&format!("round {} of {}: {}", round + 1, effort.rounds, row.name));
    })
}

fn print(options: &Options, measured: Vec<Measured>) {
    let rows: Vec<_> = measured.into_iter().map(|row| (row, Compared::default())).collect();
    if options.json {
        rows.iter().for_each(|(row, compared)| println!("{}", json_line(row, compared)));
    } else if !rows.is_empty() {
        println!("{}", table(&COLUMNS, &rows));
    }
}

const COLUMNS: [Column; 8] = [
    Column::new("ns", |row, _| Some(format!("{:.0}", row.ns.median))),
    Column::new("min-max", |row, _| Some(format!("{:.0}-{:.0}", row.ns.min, row.ns.max))),
    Column::new("cpu ns", |row, _| row.cpu_ns.map(|cpu| format!("{:.0}", cpu.median))),
    Column::new("ns/byte", |row, _| row.body.map(|bytes| format!("{:.3}", row.ns.median / bytes as f64))),
    Column::new("calls/flush", |row, _| {
        row.traffic.map(|of| format!("{:.0}/{:.0}", 1.0 / of.batches_out, 1.0 / of.batches_in))
    }),
    Column::new("idle", |row, _| row.memory.and_then(|of| of.each).map(|each| kib(each.idle))),
    Column::new("active", |row, _| row.memory.and_then(|of| of.each).map(|each| kib(each.active))),
    Column::new("peak", |row, _| row.memory.map(|of| format!("{:.0} MiB", of.peak / 1024.0 / 1024.0))),
];

fn kib(bytes: f64) -> String {
    format!("{:.1} KiB", bytes / 1024.0)
}
