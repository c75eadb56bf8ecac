//! Starts, stops and pairs `httptp` processes.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use testkit::programs::Running;
use testkit::tls::{Ca, Identity};

/// A bound for things that take milliseconds, for machines that are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running `httptp`, killed when dropped; its log is shown when it does not start.
#[derive(Debug)]
pub(crate) struct Node {
    running: Running,
    /// Its input, with the port it really has.
    url: String,
    args: Vec<String>,
}

impl Node {
    /// Starts one and waits until it listens.
    pub(crate) fn start(input: &str, out: &str, more: &[&str]) -> Node {
        Node::run(&[&["--in", input, "--out", out], more].concat())
    }

    /// The same by these options, which may name a file of settings; of several inputs it is known by the first.
    pub(crate) fn run(args: &[&str]) -> Node {
        Node::by(Command::new(env!("CARGO_BIN_EXE_httptp")), args)
    }

    /// The same by a command that becomes the program with these options behind it.
    pub(crate) fn by(mut command: Command, args: &[&str]) -> Node {
        // What it has by default is short for a machine that is busy; who says another time gets that.
        command.env("HTTPTP_OUT_TIMEOUT", "15s").args(args);
        let running = Running::start(command);
        // It prints: httptp: teleport://127.0.0.1:4711 (flate) -> http://127.0.0.1:80
        let url = running.line("where it listens", |line| {
            let (input, _) = line.strip_prefix("httptp: ")?.split_once(" -> ")?;
            input.split(' ').next().map(str::to_owned)
        });
        Node { running, url, args: args.iter().map(|&arg| arg.to_owned()).collect() }
    }

    /// The URL of its input.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// `HOST:PORT` of its input.
    pub(crate) fn address(&self) -> &str {
        self.url.split_once("://").expect("a TCP input").1
    }

    /// Waits until it has logged a line with these words in it.
    pub(crate) fn says(&self, words: &str) {
        self.tells(words, |line| line.contains(words).then_some(()));
    }

    /// Waits until it has logged a line for which `pick` returns something.
    pub(crate) fn tells<T>(&self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        tokio::task::block_in_place(|| self.running.line(what, pick))
    }

    /// Whether it has logged such a line by now.
    pub(crate) fn has_said(&self, words: &str) -> bool {
        self.running.output().iter().any(|line| line.contains(words))
    }

    /// How many such lines it has logged by now.
    pub(crate) fn lines_with(&self, words: &str) -> usize {
        self.running.output().iter().filter(|line| line.contains(words)).count()
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.running.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a signal");
    }

    /// SIGKILL; it is gone when this returns.
    pub(crate) fn kill(&mut self) {
        self.running.kill();
    }

    /// Starts it anew where it listened before.
    pub(crate) fn start_again(&mut self) {
        self.kill();
        let mut args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        if let Some(input) = args.iter().position(|arg| *arg == "--in") {
            args[input + 1] = &self.url;
        }
        *self = Node::run(&args);
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        tokio::task::block_in_place(|| self.running.wait())
    }
}

/// HTTP in, teleport between, whatever the origin speaks out.
pub(crate) struct Pair {
    pub(crate) near: Node,
    pub(crate) far: Node,
}

impl Pair {
    pub(crate) fn start(out: &str) -> Pair {
        Pair::with(out, &[], &[])
    }

    /// With more options for the near and the far node.
    pub(crate) fn with(out: &str, near: &[&str], far: &[&str]) -> Pair {
        let wire = ["--wire", crate::WIRE];
        let far = Node::start("teleport://127.0.0.1:0", out, &[&wire, far].concat());
        let near = Node::start("http://127.0.0.1:0", far.url(), &[&wire, near].concat());
        Pair { near, far }
    }

    /// The URL of a target behind it.
    pub(crate) fn url(&self, target: &str) -> String {
        format!("{}{target}", self.near.url())
    }
}

/// A folder of files that goes with its test.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Files {
        Files(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), bytes).expect("written");
        self.path(name)
    }
}

/// An authority and a certificate for 127.0.0.1, in files.
pub(crate) struct Certificates {
    pub(crate) ca: Ca,
    pub(crate) identity: Identity,
    pub(crate) ca_file: String,
    pub(crate) cert_file: String,
    pub(crate) key_file: String,
}

impl Certificates {
    pub(crate) fn new(files: &Files) -> Certificates {
        Certificates::of(Ca::new(), files)
    }

    /// Another certificate of the same authority in the same files.
    pub(crate) fn renewed(self, files: &Files) -> Certificates {
        Certificates::of(self.ca, files)
    }

    fn of(ca: Ca, files: &Files) -> Certificates {
        let identity = ca.issue(&["127.0.0.1", "localhost"]);
        Certificates {
            ca_file: text(&files.write("ca.pem", ca.pem().as_bytes())),
            cert_file: text(&files.write("cert.pem", identity.cert_pem.as_bytes())),
            key_file: text(&files.write("key.pem", identity.key_pem.as_bytes())),
            ca,
            identity,
        }
    }

    /// The options of a TLS input.
    pub(crate) fn input(&self) -> [&str; 4] {
        ["--in-tls-cert", &self.cert_file, "--in-tls-key", &self.key_file]
    }

    /// The options of a TLS output.
    pub(crate) fn output(&self) -> [&str; 2] {
        ["--out-ca", &self.ca_file]
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// `len` bytes that no compression makes much smaller, the same for the same `seed`.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| random.u8(..)).collect()
}
