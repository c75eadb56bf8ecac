//! The command line: options, their help, and how a bad one is refused.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, value_parser};
use http::HeaderName;

use crate::config::Settings;
use crate::estimate::EstimateArgs;
use crate::go_flags::{self, Spelt, Translated};

mod group;
mod listener;
mod process;

pub(crate) use group::GroupArgs;
pub(crate) use listener::ListenerArgs;
pub(crate) use process::{ProcessArgs, TeleportArgs};

const ABOUT: &str = "\
HTTP between servers, teleported: many requests share one batched, compressed connection.

One httptp near the clients takes HTTP in and sends it over a teleport connection; another one near
the servers takes it out again. Clients and servers do not change.";

const AFTER_HELP: &str = "\
URLs:
  http://HOST:PORT       HTTP; --in http://:80 listens on every IPv4 address
  https://HOST:PORT      HTTP over TLS
  unix:PATH              HTTP over a unix socket
  teleport://HOST:PORT   teleport
  teleports://HOST:PORT  teleport over TLS

Inputs speak HTTP/1.1 and HTTP/2 (over TLS by ALPN, else with prior knowledge), outputs HTTP/1.1.

The flags of Go's httptp, such as -inType=teleport -in=:8345, mean here what they mean there.

Times are written 300ms, 1.5s, 1m30s, 100us. Port 0 in --in takes a free port; the line printed at
the start names it.

Examples:
  httptp --in http://127.0.0.1:8080 --out teleport://10.0.0.2:9876   near the clients
  httptp --in teleport://:9876 --out http://127.0.0.1:80             near the servers
  httptp --in http://:80 --out http://node1:8080,http://node2:8080   a plain load balancer";

/// What the command line asks for.
pub(crate) enum Action {
    /// Run the proxy.
    Proxy(Box<Settings>),
    /// Show what teleporting saves.
    Demo(DemoArgs),
    /// Tell what recorded traffic would cost.
    Estimate(EstimateArgs),
}

/// Why there is nothing to do.
pub(crate) enum Stop {
    /// One line that names the option and says what to do.
    Usage(String),
    /// Help, the version, or an error that clap words best (unknown options, with its guess at what was meant).
    Clap(clap::Error),
}

/// The command line as clap reads it.
#[derive(Parser)]
#[command(
    name = "httptp",
    version,
    about = ABOUT,
    after_help = AFTER_HELP,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    override_usage = "httptp --in URL --out URL[,URL...] [OPTIONS]\n       httptp demo [--seconds N] [--keep]\n       \
                      httptp estimate FILE..."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    proxy: ProxyArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Run realistic traffic through two nodes on this machine and show what it saves
    Demo(DemoArgs),
    /// Tell what recorded traffic (HAR, or NAME.req.zst) would cost as HTTP and teleported
    Estimate(EstimateArgs),
}

/// Options of `httptp demo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DemoArgs {
    /// How long to run, in seconds, 1 to 3600
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// Keep serving afterwards, and print a curl command to try
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Options of the proxy, as typed; [`Settings`] is what they mean together.
#[derive(Args, Debug)]
pub(crate) struct ProxyArgs {
    #[command(flatten)]
    pub(crate) listener: ListenerArgs,
    #[command(flatten)]
    pub(crate) group: GroupArgs,
    #[command(flatten)]
    pub(crate) teleport: TeleportArgs,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
}

/// Names a header.
fn header(name: &str) -> Result<HeaderName, &'static str> {
    name.parse().map_err(|_| "is no name of a header; write for example X-Tenant")
}

/// Reads and checks the command line, in our words or in those of Go's httptp.
///
/// # Errors
///
/// [`Stop`] when there is nothing to run.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Action, Stop> {
    let Translated { args, spelt } = go_flags::translate(args).map_err(Stop::Usage)?;
    read(args).map_err(|stop| match stop {
        Stop::Usage(line) => Stop::Usage(as_typed(line, &spelt)),
        other @ Stop::Clap(_) => other,
    })
}

fn read(args: Vec<OsString>) -> Result<Action, Stop> {
    let cli = Cli::try_parse_from(args).map_err(refuse)?;
    match cli.command {
        Some(Command::Demo(options)) => Ok(Action::Demo(options)),
        Some(Command::Estimate(options)) => Ok(Action::Estimate(options)),
        None => Settings::check(cli.proxy).map(|settings| Action::Proxy(Box::new(settings))).map_err(Stop::Usage),
    }
}

/// Whoever has typed a flag of Go's is told of that one.
fn as_typed(line: String, spelt: &[Spelt]) -> String {
    let option = line.split([' ', ':']).next().unwrap_or_default();
    match spelt.iter().find(|(ours, _)| *ours == option) {
        Some((ours, typed)) => line.replacen(ours, typed, 1),
        None => line,
    }
}

/// Says a bad value in one line, like every other error of this program; the rest is clap's.
fn refuse(error: clap::Error) -> Stop {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let (Some(option), Some(value)) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue)) else {
        return Stop::Clap(error);
    };
    // "--out <URL[,URL...]>" without what follows the name.
    let option = option.split(' ').next().unwrap_or(option);
    if error.kind() != ErrorKind::ValueValidation {
        return Stop::Clap(error);
    }
    let why = std::error::Error::source(&error).map_or_else(|| "not valid".to_owned(), ToString::to_string);
    Stop::Usage(format!("{option} {}: {why}", without_password(value)))
}

/// A URL typed with a password must not end in a log.
fn without_password(value: &str) -> String {
    match (value.find("://"), value.rfind('@')) {
        (Some(start), Some(end)) if start < end => format!("{}***{}", &value[..start + 3], &value[end..]),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn only_help_and_version_have_short_options() {
        let mut command = Cli::command();
        command.build();
        let short: String = command.get_arguments().filter_map(clap::Arg::get_short).collect();
        assert_eq!(short, "hV");
    }

    #[test]
    fn hides_passwords() {
        assert_eq!(without_password("http://me:secret@h:1"), "http://***@h:1");
        assert_eq!(without_password("1@2"), "1@2");
    }
}
