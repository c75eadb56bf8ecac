//! Options of the process, and of teleport on either side.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use httpteleport::Wire;
use tracing_subscriber::filter::LevelFilter;

use super::{OtlpArgs, yes_or_no};
use crate::access_log;
use crate::compress::wire;
use crate::count;
use crate::duration;
use crate::endpoint;
use crate::estimate::price;
use crate::log;
use crate::size;

/// As typed; [`Process`](crate::config::Process) is what they mean together.
#[derive(Args, Debug, Default)]
pub(crate) struct ProcessArgs {
    /// Most requests at a time: those beyond are answered 503. Also most client connections of an input, where one more takes the place
    /// of one on which no request is under way, or waits; and most connections to all HTTP outputs [default: 100000]
    #[arg(long, value_name = "N", value_parser = count::within(1..=1_000_000_u32))]
    pub(crate) concurrency: Option<u32>,

    /// Threads that serve; more than the machine has cores gain nothing [default: one for each core]
    #[arg(long, value_name = "N", value_parser = count::within(1..=1024_u16))]
    pub(crate) threads: Option<u16>,

    /// Most memory that the contexts of compression take, of all teleport connections of the framed wire together; those beyond get
    /// zstd-small, or none [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = compression_memory)]
    pub(crate) compression_memory: Option<u64>,

    /// Path of a unix socket where the next process, started with the same option, takes the listening sockets over from this one; when
    /// it is ready this one finishes what runs and ends: a restart that refuses no connection [default: none]
    #[arg(long, value_name = "PATH", value_parser = handover)]
    pub(crate) handover: Option<PathBuf>,

    /// How long what runs may still take after SIGTERM or SIGINT, or when another process has taken over; the rest is cut off
    /// [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) drain_timeout: Option<Duration>,

    /// After SIGTERM or SIGINT, serve on for so long before draining begins, while /readyz says 503, so that load balancers send
    /// their requests elsewhere; a second signal begins it at once [default: 0]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) drain_delay: Option<Duration>,

    /// HOST:PORT where metrics and a page about this process are served over HTTP; empty for nowhere [default: localhost:8040]
    #[arg(long, value_name = "ADDRESS", help_heading = "Admin")]
    pub(crate) admin: Option<String>,

    /// File with the token that whoever reads them has to give: as Authorization: Bearer, or once as ?token= in a browser; for
    /// addresses that others can reach
    #[arg(long, value_name = "FILE", help_heading = "Admin")]
    pub(crate) admin_token_file: Option<PathBuf>,

    /// What a gigabyte of traffic costs, for the page to tell what is saved, in the currency of your choice
    #[arg(long, value_name = "PRICE", help_heading = "Admin", value_parser = price)]
    pub(crate) price_per_gb: Option<f64>,

    /// Write a line for each request to this file, or to stdout for -; SIGUSR1 and SIGHUP open it anew
    #[arg(long, value_name = "FILE", help_heading = "Logs")]
    pub(crate) access_log: Option<PathBuf>,

    /// What the lines look like: combined, as Apache and nginx have them, or json [default: combined]
    #[arg(long, value_name = "FORMAT", help_heading = "Logs", value_parser = str::parse::<access_log::Format>)]
    pub(crate) access_log_format: Option<access_log::Format>,

    /// What the program's own log on stderr looks like: text or json [default: text]
    #[arg(long, value_name = "FORMAT", help_heading = "Logs", value_parser = str::parse::<log::Format>)]
    pub(crate) log_format: Option<log::Format>,

    /// How much it says: off, error, warn, info, debug or trace; HTTPTP_LOG in the environment [default: info]
    #[arg(long, value_name = "LEVEL", help_heading = "Logs", value_parser = log::level)]
    pub(crate) log_level: Option<LevelFilter>,

    /// Log everything that goes wrong while serving, not only what is the operator's to mend, and each time it does
    #[arg(
        long, value_name = "BOOL", help_heading = "Logs",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = yes_or_no
    )]
    pub(crate) log_all_errors: Option<bool>,

    #[command(flatten)]
    pub(crate) otlp: OtlpArgs,
}

/// As typed; [`Teleport`](crate::config::Teleport) is what they mean together.
#[derive(Args, Debug, Default)]
pub(crate) struct TeleportArgs {
    /// Which teleport wire is spoken: framed, which streams; classic, as Go's httptp has it; or auto, for the framed one with
    /// nodes that speak it and the classic one with others [default: auto]
    #[arg(long, value_name = "WIRE", help_heading = "Teleport", value_parser = wire)]
    pub(crate) wire: Option<Wire>,

    /// Framed wire: ask a node that is silent for so long whether it lives, and give its connection up after twice as long;
    /// 0 for never [default: 5s]
    #[arg(long, value_name = "TIME", help_heading = "Teleport", value_parser = duration::parse)]
    pub(crate) ping: Option<Duration>,

    /// Framed wire: replace a connection once it is so old, so that new nodes get their part [default: never]
    #[arg(long, value_name = "TIME", help_heading = "Teleport", value_parser = duration::parse)]
    pub(crate) max_connection_age: Option<Duration>,

    /// Compress each message alone, so that its size tells nothing of other messages; it costs most of what compression saves, and
    /// the classic wire, which cannot, compresses nothing then
    #[arg(
        long, value_name = "BOOL", help_heading = "Teleport",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = yes_or_no
    )]
    pub(crate) compress_alone: Option<bool>,
}

impl TeleportArgs {
    /// These, and where they say nothing those.
    pub(crate) fn or(&self, those: &TeleportArgs) -> TeleportArgs {
        TeleportArgs {
            wire: self.wire.or(those.wire),
            ping: self.ping.or(those.ping),
            max_connection_age: self.max_connection_age.or(those.max_connection_age),
            compress_alone: self.compress_alone.or(those.compress_alone),
        }
    }
}

/// Reads what contexts may take.
fn compression_memory(text: &str) -> Result<u64, String> {
    size::parse(text, 0..=1 << 40)
}

/// Reads a path of which every process thinks the same.
fn handover(text: &str) -> Result<PathBuf, String> {
    let path = endpoint::socket_path(text)?;
    if path.is_absolute() {
        Ok(path)
    } else {
        Err("is no absolute path; write for example /run/httptp/handover.sock".to_owned())
    }
}
