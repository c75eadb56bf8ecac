//! The command line: options, their help, and how a bad one is refused.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, value_parser};

use http::HeaderName;
use httpteleport::Wire;

use crate::compress::{Compress, wire};
use crate::config::Settings;
use crate::duration;
use crate::endpoint::Endpoint;
use crate::estimate::EstimateArgs;

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
    /// Where to accept requests
    #[arg(
        long = "in", value_name = "URL", help_heading = "Input",
        default_value = "http://127.0.0.1:8080", value_parser = Endpoint::parse
    )]
    pub(crate) input: Endpoint,

    /// Certificate chain of an https or teleports input, PEM
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(crate) in_tls_cert: Option<PathBuf>,

    /// Private key of that certificate, PEM
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(crate) in_tls_key: Option<PathBuf>,

    /// Largest head of a request; a larger one is answered 431
    #[arg(
        long, value_name = "BYTES", help_heading = "Input",
        default_value_t = 4096, value_parser = value_parser!(u32).range(256..=1_048_576)
    )]
    pub(crate) in_max_header_size: u32,

    /// Largest body of a request, up to 1 TiB; a larger one is answered 413, or broken off if a reply has begun
    #[arg(
        long, value_name = "BYTES", help_heading = "Input",
        default_value_t = 4_194_304, value_parser = value_parser!(u64).range(0..=1 << 40)
    )]
    pub(crate) in_max_body_size: u64,

    /// Teleport: compress replies with zstd, zstd-small, zstd-max, lz4 or none; on the classic wire with flate, snappy or none
    /// [default: zstd, flate]
    #[arg(long, value_name = "HOW", help_heading = "Input", value_parser = Compress::from_str)]
    pub(crate) in_compress: Option<Compress>,

    /// Teleport: hold replies back so long, to send more of them at once [default: 0]
    #[arg(long, value_name = "TIME", help_heading = "Input", value_parser = duration::parse)]
    pub(crate) in_delay: Option<Duration>,

    /// Where to send them; the least loaded of several gets the next request
    #[arg(
        long = "out", value_name = "URL[,URL...]", help_heading = "Output",
        value_delimiter = ',', default_value = "teleport://127.0.0.1:8043", value_parser = Endpoint::parse
    )]
    pub(crate) outputs: Vec<Endpoint>,

    /// Longest wait for a reply once its request is sent; then the client gets 504
    #[arg(long, value_name = "TIME", help_heading = "Output", default_value = "3s", value_parser = duration::parse)]
    pub(crate) out_timeout: Duration,

    /// https and teleports: certificates to trust, PEM [default: this system's]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) out_ca: Option<PathBuf>,

    /// Largest head of a reply; a larger one becomes 502
    #[arg(
        long, value_name = "BYTES", help_heading = "Output",
        default_value_t = 4096, value_parser = value_parser!(u32).range(256..=1_048_576)
    )]
    pub(crate) out_max_header_size: u32,

    /// Teleport: compress requests, in the words of --in-compress [default: zstd, flate]
    #[arg(long, value_name = "HOW", help_heading = "Output", value_parser = Compress::from_str)]
    pub(crate) out_compress: Option<Compress>,

    /// Teleport: hold requests back so long, to send more of them at once [default: 0]
    #[arg(long, value_name = "TIME", help_heading = "Output", value_parser = duration::parse)]
    pub(crate) out_delay: Option<Duration>,

    /// Teleport: connections to each output
    #[arg(
        long, value_name = "N", help_heading = "Output",
        default_value_t = 1, value_parser = value_parser!(u16).range(1..=1024)
    )]
    pub(crate) out_conns_per_addr: u16,

    /// Teleport: requests whose values of this header differ never share a connection, nor its compression: name the header that
    /// tells your users, or tenants, apart; at most 1024 of them at a time
    #[arg(long, value_name = "HEADER", help_heading = "Output", value_parser = header)]
    pub(crate) out_group_by: Option<HeaderName>,

    /// Which teleport wire is spoken: framed, which streams; classic, as Go's httptp has it; or auto, for the framed one with
    /// nodes that speak it and the classic one with others
    #[arg(long, value_name = "WIRE", help_heading = "Teleport", default_value = "auto", value_parser = wire)]
    pub(crate) wire: Wire,

    /// Framed wire: ask a node that is silent for so long whether it lives, and give its connection up after twice as long;
    /// 0 for never
    #[arg(long, value_name = "TIME", help_heading = "Teleport", default_value = "5s", value_parser = duration::parse)]
    pub(crate) ping: Duration,

    /// Framed wire: replace a connection once it is so old, so that new nodes get their part [default: never]
    #[arg(long, value_name = "TIME", help_heading = "Teleport", value_parser = duration::parse)]
    pub(crate) max_connection_age: Option<Duration>,

    /// Compress each message alone, so that its size tells nothing of other messages; it costs most of what compression saves, and
    /// the classic wire, which cannot, compresses nothing then
    #[arg(long, help_heading = "Teleport")]
    pub(crate) compress_alone: bool,

    /// Most requests at a time, client connections, and connections to all HTTP outputs
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub(crate) concurrency: u32,

    /// Threads that serve; more than the machine has cores gain nothing [default: one for each core]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}

/// Names a header.
fn header(name: &str) -> Result<HeaderName, &'static str> {
    name.parse().map_err(|_| "is no name of a header; write for example X-Tenant")
}

/// Reads and checks the command line.
///
/// # Errors
///
/// [`Stop`] when there is nothing to run.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Action, Stop> {
    let cli = Cli::try_parse_from(args).map_err(refuse)?;
    match cli.command {
        Some(Command::Demo(options)) => Ok(Action::Demo(options)),
        Some(Command::Estimate(options)) => Ok(Action::Estimate(options)),
        None => Settings::check(cli.proxy).map(|settings| Action::Proxy(Box::new(settings))).map_err(Stop::Usage),
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
