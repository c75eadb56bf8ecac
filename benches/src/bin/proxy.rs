//! Proxies between wrk and nginx: httptp alone and as a pair, nginx, haproxy, and an HTTP/2 pair of haproxies.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail, ensure};
use benches::idle::{self, Kind};
use benches::program::{at_least_one, check_only, end, say};
use benches::proxy::hop::{BUILD, Started, missing, origin};
use benches::proxy::report::{CITED, Measured, cited_from, heading};
use benches::proxy::route::{self, BASELINE, Route};
use benches::proxy::{folder, rounds, tied};
use benches::{sibling, system};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Measures proxies as real processes on loopback: wrk with one thread and 64 connections, the proxies of a row, an nginx
/// that answers with 261 bytes of text. Every proxy has one worker or thread. All rows take turns, round by round.
///
/// CPU is microseconds per request, user and system, of the proxies of the row alone. The ratio is to haproxy in the same
/// round; its row always runs beside others. Rows named cited/ were measured on another day and are comparable by their
/// ratio only. Rows named proxy/idle/ are the memory that an idle connection holds in httptp: each was used once, and all
/// have rested for 4 seconds, as a program may do something about those that rest (`scale` does not wait).
///
/// Build it with the httptp that it measures: cargo build --release -p benches -p httpteleport-cli
#[derive(Parser)]
struct Options {
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Only rows whose name begins with this, for instance proxy/httptp or proxy/nginx; several with commas.
    #[arg(long, value_name = "PREFIX", default_value = "", value_delimiter = ',')]
    only: Vec<String>,
    /// Only name the rows.
    #[arg(long)]
    list: bool,
    /// Rounds per row; the median is printed.
    #[arg(long, default_value_t = 3, value_parser = at_least_one::<usize>)]
    rounds: usize,
    /// Milliseconds per round; wrk knows whole seconds, so it is rounded up to them.
    #[arg(long, default_value_t = 4000, value_parser = at_least_one::<u64>)]
    round_ms: u64,
    /// Idle connections of the rows proxy/idle/.
    #[arg(long, default_value_t = 4000, value_parser = at_least_one::<usize>)]
    idle: usize,
    /// The httptp to measure [default: the one beside this program].
    #[arg(long, value_name = "FILE")]
    httptp: Option<PathBuf>,
    /// Another build of httptp, measured in the same rounds as rows proxy/before/...
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
}

fn main() -> ExitCode {
    if let Err(error) = tied::become_another(std::env::args_os()) {
        return end("proxy", Err(error));
    }
    let options = Options::parse();
    end("proxy", run(&options))
}

fn run(options: &Options) -> Result<()> {
    let httptp = options.httptp.clone().unwrap_or_else(|| sibling::beside("httptp"));
    let routes = route::all(&httptp, options.before.as_deref());
    let names = routes.iter().map(|route| route.name.clone()).chain(Kind::ALL.map(|kind| kind.name().to_owned()));
    let names: Vec<String> = names.collect();
    check_only(&options.only, &names)?;
    if options.list {
        let wanted = names.iter().filter(|name| options.wants(name));
        return wanted.into_iter().try_for_each(say);
    }
    let programs: Vec<&Path> = [Some(httptp.as_path()), options.before.as_deref()].into_iter().flatten().collect();
    let missing = missing(&programs);
    ensure!(missing.is_empty(), "cannot run without:\n  {}", missing.join("\n  "));
    if let Some(why) = sibling::stale(&httptp, BUILD).filter(|_| options.httptp.is_none()) {
        eprintln!("proxy: {why}");
    }
    let _files = folder::of_this_run()?; // To be dropped when nothing uses them any more.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure_or_end(options, &httptp, routes))
}

/// Measures until a signal comes: what was started ends when it is dropped, so nothing outlives that.
async fn measure_or_end(options: &Options, httptp: &Path, routes: Vec<Route>) -> Result<()> {
    let handled = "signals cannot be handled";
    let mut interrupt = signal(SignalKind::interrupt()).context(handled)?;
    let mut terminate = signal(SignalKind::terminate()).context(handled)?;
    tokio::select! {
        biased;
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
        done = measure(options, httptp, routes) => done,
    }
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.only.iter().any(|prefix| name.starts_with(prefix))
    }
}

async fn measure(options: &Options, httptp: &Path, mut routes: Vec<Route>) -> Result<()> {
    if routes.iter().any(|route| options.wants(&route.name)) {
        routes.retain(|route| options.wants(&route.name) || route.name == BASELINE);
        traffic(options, &routes).await?;
    }
    let kinds = Kind::ALL.into_iter().filter(|kind| options.wants(kind.name())).collect::<Vec<_>>();
    if kinds.is_empty() { Ok(()) } else { memory(options, httptp, &kinds).await }
}

/// The rows of proxies at work.
async fn traffic(options: &Options, routes: &[Route]) -> Result<()> {
    let origin = origin();
    let address = origin.address.context("the origin has no address")?;
    let started: Vec<_> = routes.iter().map(|route| Started::start(route, address)).collect();
    let rounds = rounds::run(&started, options.rounds, Duration::from_millis(options.round_ms)).await;
    let rounds = rounds.map_err(Error::msg)?;

    let baseline = routes.iter().position(|route| route.name == BASELINE).context("the baseline is missing")?;
    let summed = |(route, own): (&Route, &Vec<_>)| Measured::new(&route.name, own, &rounds[baseline]);
    let mut measured = routes.iter().zip(&rounds).map(summed);
    if options.json {
        measured.try_for_each(|row| say(row.json()))?;
        return CITED.iter().try_for_each(|row| say(row.json()));
    }
    say(heading())?;
    measured.try_for_each(|row| say(row.line()))?;
    CITED.iter().try_for_each(|row| say(row.line()))?;
    say(format_args!("\n{}", cited_from()))
}

/// The rows of connections at rest.
async fn memory(options: &Options, httptp: &Path, kinds: &[Kind]) -> Result<()> {
    // Both ends of every connection are a file, one here and one in a child, which inherits the limit.
    let (needed, allowed) = (options.idle + 1000, system::raise_open_files());
    ensure!(needed <= allowed, "needs {needed} open files, may have {allowed}: raise `ulimit -Hn` or lower --idle");
    for kind in kinds {
        let idle = idle::measure(httptp, *kind, options.idle).await.map_err(Error::msg)?;
        if options.json {
            say(idle.json())?;
        } else {
            let kib = idle.bytes_each / 1024.0;
            say(format_args!("{:<26} {kib:>8.1} KiB for each idle connection", kind.name()))?;
        }
    }
    Ok(())
}
