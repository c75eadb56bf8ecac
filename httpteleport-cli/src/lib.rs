//! What the program `httptp` is made of.
//!
//! This library exists so that `main.rs` stays thin and benches can share [`traffic`], [`cost`] and [`plot`]. It is not an
//! interface to build on: it changes with the program. Programs that want HTTP over teleport use the `httpteleport` crate.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::misfit::Misfit;
use crate::signals::Asked;

mod access;
mod access_log;
mod acme;
mod admin;
mod announced;
mod balance;
mod body;
mod cert;
mod check;
mod cli;
mod clients;
mod compress;
mod config;
mod count;
mod counters;
mod demo;
mod discover;
mod duration;
mod endpoint;
mod ends;
mod estimate;
mod fetch;
mod figures;
mod files;
mod forwarded;
mod go_flags;
mod groups;
mod grpc;
mod handover;
mod headers;
mod health;
mod host;
mod inbound;
mod interims;
mod io;
mod listen;
mod listening;
mod log;
mod meant;
mod metrics;
mod misfit;
mod notify;
mod open_files;
mod outbound;
mod overlap;
mod proxy;
mod refusal;
mod reload;
mod request;
mod retry;
mod router;
mod running;
mod said;
mod seldom;
mod shutdown;
mod signals;
mod size;
mod spans;
mod spelling;
mod start;
mod threads;
mod timer;
mod tls;
mod trace_context;
mod trailers;
mod unserved;
mod waits;
mod websocket;

pub use demo::traffic;
pub use estimate::{cost, plot, progress};
pub use figures::folded;

/// Bad options or arguments, or files named by them that are not what they should be.
const USAGE: u8 = 2;
/// The options were fine, starting was not.
const FAILED: u8 = 1;

/// Runs the program with the arguments given (the first is its own name) until it is done.
///
/// Exit codes: 0 after a clean end, 1 when it could not start, 2 for bad options and for files that are not what options say.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<_> = args.into_iter().collect();
    // Before anything takes time: who asks a process for something means no end to it.
    let asked = cli::serves(&args).then(Asked::take);
    let told = args.clone();
    let finish = |result| finish(result, &told);
    match cli::parse(args) {
        Ok(cli::Action::Proxy(settings, file)) => {
            finish(asked.unwrap_or_else(Asked::take).and_then(|asked| start::proxy(*settings, file, asked)))
        }
        Ok(cli::Action::Check(checked)) => match check::run(&checked) {
            Ok((settings, warnings)) => {
                announced::warn(&warnings, &told);
                // Nobody may be reading, and the exit code says it as well.
                let _ =
                    writeln!(std::io::stdout(), "{}: is fine: {}", checked.config.path.display(), settings.summary());
                ExitCode::SUCCESS
            }
            Err(lines) => complain(&lines, &told, USAGE),
        },
        Ok(cli::Action::Cert(options)) => finish(cert::run(&options)),
        Ok(cli::Action::Demo(options)) => {
            finish(asked.unwrap_or_else(Asked::take).and_then(|asked| demo::run(&options, asked)))
        }
        Ok(cli::Action::Estimate(options)) => finish(estimate::run(&options)),
        Ok(cli::Action::Print(text)) => finish(std::io::stdout().write_all(&text).context("cannot print")),
        Err(cli::Stop::Usage(lines)) => complain(&lines, &told, USAGE),
        Err(cli::Stop::Clap(error)) => {
            // Help and version arrive here too; a closed stdout is no reason to fail.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
        }
    }
}

fn finish(result: anyhow::Result<()>, args: &[OsString]) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let lines: Vec<_> = format!("{error:#}").lines().map(str::to_owned).collect();
            complain(&lines, args, if error.is::<Misfit>() { USAGE } else { FAILED })
        }
    }
}

fn complain(lines: &[String], args: &[OsString], code: u8) -> ExitCode {
    announced::complain(lines, args);
    ExitCode::from(code)
}
