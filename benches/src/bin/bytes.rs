//! What traffic costs, by the way it travels: bytes on the wire and CPU of both ends.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use benches::cost::measure::measure;
use benches::cost::sample::Sample;
use benches::cost::tcp::Tcp;
use benches::cost::{recorded, table, ways};
use benches::measure::Effort;
use benches::program::{at_least_one, check_only, end, say};
use clap::Parser;
use httpteleport_cli::traffic::Shape;

/// What traffic costs, by the way it travels: bytes on the wire with TCP/IP, and CPU of both ends.
///
/// Generated traffic of four shapes (rtb, rest, rpc, chat), or recordings, goes through real clients and servers over an
/// in-memory connection that counts: HTTP/1.1, HTTP/2, both also with gzipped bodies, and teleported on the classic and on the
/// framed wire with each compression, with 1 to 64 messages a flush. Nothing is sent over a network.
#[derive(Parser)]
#[command(name = "bytes", after_long_help = table::notes(Tcp::WITH_TIMESTAMPS).join("\n\n"))]
struct Options {
    /// Print one JSON object a line instead of tables.
    #[arg(long)]
    json: bool,
    /// Only rows whose name begins with this, for instance bytes/rtb or bytes/chat/flate/16.
    ///
    /// Names are bytes/SAMPLE/WAY/MESSAGES; ways are http1, http1_gzip, http2, http2_gzip, the compressions
    /// of the classic wire, and framed_ with those of the framed one.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    only: String,
    /// Only name the rows.
    #[arg(long)]
    list: bool,
    /// Rounds per row; the median is printed.
    #[arg(long, default_value_t = 5, value_parser = at_least_one::<usize>)]
    rounds: usize,
    /// Milliseconds of CPU per round, at least: a round is as many whole passes over the sample as that takes.
    #[arg(long, default_value_t = 60, value_parser = at_least_one::<u64>)]
    round_ms: u64,
    /// Size of a sample in MiB of HTTP/1.1 text, requests and replies.
    #[arg(long, value_name = "MIB", default_value_t = 4, value_parser = at_most_a_gib)]
    mib: usize,
    /// Recorded traffic instead of generated: NAME.req.zst (NAME.resp.zst is beside it), or a folder of such pairs.
    ///
    /// A file is a zstd stream of records, u32le head length, u32le body length, head, body. The head is HTTP/1.1 text;
    /// record k of the one file is answered by record k of the other. Event streams, whose replies come in many records,
    /// are refused.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    file: Vec<PathBuf>,
    /// Count segments without TCP timestamps: 1460 bytes and 40 of headers instead of 1448 and 52.
    #[arg(long)]
    no_timestamps: bool,
}

/// A sample is held in memory several times over.
fn at_most_a_gib(text: &str) -> Result<usize, String> {
    at_least_one(text).ok().filter(|mib| *mib <= 1024).ok_or_else(|| "give a number from 1 to 1024".to_owned())
}

fn main() -> ExitCode {
    end("bytes", run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    let sources = sources(options)?;
    let names = sources.iter().flat_map(|source| ways::rows(source.name())).map(|row| row.name);
    let names: Vec<String> = names.collect();
    check_only([&options.only], &names)?;
    if options.list {
        return names.iter().filter(|name| name.starts_with(&options.only)).try_for_each(say);
    }
    let tcp = if options.no_timestamps { Tcp::PLAIN } else { Tcp::WITH_TIMESTAMPS };
    let effort = Effort::new(options.rounds, options.round_ms);
    let mut printed = 0;
    for source in sources {
        let rows = wanted(&source, &options.only);
        if rows.is_empty() {
            continue;
        }
        let Some(sample) = source.sample(options.mib << 20)? else {
            eprintln!(
                "bytes: {}: refused, it is a recording of event streams: their chunks are interleaved and do not say which \
                 reply they continue, and whole messages are what is compared here",
                source.name()
            );
            continue;
        };
        let mut measured = measure(&sample, &rows, tcp, effort)?;
        measured.retain(|row| row.row.name.starts_with(&options.only));
        printed += measured.len();
        if options.json {
            measured.iter().try_for_each(|row| say(row.json()))?;
        } else {
            say(table::table(&sample, &measured))?;
        }
    }
    ensure!(
        printed > 0,
        "nothing is left to compare: give recordings of whole messages, or none for generated traffic"
    );
    if options.json { Ok(()) } else { say(table::footnotes(tcp)) }
}

/// Where a sample comes from.
enum Source {
    Generated(Shape),
    Recorded(recorded::Recording),
}

impl Source {
    fn name(&self) -> &str {
        match self {
            Self::Generated(shape) => shape.name(),
            Self::Recorded(recording) => recording.name(),
        }
    }

    fn sample(&self, bytes: usize) -> Result<Option<Sample>> {
        match self {
            Self::Generated(shape) => Ok(Some(Sample::generated(*shape, bytes))),
            Self::Recorded(recording) => recording.read(bytes),
        }
    }
}

fn sources(options: &Options) -> Result<Vec<Source>> {
    if options.file.is_empty() {
        return Ok(Shape::ALL.map(Source::Generated).into());
    }
    Ok(recorded::find(&options.file)?.into_iter().map(Source::Recorded).collect())
}

/// The rows asked for, and before them the one that they are compared with.
fn wanted(source: &Source, only: &str) -> Vec<ways::Row> {
    let rows = ways::rows(source.name());
    let any = rows.iter().any(|row| row.name.starts_with(only));
    let keep = |(index, row): &(usize, ways::Row)| any && (*index == 0 || row.name.starts_with(only));
    rows.into_iter().enumerate().filter(keep).map(|(_, row)| row).collect()
}
