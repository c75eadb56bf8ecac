//! A running `httptp`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use anyhow::{Context, Result};

use super::PATIENCE;

/// Killed when dropped. What it logs goes where ours goes.
pub(super) struct Node {
    child: Child,
    port: u16,
}

impl Node {
    /// Starts one with an input on a free port, and waits until it says which.
    ///
    /// # Errors
    ///
    /// It cannot be started, or does not say that in time.
    pub(super) fn start(binary: &Path, input: &str, out: &str, more: &[&str]) -> Result<Node> {
        let mut command = Command::new(binary);
        command.args(["--in", input, "--out", out, "--admin", "", "--log-level", "warn"]).args(more);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let child = child.with_context(|| format!("{} cannot be started", binary.display()))?;
        let mut node = Node { child, port: 0 };
        let stdout = node.child.stdout.take().context("no pipe")?;
        let (teller, told) = mpsc::sync_channel(1);
        // Ends with the node.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = teller.send(line);
            }
        });
        let line =
            told.recv_timeout(PATIENCE).with_context(|| format!("the node at {input} does not say that it listens"))?;
        node.port = port(&line).with_context(|| format!("no port in what a node says: {line:?}"))?;
        Ok(node)
    }

    /// Of its input.
    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `httptp: teleports://127.0.0.1:4711 (zstd) -> http://localhost:80`
fn port(line: &str) -> Option<u16> {
    let input = line.strip_prefix("httptp: ")?.split(' ').next()?;
    input.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_of_the_input() {
        assert_eq!(port("httptp: teleports://127.0.0.1:4711 (zstd) -> http://localhost:80"), Some(4711));
        assert_eq!(port("httptp: http://127.0.0.1:1 -> http://localhost:80"), Some(1));
        assert_eq!(port("something else"), None);
    }
}
