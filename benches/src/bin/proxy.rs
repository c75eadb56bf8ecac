//! Proxies between wrk and nginx: httptp alone and as a pair, nginx, haproxy, and an HTTP/2 pair of haproxies.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use benches::idle::{self, Kind};
use benches::proxy::hop::{Started, missing, origin};
use benches::proxy::report::{CITED, HEADING, Measured};
use benches::proxy::rounds;
use benches::proxy::route::{self, BASELINE, Route};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// Measures proxies as real processes on loopback: wrk with one thread and 64 connections, the proxies of a row, an nginx
/// that answers with 261 bytes of text. Every proxy has one worker or thread. All rows take turns, round by round.
///
/// CPU is microseconds per request, user and system, of the proxies of the row alone. The ratio is to haproxy in the same
/// round; its row always runs beside others. Rows named cited/ were measured on another day and are comparable by their
/// ratio only. Rows named proxy/idle/ are the memory that an idle connection holds in httptp.
#[derive(Parser)]
struct Options {
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Only rows whose name begins with this, for instance proxy/httptp or proxy/nginx; several with commas.
    #[arg(long, value_name = "PREFIX", default_value = "", value_delimiter = ',')]
    only: Vec<String>,
    /// Rounds per row; the median is printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Milliseconds per round; wrk knows whole seconds, so it is rounded up to them.
    #[arg(long, default_value_t = 4000)]
    round_ms: u64,
    /// Idle connections of the rows proxy/idle/.
    #[arg(long, default_value_t = 4000)]
    idle: usize,
    /// The httptp to measure [default: the one beside this program].
    #[arg(long, value_name = "FILE")]
    httptp: Option<PathBuf>,
    /// Another build of httptp, measured in the same rounds as rows proxy/before/...
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    // Before anything is started, so that nothing outlives a signal: what was started ends when it is dropped.
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return complain("cannot handle signals");
    };
    tokio::select! {
        biased;
        _ = interrupt.recv() => complain("interrupted"),
        _ = terminate.recv() => complain("terminated"),
        done = measure(&options) => match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => complain(&why),
        },
    }
}

fn complain(why: &str) -> ExitCode {
    eprintln!("proxy: {why}");
    ExitCode::FAILURE
}

async fn measure(options: &Options) -> Result<(), String> {
    let httptp = options.httptp.clone().unwrap_or_else(beside_this_program);
    let programs: Vec<&Path> = [Some(httptp.as_path()), options.before.as_deref()].into_iter().flatten().collect();
    let missing = missing(&programs);
    if !missing.is_empty() {
        return Err(format!("not installed:\n  {}", missing.join("\n  ")));
    }
    let mut routes = route::all(&httptp, options.before.as_deref());
    for prefix in &options.only {
        let names = routes.iter().map(|route| route.name.as_str()).chain(Kind::ALL.map(Kind::name));
        if !names.into_iter().any(|name| name.starts_with(prefix)) {
            return Err(format!("--only {prefix}: no row begins so; the rows begin with proxy/"));
        }
    }
    let wanted = |name: &str| options.only.iter().any(|prefix| name.starts_with(prefix));
    if routes.iter().any(|route| wanted(&route.name)) {
        routes.retain(|route| wanted(&route.name) || route.name == BASELINE);
        traffic(options, &routes).await?;
    }
    let kinds = Kind::ALL.into_iter().filter(|kind| wanted(kind.name()));
    memory(options, &httptp, kinds).await
}

/// The rows of proxies at work.
async fn traffic(options: &Options, routes: &[Route]) -> Result<(), String> {
    let origin = origin();
    let address = origin.address.ok_or("the origin has no address")?;
    let started: Vec<_> = routes.iter().map(|route| Started::start(route, address)).collect();
    let rounds = rounds::run(&started, options.rounds.max(1), Duration::from_millis(options.round_ms.max(1))).await?;

    let baseline = routes.iter().position(|route| route.name == BASELINE).ok_or("the baseline is missing")?;
    let measured = routes.iter().zip(&rounds).map(|(route, own)| Measured::new(&route.name, own, &rounds[baseline]));
    if options.json {
        measured.for_each(|row| println!("{}", row.json()));
        CITED.iter().for_each(|row| println!("{}", row.json()));
    } else {
        println!("{HEADING}");
        measured.for_each(|row| println!("{}", row.line()));
        CITED.iter().for_each(|row| println!("{}", row.line()));
    }
    Ok(())
}

/// The rows of connections at rest.
async fn memory(options: &Options, httptp: &Path, kinds: impl Iterator<Item = Kind>) -> Result<(), String> {
    allow_open_files(options.idle + 1000)?;
    for kind in kinds {
        let idle = idle::measure(httptp, kind, options.idle.max(1)).await?;
        if options.json {
            println!("{}", idle.json());
        } else {
            println!("{:<26} {:>8.1} KiB for each idle connection", kind.name(), idle.bytes_each / 1024.0);
        }
    }
    Ok(())
}

/// Both ends of every connection are a file, one here and one in a child, which inherits the limit.
fn allow_open_files(needed: usize) -> Result<(), String> {
    let needed = needed as u64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum: limit.maximum })
        .map_err(|error| format!("needs {needed} open files: {error}; raise `ulimit -Hn` or lower --idle"))
}

/// Cargo puts the binaries of one profile into one folder.
fn beside_this_program() -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name("httptp")
}
