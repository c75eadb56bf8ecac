//! The lines of the start: what runs, and why it does not.

use std::ffi::OsString;
use std::io::{self, Write as _};

use tracing::Level;

use crate::cli;
use crate::config::Process;
use crate::log::{Format, json_line};

/// Says a line of a start that went well: on stdout, or where that is the access log on stderr, where it looks like the log there.
pub(crate) fn say(process: &Process, line: &str) {
    let taken = process.access_log.as_ref().is_some_and(crate::access_log::Options::is_stdout);
    // Nobody may be reading, which is no reason to stop.
    let _ = match process.log.format {
        _ if !taken => writeln!(io::stdout(), "httptp: {line}"),
        Format::Text => writeln!(io::stderr(), "httptp: {line}"),
        Format::Json => writeln!(io::stderr(), "{}", json_line(Level::INFO, line)),
    };
}

/// Says on stderr why nothing runs, in the form that these arguments ask for in a log.
pub(crate) fn complain(lines: &[String], args: &[OsString]) {
    tell(lines, args, "", Level::ERROR);
}

/// Says on stderr what keeps nothing from running, likewise.
pub(crate) fn warn(lines: &[String], args: &[OsString]) {
    tell(lines, args, "warning: ", Level::WARN);
}

fn tell(lines: &[String], args: &[OsString], what: &str, level: Level) {
    let format = cli::log_format(args);
    for line in lines {
        match format {
            Format::Text => eprintln!("httptp: {what}{line}"),
            Format::Json => eprintln!("{}", json_line(level, line)),
        }
    }
}
