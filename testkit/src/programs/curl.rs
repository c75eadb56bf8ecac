//! curl, as the client that everybody has.

use std::ffi::OsStr;
use std::process::Stdio;

use tokio::process::Command;
use tokio::time::timeout;

use super::{PATIENCE, find};

/// One run of curl. Waiting for it leaves the runtime free, so that the servers of the same test can answer.
#[derive(Debug)]
pub struct Curl(Command);

/// What curl has answered.
#[derive(Clone, Debug)]
pub struct CurlOutput {
    /// curl's own exit code: 0 is a complete exchange, of any HTTP status.
    pub exit: i32,
    /// The HTTP status of the last reply; 0 if none came.
    pub status: u16,
    /// The head of each reply, interim ones too, as received.
    pub heads: String,
    /// The body.
    pub body: Vec<u8>,
    /// What curl said about it.
    pub stderr: String,
}

impl CurlOutput {
    /// The value of the first header of that name, in any case, of the last reply.
    pub fn header(&self, name: &str) -> Option<&str> {
        let last = self.heads.trim_end().rsplit("\r\n\r\n").next()?;
        let mut lines = last.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

impl Curl {
    /// curl for `url`: silent, without its user's configuration and without a proxy from the environment.
    ///
    /// # Panics
    ///
    /// curl is not installed.
    pub fn new(url: &str) -> Self {
        let mut command = Command::new(find("curl", "curl"));
        command.args(["--disable", "--silent", "--show-error", "--noproxy", "*", "--url", url]);
        command.stdin(Stdio::null()).kill_on_drop(true);
        Self(command)
    }

    /// The same with one more argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    /// The same with more arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.0.args(arguments);
        self
    }

    /// Runs it to its end. Dropping the future kills it.
    ///
    /// # Panics
    ///
    /// It cannot be started, or takes longer than 20 seconds.
    pub async fn run(mut self) -> CurlOutput {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let heads = folder.path().join("heads");
        self.0.arg("--dump-header").arg(&heads);
        let output = timeout(PATIENCE, self.0.output()).await;
        let output = output.unwrap_or_else(|_| panic!("curl got no answer in {PATIENCE:?}: {:?}", self.0));
        let output = output.unwrap_or_else(|error| panic!("curl cannot be started: {error}"));
        let heads = std::fs::read(&heads).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        CurlOutput {
            exit: output.status.code().unwrap_or(-1),
            status: last_status(&heads),
            heads,
            body: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The status code in the last status line of dumped heads; 0 without any.
fn last_status(heads: &str) -> u16 {
    let mut lines = heads.lines().filter(|line| line.starts_with("HTTP/"));
    lines.next_back().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0)
}
