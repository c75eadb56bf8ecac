//! Python's http.server, a second origin that nobody here wrote: HTTP/1.0, one connection a request.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::{Running, find};

/// A running `python3 -m http.server`, serving the files of a folder of its own; both go when it is dropped.
#[derive(Debug)]
pub struct PythonServer {
    /// The process; first, so that it is gone before its folder.
    pub running: Running,
    /// Where it listens.
    pub address: SocketAddr,
    folder: TempDir,
}

impl PythonServer {
    /// Starts one on a port of its choice and waits until it listens.
    ///
    /// # Panics
    ///
    /// Python is not installed, or does not start.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(find("python3", "python3"));
        command.args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(folder.path()).arg("0");
        let running = Running::start(command);
        // It prints, once it listens: Serving HTTP on 127.0.0.1 port 4711 (http://127.0.0.1:4711/) ...
        let port = running.line("its port", |line| {
            let (_, tail) = line.split_once(" port ")?;
            tail.split_whitespace().next()?.parse::<u16>().ok()
        });
        Self { running, address: SocketAddr::from(([127, 0, 0, 1], port)), folder }
    }

    /// Puts a file where `/NAME` serves it.
    pub fn file(&self, name: &str, bytes: &[u8]) {
        fs::write(self.folder.path().join(name), bytes).expect("a file in a folder of ours");
    }
}
