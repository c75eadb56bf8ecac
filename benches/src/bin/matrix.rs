//! The matrix: what a call costs, rows named after the Go original's benchmarks.

use std::path::PathBuf;
use std::process::ExitCode;

use benches::measure::{Effort, Measured, Subject, interleave, start};
use benches::program::{at_least_one, check_only, end, say};
use benches::progress::Progress;
use benches::report::{Against, Column, Earlier, compare, json_line, table};
use benches::rows::{self, Figure, Row};
use benches::{allocations, go::GoReference, system};
use clap::Parser;

/// Measures what a call costs: 2 connections, N callers spread over both, deadlines, limits and
/// counters on.
///
/// Rows are named CARRIED/SHAPE/VARIANT after the Go original's benchmarks. What is carried:
///   fastrpc       TLV over fastrpc: the value `foobar` there, 261 bytes of text back
///   http          GET /foo/bar over httpteleport in the types of the http crate, made anew for each
///                 call, 261 bytes of text back
///   lazy          the same with httpteleport's lazy heads. A request and a reply are made once and
///                 cloned for each call, as the Go original's benchmarks reuse theirs
/// The shapes, on one thread and through an in-memory pipe:
///   no_delay/N    N callers
///   built/N       lazy alone: no_delay/N with request and reply made anew for each call
///   delay/D       1000 callers, a batch delay of D at the client and of 100 us at the server
///   compress/C    the same with a delay of 1 ms and compression C
///   tls/C         compress/C over TLS
///   pipeline/N    N callers, the server one call of a connection at a time
///   send_nowait   fastrpc alone: fire and forget
///
/// Further rows, by --all or --only:
///   tcp/...       the same over loopback TCP
///   mt/...        the same on a runtime of 2 worker threads (mt/tcp/... over TCP); under taskset
///                 they share its cores
///   fastrpc/framed/C/N, http/framed/C/N
///                 no_delay/N on the framed wire with compression C: no head and the value for
///                 fastrpc, the types of the http crate for http
///   stream/S/C    64 callers of HTTP on the framed wire, replies of S bytes that stream, and
///                 compression C; the text repeats itself, so C has an easy time
///   latency/...   how long calls take: N callers, or open/R: R calls a second whatever became of
///                 those before, each timed from when it was to begin; waiting for that keeps a
///                 worker busy. Their ns are the median. p99.9 is - where a round has fewer than
///                 1000 calls
///   flush/D       how long after a batch delay of D the batch is written
///   floor/...     the same bytes in batches of 100, echoed, one task woken per call: what no
///                 transport can do without when calls come by the hundred. The floors under the
///                 rows that are picked always run
///
/// Rows take turns, round by round, so that what disturbs the machine meets all of them. Columns: ns
/// is the median of the rounds, cpu the time that all threads of both ends ran, out and in the
/// client's bytes on the wire (those of TLS among them), calls/flush how many calls share a write to
/// the wire, there and back. "x floor" is ns by the floor's; "x Go" ns by the Go original's median,
/// and once more with each divided by its floor, as machines differ: below 1 this is quicker.
///
/// Keep it on one core, but for mt/: taskset -c 1. Allocations are counted by `allocations`, which is
/// built with this one by: cargo build --release -p benches
#[derive(Parser)]
#[command(verbatim_doc_comment)]
struct Options {
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Only rows whose name begins with this, for instance fastrpc/no_delay or mt/tcp/http; may be given several times.
    #[arg(long, value_name = "PREFIX")]
    only: Vec<String>,
    /// Every row, not only those that have a counterpart in the Go original.
    #[arg(long)]
    all: bool,
    /// Only name the rows.
    #[arg(long)]
    list: bool,
    /// Rounds per row; the median is printed.
    #[arg(long, default_value_t = 5, value_parser = at_least_one::<usize>)]
    rounds: usize,
    /// Milliseconds per round.
    #[arg(long, default_value_t = 300, value_parser = at_least_one::<u64>)]
    round_ms: u64,
    /// Compare with an earlier run: what --json printed.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Do not count allocations, which takes a run of its own.
    #[arg(long)]
    no_allocs: bool,
}

/// How many times as long as it ran a floor takes where others use the core.
const SHARED: f64 = 1.2;

fn main() -> ExitCode {
    end("matrix", run(&Options::parse()))
}

fn run(options: &Options) -> anyhow::Result<()> {
    check_only(&options.only, &rows::all().into_iter().map(|row| row.name).collect::<Vec<_>>())?;
    let rows = rows::select(&options.only, options.all);
    if options.list {
        return rows.iter().try_for_each(|row| say(&row.name));
    }
    let earlier = options.against.as_deref().map(Earlier::read).transpose()?.unwrap_or_default();
    let mut measured = measure(options, rows)?;
    warn_if_shared(&measured);
    if !options.no_allocs {
        add_allocations(options, &mut measured);
    }
    for (name, ours, theirs) in earlier.floors(&measured) {
        eprintln!(
            "matrix: {name} is {ours:.0} ns now and was {theirs:.0} ns ({:.2} times): compare by floor",
            ours / theirs
        );
    }
    let go = GoReference::load();
    let rows = compare(measured, &go, &earlier);
    if options.json {
        return rows.iter().try_for_each(|(row, compared)| say(json_line(row, compared)));
    }
    say(table(&COLUMNS, &rows).trim_end())?;
    if rows.iter().any(|(_, compared)| compared.go.is_some()) {
        say(format_args!("\nGo ns: the Go original's own benchmarks, medians of {}, {}.", go.date, go.machine))?;
    }
    Ok(())
}

fn measure(options: &Options, rows: Vec<Row>) -> anyhow::Result<Vec<Measured>> {
    let effort = Effort::new(options.rounds, options.round_ms);
    let progress = Progress::new();
    let _ = system::raise_open_files(); // Every row keeps its connections.
    let started = |row: Row| {
        progress.say(&format!("start: {}", row.name));
        let subject = start(&row, effort.round)?;
        Ok((row, subject))
    };
    let mut subjects: Vec<(Row, Box<dyn Subject>)> = rows.into_iter().map(started).collect::<anyhow::Result<_>>()?;
    interleave(&mut subjects, effort.rounds, |round, row| {
        progress.say(&format!("round {} of {}: {}", round + 1, effort.rounds, row.name));
    })
}

/// A floor waits for nothing: if it took longer than it ran, something else ran there.
fn warn_if_shared(measured: &[Measured]) {
    for row in measured.iter().filter(|row| row.figure == Figure::Floor) {
        let (took, ran) = (row.ns.median, row.cpu_ns.map_or(f64::INFINITY, |cpu| cpu.median));
        if took > SHARED * ran {
            eprintln!(
                "matrix: {} took {took:.0} ns and ran {ran:.0} ns of them: others use this core, trust cpu ns",
                row.name
            );
        }
    }
}

/// Without them the rest is worth telling.
fn add_allocations(options: &Options, measured: &mut [Measured]) {
    let mut picking: Vec<_> = options.only.iter().flat_map(|prefix| ["--only".to_owned(), prefix.clone()]).collect();
    picking.extend(options.all.then(|| "--all".to_owned()));
    match allocations::counted(&picking) {
        Ok(counted) => measured.iter_mut().for_each(|row| row.allocs = counted.get(&row.name).copied()),
        Err(error) => eprintln!("matrix: no allocations are told: {error:#}"),
    }
}

const COLUMNS: [Column; 18] = [
    Column::new("ns", |row, _| Some(format!("{:.0}", row.ns.median))),
    Column::new("min-max", |row, _| Some(row.ns.range(0))),
    Column::new("p99", |row, _| row.tail.map(|tail| format!("{:.0}", tail.p99))),
    Column::new("p99.9", |row, _| {
        let p999 = |p999: Option<f64>| p999.map_or_else(|| "-".to_owned(), |ns| format!("{ns:.0}"));
        row.tail.map(|tail| p999(tail.p999))
    }),
    Column::new("early", |row, _| row.tail.filter(|tail| tail.early > 0).map(|tail| tail.early.to_string())),
    Column::new("calls/s", |row, _| row.rate.map(|rate| format!("{rate:.0}"))),
    Column::new("MB/s", |row, _| row.body.map(|bytes| format!("{:.0}", bytes as f64 / row.ns.median * 1e3))),
    Column::new("cpu ns", |row, _| row.cpu_ns.map(|cpu| format!("{:.0}", cpu.median))),
    Column::new("allocs", |row, _| row.allocs.map(|allocs| format!("{allocs:.2}"))),
    Column::new("out", |row, _| row.traffic.map(|of| format!("{:.1}", of.bytes_out))),
    Column::new("in", |row, _| row.traffic.map(|of| format!("{:.1}", of.bytes_in))),
    Column::new("calls/flush", |row, _| {
        let per_flush = |flushes: f64| if flushes > 0.0 { format!("{:.0}", 1.0 / flushes) } else { "-".to_owned() };
        row.traffic.map(|of| format!("{}/{}", per_flush(of.batches_out), per_flush(of.batches_in)))
    }),
    Column::new("x floor", |_, compared| compared.times_floor.map(|times| format!("{times:.1}"))),
    Column::new("Go ns", |_, compared| compared.go.map(|go| format!("{:.0}", go.ns))),
    Column::new("x Go", |_, compared| compared.go.map(|go| format!("{:.2}", go.times))),
    Column::new("by floor", |_, compared| by_floor(compared.go)),
    Column::new("x earlier", |_, compared| compared.earlier.map(|earlier| format!("{:.2}", earlier.times))),
    Column::new("by floor", |_, compared| by_floor(compared.earlier)),
];

fn by_floor(against: Option<Against>) -> Option<String> {
    against?.by_floor.map(|times| format!("{times:.2}"))
}
