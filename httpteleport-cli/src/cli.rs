//! The command line: options, their help, and how a bad one is refused.

use std::ffi::OsString;

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;
use http::HeaderName;
use http::header::HOST;
use rustls::pki_types::ServerName;

use crate::check;
use crate::config::{self, ConfigFile, Located, Settings};
use crate::count;
use crate::estimate::EstimateArgs;
use crate::go_flags::{self, Spelt, Translated};
use crate::headers::FRAMING;
use crate::log::Format;
use crate::size;

mod balancing;
mod cert;
mod completed;
mod dashed;
mod environment;
mod group;
#[cfg(test)]
mod listed;
mod listener;
mod otlp;
mod papers;
mod process;
mod refused;
mod typed;

pub(crate) use balancing::BalancingArgs;
pub(crate) use cert::CertArgs;
pub(crate) use group::GroupArgs;
pub(crate) use listener::ListenerArgs;
pub(crate) use otlp::OtlpArgs;
pub(crate) use process::{ProcessArgs, TeleportArgs};
pub(crate) use refused::in_a_line;

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

For outputs alone:
  h2c://HOST:PORT        HTTP/2 without TLS
  http+srv://NAME        the hosts of an SRV record; https, h2c, teleport and teleports likewise
  file:PATH              a file of URLs, one a line, that may change
  URL#weight=3           three times the part of others
  URL#backup             for when no other output can be used

Inputs speak HTTP/1.1 and HTTP/2, over TLS by ALPN, else with prior knowledge. Outputs of https
speak either, by ALPN, those of http HTTP/1.1, those of h2c HTTP/2.

The flags of Go's httptp, such as -inType=teleport -in=:8345, mean here what they mean there.

Times are written 300ms, 1.5s, 1m30s, 100us; sizes 65536, 64KiB, 4MiB, 1GiB. Port 0 in --in takes
a free port; the line printed at the start names it.

Every option can be set in the environment as well: HTTPTP_IN_MAX_BODY_SIZE for --in-max-body-size.
A variable that is nearly one of these is a mistake; those that Kubernetes sets are not looked at.
In a file, options of an input and of an output are keys without in- and out-; docs/config.md has
all.

Examples:
  httptp --in http://127.0.0.1:8080 --out teleport://10.0.0.2:9876   near the clients
  httptp --in teleport://:9876 --out http://127.0.0.1:80             near the servers
  httptp --in http://:80 --out http://node1:8080,http://node2:8080   a plain load balancer
  httptp cert --for far.example.com                                  certificates for teleports";

/// What the command line asks for.
pub(crate) enum Action {
    /// Run the proxy, as the file says if there is one.
    Proxy(Box<Settings>, Option<(ConfigFile, Box<Located>)>),
    /// Say what is wrong with a file.
    Check(Box<Checked>),
    /// Make certificates for a link.
    Cert(CertArgs),
    /// Show what teleporting saves.
    Demo(DemoArgs),
    /// Tell what recorded traffic would cost.
    Estimate(EstimateArgs),
    /// Print this.
    Print(Vec<u8>),
}

/// A file to be checked as it would be followed here.
pub(crate) struct Checked {
    /// The file, and what the environment says, which wins.
    pub(crate) config: ConfigFile,
    /// Variables that mean nothing, each a line.
    pub(crate) idle: Vec<String>,
    spelling: Spelling,
}

/// How options were spelt by whoever gave them.
struct Spelling {
    spelt: Vec<Spelt>,
    is_go: bool,
}

/// Why there is nothing to do.
pub(crate) enum Stop {
    /// Lines that name an option, or a place in a file, and say what to do.
    Usage(Vec<String>),
    /// Help, or the version.
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
    override_usage = "httptp --in URL --out URL[,URL...] [OPTIONS]\n       httptp --config FILE [OPTIONS]\n       \
                      httptp check FILE\n       httptp cert --for NAME[,NAME...] [--dir FOLDER]\n       httptp demo [--seconds N] [--keep]\n       \
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
    /// Read a file of settings, and the environment as a start does, and say all that is wrong
    Check {
        /// The file
        file: PathBuf,
    },
    /// Make a private authority and the certificates of both sides of a teleports link, and say how to use them
    Cert(CertArgs),
    /// Run realistic traffic through two nodes on this machine and show what it saves
    Demo(DemoArgs),
    /// Tell what recorded traffic (HAR, or NAME.req.zst) would cost as HTTP and teleported
    Estimate(EstimateArgs),
    /// Print the manual page: httptp man > httptp.1
    Man,
    /// Print a script that completes options in a shell: bash, elvish, fish, powershell or zsh
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Options of `httptp demo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DemoArgs {
    /// How long to run, in seconds, 1 to 3600
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = count::within(1..=3600_u64))]
    pub(crate) seconds: u64,
    /// Keep serving afterwards, and print a curl command to try
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Options of the proxy, as typed; [`Settings`] is what they mean together.
#[derive(Args, Debug)]
pub(crate) struct ProxyArgs {
    /// File with listeners, groups of upstreams and routes between them; other options win over what it says. It is read again
    /// when it changes, and on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

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

/// Reads a name that a certificate can be for.
fn tls_name(text: &str) -> Result<ServerName<'static>, &'static str> {
    ServerName::try_from(text.to_owned())
        .map_err(|_| "cannot be the name in a certificate; write for example far.example.com")
}

/// Names a header that may be replaced with the address of a client.
fn client_ip_header(name: &str) -> Result<HeaderName, &'static str> {
    let name = header(name)?;
    if name == HOST || FRAMING.contains(&name) {
        return Err("requests need this header for something else; write for example X-Real-IP");
    }
    Ok(name)
}

/// Reads the size of a head.
fn head_size(text: &str) -> Result<u32, String> {
    size::parse_small(text, 256..=1_048_576)
}

/// Reads `true` or `false`.
fn yes_or_no(text: &str) -> Result<bool, &'static str> {
    text.parse().map_err(|_| "use true or false")
}

/// Reads and checks the command line, in our words or in those of Go's httptp, and the environment.
///
/// # Errors
///
/// [`Stop`] when there is nothing to run.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Action, Stop> {
    let Translated { args, spelt: of_go } = go_flags::translate(args).map_err(|line| Stop::Usage(vec![line]))?;
    let is_go = !of_go.is_empty();
    let command = Cli::command();
    let args = dashed::joined(&command, args);
    if let Some(line) = go_flags::unknown(&args, &options(&command, &args)) {
        return Err(Stop::Usage(vec![line]));
    }
    let found = environment::add(&command, args, std::env::vars_os()).map_err(Stop::Usage)?;
    let (args, idle) = go_flags::without_idle(found.args, &of_go);
    let spelling = Spelling { spelt: [of_go, found.spelt].concat(), is_go };
    let mut action = read(args).map_err(|stop| spelling.of_stop(stop))?;
    if let Action::Proxy(settings, _) = &mut action {
        let told = spelling.of(std::mem::take(&mut settings.idle_options));
        settings.idle_options = told.into_iter().chain(idle).chain(found.idle).collect();
    }
    Ok(action)
}

/// Reads the environment as a start with this file does.
fn checked(path: PathBuf) -> Result<Checked, Stop> {
    let command = Cli::command();
    let mut config = OsString::from("--config=");
    config.push(&path);
    let started = vec![OsString::from(command.get_name()), config];
    let found = environment::add(&command, started, std::env::vars_os()).map_err(Stop::Usage)?;
    let spelling = Spelling { spelt: found.spelt, is_go: false };
    let matches = Cli::command().try_get_matches_from(found.args).map_err(|error| spelling.of_stop(refuse(error)))?;
    let config = ConfigFile { path, typed: typed::typed(&command, &matches) };
    Ok(Checked { config, idle: found.idle, spelling })
}

/// The options of the command that is asked for, with their dashes.
fn options(command: &clap::Command, args: &[OsString]) -> Vec<String> {
    let named = args.get(1).and_then(|first| command.find_subcommand(first));
    let longs = named.unwrap_or(command).get_arguments().filter_map(clap::Arg::get_long);
    longs.chain(["help", "version"]).map(|long| format!("--{long}")).collect()
}

fn read(args: Vec<OsString>) -> Result<Action, Stop> {
    let matches = Cli::command().try_get_matches_from(args).map_err(refuse)?;
    let cli = Cli::from_arg_matches(&matches).map_err(refuse)?;
    match cli.command {
        Some(Command::Cert(options)) => Ok(Action::Cert(options)),
        Some(Command::Demo(options)) => Ok(Action::Demo(options)),
        Some(Command::Estimate(options)) => Ok(Action::Estimate(options)),
        Some(Command::Man) => Ok(Action::Print(papers::manual(Cli::command()))),
        Some(Command::Completions { shell }) => Ok(Action::Print(papers::completions(Cli::command(), shell))),
        Some(Command::Check { file }) => Ok(Action::Check(Box::new(checked(file)?))),
        None => proxy(cli.proxy, &matches),
    }
}

fn proxy(args: ProxyArgs, matches: &ArgMatches) -> Result<Action, Stop> {
    let Some(path) = args.config.clone() else {
        let settings = Settings::check(args).map_err(|line| Stop::Usage(vec![line]))?;
        return Ok(Action::Proxy(Box::new(settings), None));
    };
    let config = ConfigFile { path, typed: typed::typed(&Cli::command(), matches) };
    let (settings, located) = check::load(&config).map_err(Stop::Usage)?;
    Ok(Action::Proxy(Box::new(settings), Some((config, Box::new(located)))))
}

impl Checked {
    /// Lines that may begin with options, with variables where these set them.
    pub(crate) fn told(&self, lines: Vec<String>) -> Vec<String> {
        self.spelling.of(lines)
    }
}

impl Spelling {
    fn of_stop(&self, stop: Stop) -> Stop {
        match stop {
            Stop::Usage(lines) => Stop::Usage(self.of(lines)),
            other @ Stop::Clap(_) => other,
        }
    }

    fn of(&self, lines: Vec<String>) -> Vec<String> {
        lines.into_iter().map(|line| self.of_line(line)).collect()
    }

    /// Whoever has typed a flag of Go's, or set a variable, is told of that one, and advised in Go's words who has used them.
    fn of_line(&self, line: String) -> String {
        let option = line.split([' ', ':']).next().unwrap_or_default();
        let Some((ours, typed)) = self.spelt.iter().find(|(ours, _)| ours == option) else { return line };
        let rest = &line[ours.len()..];
        if self.is_go { format!("{typed}{}", go_flags::in_words_of_go(rest)) } else { format!("{typed}{rest}") }
    }
}

/// Whether these arguments, of which the first is the program's own name, ask for a process that serves, if for anything.
pub(crate) fn serves(args: &[OsString]) -> bool {
    let first = args.get(1).and_then(|first| first.to_str());
    !first.is_some_and(|first| first != "demo" && Command::has_subcommand(first))
}

/// What a log looks like by these arguments, the environment and the file of settings, whatever else is wrong with them.
pub(crate) fn log_format(args: &[OsString]) -> Format {
    if !serves(args) {
        return Format::Text;
    }
    let typed = |option: &str| {
        let mut words = args.iter().skip(1).filter_map(|arg| arg.to_str());
        let mut found = None;
        while let Some(word) = words.next() {
            match word.strip_prefix(option).map(|rest| (rest, rest.strip_prefix('='))) {
                Some(("", _)) => found = words.next().map(str::to_owned),
                Some((_, Some(value))) => found = Some(value.to_owned()),
                _ => {}
            }
        }
        found
    };
    let set = |option: &str, name: &str| typed(option).or_else(|| std::env::var(name).ok());
    let said = set("--log-format", "HTTPTP_LOG_FORMAT")
        .or_else(|| config::log_format(Path::new(&set("--config", "HTTPTP_CONFIG")?)));
    said.and_then(|format| format.parse().ok()).unwrap_or_default()
}

/// Whether a word is one of the commands.
fn is_command(word: &str) -> bool {
    Cli::command().find_subcommand(word).is_some()
}

/// Says what clap says in one line, like every other error of this program; help and the version are clap's.
fn refuse(error: clap::Error) -> Stop {
    match in_a_line(&error) {
        Some(line) => Stop::Usage(vec![line]),
        None => Stop::Clap(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_serves() {
        let serves = |line: &str| serves(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(serves("httptp") && serves("httptp demo") && serves("httptp --in check") && serves("httptp -in=:80"));
        assert!(!serves("httptp check x") && !serves("httptp estimate x") && !serves("httptp man"));
    }

    #[test]
    fn only_help_and_version_have_short_options() {
        let mut command = Cli::command();
        command.build();
        let short: String = command.get_arguments().filter_map(clap::Arg::get_short).collect();
        assert_eq!(short, "hV");
    }
}
