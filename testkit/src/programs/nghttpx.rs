//! nghttpx, a proxy that nobody here wrote and that speaks HTTP/2.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::{Running, find, free_address};
use crate::tls::Identity;

/// A running nghttpx; it goes when this is dropped.
#[derive(Debug)]
pub struct Nghttpx {
    /// The process; first, so that it is gone before its folder.
    pub running: Running,
    /// Where it listens.
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Nghttpx {
    /// Starts one before a server of HTTP/1.1, and waits until it accepts; with TLS if it gets a certificate. It speaks HTTP/2 with
    /// clients that know or negotiate that, else HTTP/1.1, and its `Via` tells the server which.
    ///
    /// # Panics
    ///
    /// nghttpx is not installed, or does not start.
    pub fn start(server: SocketAddr, identity: Option<&Identity>) -> Self {
        let program = find("nghttpx", "nghttp2-proxy");
        // Another process may take the port between choosing it and nghttpx binding it: then with another one.
        for _ in 0..5 {
            let (folder, address) = (tempfile::tempdir().expect("a temporary folder"), free_address());
            let mut command = Command::new(&program);
            let tls = if identity.is_some() { "" } else { ";no-tls" };
            // A configuration file of this machine must not count.
            command
                .arg("--conf=/dev/null")
                .arg("--workers=1")
                .arg("--single-process")
                .arg("--errorlog-file=/dev/stderr");
            command.arg(format!("--frontend={},{}{tls}", address.ip(), address.port()));
            command.arg(format!("--backend={},{}", server.ip(), server.port()));
            if let Some(identity) = identity {
                let [key, cert] =
                    [("key.pem", &identity.key_pem), ("cert.pem", &identity.cert_pem)].map(|(name, pem)| {
                        fs::write(folder.path().join(name), pem).expect("a file in a folder of ours");
                        folder.path().join(name)
                    });
                command.arg(key).arg(cert);
            }
            let mut running = Running::start(command);
            if running.accepts(address) {
                return Self { running, address, _folder: folder };
            }
            let taken = running.output().iter().any(|line| line.contains("ddress already in use"));
            assert!(taken, "{running} does not start");
        }
        panic!("nghttpx found its port taken five times");
    }
}
