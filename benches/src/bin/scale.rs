//! What a call costs as work grows.

use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use benches::measure::{Effort, Measured, Subject, interleave};
use benches::program::{at_least_one, check_only, end, say};
use benches::progress::Progress;
use benches::report::{Column, Compared, json_line, table};
use benches::scale::rows::{ScaleRow, groups, select};
use benches::scale::{server, worker};
use benches::system;
use clap::Parser;
use serde_json::json;

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
    #[arg(long, default_value_t = 3, value_parser = at_least_one::<usize>)]
    rounds: usize,
    /// Milliseconds per round, at the least: each caller makes some calls.
    #[arg(long, default_value_t = 200, value_parser = at_least_one::<u64>)]
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
    end("scale", run(&Options::parse()))
}

fn run(options: &Options) -> anyhow::Result<()> {
    let files = system::raise_open_files();
    let effort = Effort::new(options.rounds, options.round_ms);
    if let Some(name) = &options.serve {
        options.core.map(system::pin).transpose().context("keeping the server on its core")?;
        return server::serve(&named(name)?);
    }
    if let Some(name) = &options.work {
        return worker::work(&named(name)?, effort.round);
    }
    check_only(&options.only, &groups().into_iter().flatten().map(|scale| scale.row.name).collect::<Vec<_>>())?;
    let groups = select(&options.only);
    if options.list {
        return groups.iter().flatten().try_for_each(|scale| say(&scale.row.name));
    }
    let (mut measured, mut all_well) = (0, true);
    for group in groups {
        match measure(able(options, group, files)?, effort) {
            Ok(rows) => {
                measured += rows.len();
                print(options, rows)?;
            }
            Err(error) => {
                eprintln!("scale: {error:#}");
                all_well = false;
            }
        }
    }
    ensure!(all_well, "not every row that was to run did");
    ensure!(measured > 0, "nothing was measured: no row that was asked for can run here");
    Ok(())
}

fn named(name: &str) -> anyhow::Result<ScaleRow> {
    groups().into_iter().flatten().find(|scale| scale.row.name == name).with_context(|| format!("no row {name}"))
}

/// Those that can run here; of the others it is told why they cannot.
fn able(options: &Options, group: Vec<ScaleRow>, files: usize) -> anyhow::Result<Vec<ScaleRow>> {
    let cores = system::cores().len();
    let mut able = Vec::new();
    for scale in group {
        let Some(why) = scale.unmet(files, cores) else {
            able.push(scale);
            continue;
        };
        eprintln!("scale: not run: {} {why}", scale.row.name);
        if options.json {
            say(json!({"name": scale.row.name, "skipped": why}))?;
        }
    }
    Ok(able)
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

fn print(options: &Options, measured: Vec<Measured>) -> anyhow::Result<()> {
    let rows: Vec<_> = measured.into_iter().map(|row| (row, Compared::default())).collect();
    if options.json {
        return rows.iter().try_for_each(|(row, compared)| say(json_line(row, compared)));
    }
    if rows.is_empty() { Ok(()) } else { say(table(&COLUMNS, &rows)) }
}

const COLUMNS: [Column; 8] = [
    Column::new("ns", |row, _| Some(format!("{:.0}", row.ns.median))),
    Column::new("min-max", |row, _| Some(row.ns.range(0))),
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
