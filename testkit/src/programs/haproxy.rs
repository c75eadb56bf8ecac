//! haproxy, a load balancer that nobody here wrote.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::{Running, find, free_address};

/// A running haproxy, in the foreground; it goes when this is dropped.
#[derive(Debug)]
pub struct Haproxy {
    /// The process; first, so that it is gone before its folder.
    pub running: Running,
    /// Where it listens.
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Haproxy {
    /// Starts one and waits until it accepts. `sections` makes the sections of its configuration that take what comes to the address
    /// given: `frontend f\n bind 127.0.0.1:80\n ..`. It speaks HTTP where they do not say `mode tcp`.
    ///
    /// # Panics
    ///
    /// haproxy is not installed, or says that the configuration is wrong.
    pub fn start(sections: impl Fn(SocketAddr) -> String) -> Self {
        let program = find("haproxy", "haproxy");
        // Another process may take the port between choosing it and haproxy binding it: then with another one.
        for _ in 0..5 {
            let (folder, address) = (tempfile::tempdir().expect("a temporary folder"), free_address());
            let path = folder.path().join("haproxy.cfg");
            let times = ["connect", "client", "server"].map(|side| format!(" timeout {side} 20s\n")).concat();
            let text = format!("global\n maxconn 200\ndefaults\n mode http\n{times}{}\n", sections(address));
            fs::write(&path, text).expect("a file in a folder of ours");
            let mut command = Command::new(&program);
            command.arg("-db").arg("-f").arg(&path);
            let mut running = Running::start(command);
            if running.accepts(address) {
                return Self { running, address, _folder: folder };
            }
            let taken = running.output().iter().any(|line| line.contains("cannot bind"));
            assert!(taken, "{running} does not start");
        }
        panic!("haproxy found its port taken five times");
    }
}
