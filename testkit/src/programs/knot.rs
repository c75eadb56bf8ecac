//! Knot DNS, an authoritative server whose zone can change while it runs.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{Running, find, free_address};

/// A running knotd that is asked at a loopback port for one zone, `example.test`; both go when it is dropped.
#[derive(Debug)]
pub struct Knot {
    /// The process; first, so that it is gone before its folder.
    pub running: Running,
    /// Where it answers, over UDP and TCP.
    pub address: SocketAddr,
    folder: TempDir,
}

impl Knot {
    /// Starts one and waits until it answers. `records` are lines of a zone file for `example.test`: `api A 127.0.0.1` for
    /// instance; each has a TTL of one second.
    ///
    /// # Panics
    ///
    /// knotd is not installed, or says that the records are wrong.
    pub fn start(records: &str) -> Self {
        let program = find("knotd", "knot");
        // Another process may take the port between choosing it and knotd binding it: then with another one.
        for _ in 0..5 {
            let (folder, address) = (tempfile::tempdir().expect("a temporary folder"), free_address());
            write(&folder, "knot.conf", &configuration(&folder.path().display().to_string(), address));
            write(&folder, "zone", &zone(1, records));
            let mut command = Command::new(&program);
            command.arg("-c").arg(folder.path().join("knot.conf"));
            let mut running = Running::start(command);
            if running.ready("answered", || answers(address)) {
                return Self { running, address, folder };
            }
            let taken = running.output().iter().any(|line| line.contains("address already in use"));
            assert!(taken, "{running} does not start");
        }
        panic!("knotd found its port taken five times");
    }

    /// From now on these are the records. `serial` has to be larger each time, and larger than 1.
    ///
    /// # Panics
    ///
    /// knotc is not installed, or the records are wrong.
    pub fn change(&self, serial: u32, records: &str) {
        write(&self.folder, "zone", &zone(serial, records));
        let mut command = Command::new(find("knotc", "knot"));
        command.arg("-b").arg("-s").arg(self.folder.path().join("control")).args(["zone-reload", "example.test"]);
        let output = command.output().expect("knotc runs");
        assert!(output.status.success(), "knotc: {output:?}");
    }
}

fn write(folder: &TempDir, name: &str, text: &str) {
    fs::write(folder.path().join(name), text).expect("a file in a folder of ours");
}

/// Nothing is written outside of `path`, and nothing asks for more rights than the test has.
fn configuration(path: &str, address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!(
        "server:\n  rundir: \"{path}\"\n  listen: {ip}@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         log:\n  - target: stderr\n    any: info\n\
         control:\n  listen: \"{path}/control\"\n\
         database:\n  storage: \"{path}\"\n\
         zone:\n  - domain: example.test\n    storage: \"{path}\"\n    file: zone\n    zonefile-sync: -1\n    journal-content: none\n"
    )
}

fn zone(serial: u32, records: &str) -> String {
    format!("$ORIGIN example.test.\n$TTL 1\n@ SOA ns admin {serial} 60 60 600 1\n@ NS ns\nns A 127.0.0.1\n{records}\n")
}

/// Whether a server there answers a question for `example.test`.
fn answers(address: SocketAddr) -> bool {
    const QUESTION: &[u8] = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x07example\x04test\0\0\x06\0\x01";
    let ask = || {
        let socket = UdpSocket::bind((address.ip(), 0))?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        socket.send(QUESTION)?;
        let mut reply = [0; 512];
        // No error, and at least one answer: the zone is loaded.
        socket.recv(&mut reply).map(|len| len > 8 && reply[3] & 0xf == 0 && reply[7] > 0)
    };
    ask().unwrap_or(false)
}
