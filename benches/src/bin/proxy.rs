//! Proxies between wrk and nginx: httptp alone and as a pair, nginx, haproxy, and an HTTP/2 pair of haproxies.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use benches::proxy::hop::{Started, missing, origin};
use benches::proxy::report::{CITED, HEADING, Measured};
use benches::proxy::rounds;
use benches::proxy::route::{self, BASELINE};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Measures proxies as real processes on loopback: wrk with one thread and 64 connections, the proxies of a row, an nginx
/// that answers with 261 bytes of text. Every proxy has one worker or thread. All rows take turns, round by round.
///
/// CPU is microseconds per request, user and system, of the proxies of the row alone. The ratio is to haproxy in the same
/// round; its row always runs. Rows named cited/ were measured on another day and are comparable by their ratio only.
#[derive(Parser)]
struct Options {
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Only rows whose name begins with this, for instance proxy/httptp or proxy/nginx.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    only: String,
    /// Rounds per row; the median is printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Milliseconds per round; wrk knows whole seconds, so it is rounded up to them.
    #[arg(long, default_value_t = 4000)]
    round_ms: u64,
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
    if !routes.iter().any(|route| route.name.starts_with(&options.only)) {
        return Err(format!("no row begins with {:?}; rows begin with proxy/", options.only));
    }
    routes.retain(|route| route.name.starts_with(&options.only) || route.name == BASELINE);

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

/// Cargo puts the binaries of one profile into one folder.
fn beside_this_program() -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name("httptp")
}
