//! What holds for the whole process, and on teleport for either side.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use httpteleport::{RecordCodec, Wire};

use super::{Mistakes, Otlp};
use crate::access_log;
use crate::cli::{ProcessArgs, TeleportArgs};
use crate::compress::Compress;
use crate::endpoint::{Address, check_host};
use crate::files;
use crate::log;

/// What `--concurrency` is where nobody says.
pub(crate) const CONCURRENCY: usize = 100_000;

/// What `--compression-memory` is where nobody says.
const COMPRESSION_MEMORY: usize = 1 << 30;

/// What `--drain-timeout` is where nobody says.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drain {
    /// How long it serves on after it has been asked to end.
    pub(crate) delay: Duration,
    /// How long what runs then may still take.
    pub(crate) timeout: Duration,
}

/// What holds for the whole process.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Process {
    /// Most requests at a time.
    pub(crate) concurrency: usize,
    /// Threads that serve; `None` for one on each core.
    pub(crate) threads: Option<usize>,
    /// Most bytes of all contexts of compression.
    pub(crate) compression_memory: usize,
    /// Where the next process takes over from this one.
    pub(crate) handover: Option<PathBuf>,
    /// How it ends.
    pub(crate) drain: Drain,
    /// Where metrics are served, if they are.
    pub(crate) admin: Option<Admin>,
    /// What is logged of the program itself.
    pub(crate) log: log::Options,
    /// Where requests are logged, if they are.
    pub(crate) access_log: Option<access_log::Options>,
    /// Where spans of requests go, if there are any.
    pub(crate) otlp: Option<Otlp>,
}

/// Where metrics and the page are served, and to whom.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Admin {
    /// The host, perhaps empty, and the port.
    pub(crate) address: (String, u16),
    /// Whether somebody has asked for that address: then it has to be free.
    pub(crate) asked_for: bool,
    /// Holds what whoever reads them has to give.
    pub(crate) token_file: Option<PathBuf>,
    /// What a gigabyte costs.
    pub(crate) price_per_gb: Option<f64>,
}

impl Admin {
    /// Its address as that of a listener.
    pub(crate) fn endpoint(&self) -> Address {
        let (host, port) = self.address.clone();
        Address::Tcp { host, port }
    }

    fn new(args: &ProcessArgs, mistakes: &mut Mistakes) -> Option<Admin> {
        let given = args.admin.as_deref().unwrap_or("localhost:8040");
        if given.is_empty() {
            if args.admin_token_file.is_some() {
                mistakes.add("--admin-token-file: there is no admin address; give one, or drop the option".to_owned());
            }
            return None;
        }
        let address = given.rsplit_once(':').filter(|(host, _)| !host.contains('/'));
        let address = address.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let Some((host, port)) = address else {
            mistakes.add(format!("--admin {given}: write HOST:PORT, or nothing to turn it off"));
            return None;
        };
        if let Err(why) = check_host(host) {
            mistakes.add(format!("--admin {given}: {why}"));
            return None;
        }
        Some(Admin {
            address: (host.trim_matches(['[', ']']).to_owned(), port),
            asked_for: args.admin.is_some(),
            token_file: args.admin_token_file.clone(),
            price_per_gb: args.price_per_gb,
        })
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = &self.address;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Process {
    /// Makes them of the options.
    pub(super) fn new(args: &ProcessArgs, mistakes: &mut Mistakes) -> Process {
        let admin = Admin::new(args, mistakes);
        if args.access_log.is_none() && args.access_log_format.is_some() {
            mistakes.add("--access-log-format: there is no access log; give its file with --access-log".to_owned());
        }
        if let Some(path) = args.access_log.as_deref().filter(|path| *path != Path::new("-"))
            && let Err(why) = files::writable(path)
        {
            mistakes.add(format!("--access-log {}: cannot write to the file: {why}", path.display()));
        }
        let format = args.access_log_format.unwrap_or_default();
        Process {
            concurrency: args.concurrency.map_or(CONCURRENCY, |most| most as usize),
            threads: args.threads.map(usize::from),
            compression_memory: args
                .compression_memory
                .map_or(COMPRESSION_MEMORY, |most| usize::try_from(most).unwrap_or(usize::MAX)),
            handover: args.handover.clone(),
            drain: Drain {
                delay: args.drain_delay.unwrap_or_default(),
                timeout: args.drain_timeout.unwrap_or(DRAIN_TIMEOUT),
            },
            admin,
            log: log::Options {
                format: args.log_format.unwrap_or_default(),
                level: args.log_level,
                all_errors: args.log_all_errors.unwrap_or_default(),
            },
            access_log: args.access_log.clone().map(|path| access_log::Options { path, format }),
            otlp: Otlp::new(&args.otlp, cfg!(feature = "otlp"), mistakes),
        }
    }
}

/// What one side does on teleport.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Teleport {
    /// Which wire is spoken.
    pub(crate) wire: Wire,
    /// The silence after which a peer is asked whether it lives.
    pub(crate) ping: Option<Duration>,
    /// How old a connection gets.
    pub(crate) max_age: Option<Duration>,
    /// Each message is compressed alone.
    pub(crate) compress_alone: bool,
}

impl Teleport {
    /// Makes them of the options.
    pub(super) fn new(args: &TeleportArgs, mistakes: &mut Mistakes) -> Teleport {
        let teleport = Teleport {
            wire: args.wire.unwrap_or_default(),
            ping: Some(args.ping.unwrap_or(Duration::from_secs(5))).filter(|ping| !ping.is_zero()),
            max_age: args.max_connection_age,
            compress_alone: args.compress_alone.unwrap_or_default(),
        };
        if teleport.compress_alone && teleport.wire == Wire::Classic {
            mistakes.add("--compress-alone: the classic wire cannot do that; use --wire auto or framed".to_owned());
        }
        if teleport.max_age.is_some_and(|age| age.is_zero()) {
            mistakes.add("--max-connection-age 0: no call fits into no time; write for example 1h".to_owned());
        }
        teleport
    }

    /// Checks how one side compresses, which this option says.
    pub(super) fn check(self, option: &str, compress: Compress, mistakes: &mut Mistakes) {
        if let Some(wire) = compress.misses(self.wire) {
            mistakes.add(format!("{option} {compress}: is of the {wire} wire, which --wire excludes; use --wire auto"));
        }
        if self.compress_alone && compress.framed == RecordCodec::Lz4 {
            mistakes.add("--compress-alone: lz4 cannot do that; use zstd, or none".to_owned());
        }
    }
}
