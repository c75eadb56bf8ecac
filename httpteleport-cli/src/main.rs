//! `httptp`: HTTP between servers, teleported. See `httptp --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    httpteleport_cli::run(std::env::args_os())
}
