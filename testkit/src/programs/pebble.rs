//! Pebble, an authority that speaks ACME, with names of its own that all lead to this machine.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{Curl, Running, find, free_address};
use crate::tls::Ca;

/// A running Pebble and its server of names.
pub struct Pebble {
    running: Running,
    _names: Running,
    folder: TempDir,
    directory: SocketAddr,
    management: SocketAddr,
    names: SocketAddr,
    bad_nonces: u8,
}

const CONFIG: &str = "config.json";

impl Pebble {
    /// Starts one that looks for proofs at these ports of 127.0.0.1, whatever the name, by HTTP and by TLS, and makes certificates that
    /// are good for so many seconds.
    ///
    /// # Panics
    ///
    /// The programs are not installed, or do not start.
    pub fn start(http_port: u16, tls_port: u16, seconds: u64) -> Self {
        Self::refusing_nonces(http_port, tls_port, seconds, 0)
    }

    /// The same, but so many percent of good nonces are refused.
    ///
    /// # Panics
    ///
    /// As [`Pebble::start`].
    pub fn refusing_nonces(http_port: u16, tls_port: u16, seconds: u64, percent: u8) -> Self {
        // Another process may take a port between choosing it and binding it: then with others.
        let started = (0..5).find_map(|_| Self::try_to_start(http_port, tls_port, seconds, percent));
        started.expect("ports that nobody takes in between")
    }

    fn try_to_start(http_port: u16, tls_port: u16, seconds: u64, bad_nonces: u8) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [directory, management, names, control] = [(); 4].map(|()| free_address());
        let ca = Ca::new();
        let identity = ca.issue(&["127.0.0.1", "localhost"]);
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).expect("a file in a folder of ours");
            file
        };
        write("ca.pem", &ca.pem());
        let config = serde_json::json!({ "pebble": {
            "listenAddress": directory.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": write("cert.pem", &identity.cert_pem),
            "privateKey": write("key.pem", &identity.key_pem),
            "httpPort": http_port,
            "tlsPort": tls_port,
            "certificateValidityPeriod": seconds,
        }});
        let config = write(CONFIG, &config.to_string());

        let mut command = Command::new(find("pebble-challtestsrv", "pebble"));
        command.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]);
        command.args(["-dns01", &names.to_string(), "-management", &control.to_string()]);
        let mut served = Running::start(command);
        let mut running = run(&config, names, bad_nonces);
        let ready = served.accepts(control) && running.accepts(directory) && running.accepts(management);
        let taken = |of: &Running| of.output().iter().any(|line| line.contains("address already in use"));
        assert!(ready || taken(&served) || taken(&running), "{served} or {running} does not start");
        ready.then_some(Self { running, _names: served, folder, directory, management, names, bad_nonces })
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.directory)
    }

    /// The file of the authority that vouches for Pebble itself.
    ///
    /// # Panics
    ///
    /// The folder's name is not UTF-8.
    pub fn trust(&self) -> String {
        self.folder.path().join("ca.pem").to_str().expect("UTF-8").to_owned()
    }

    /// The authority that its certificates are of, PEM.
    ///
    /// # Panics
    ///
    /// It does not tell.
    pub async fn root(&self) -> String {
        let curl = Curl::new(&format!("https://{}/roots/0", self.management)).args(["--cacert", &self.trust()]);
        let reply = curl.run().await;
        assert_eq!((reply.exit, reply.status), (0, 200), "{}", reply.stderr);
        String::from_utf8(reply.body).expect("PEM")
    }

    /// How often it was asked for another certificate.
    pub fn orders(&self) -> usize {
        self.running.output().iter().filter(|line| line.contains("POST /order-plz")).count()
    }

    /// Starts it anew where it was, and without a memory: accounts are forgotten, and the root is another one.
    ///
    /// # Panics
    ///
    /// It does not start.
    pub fn start_again(&mut self) {
        self.kill();
        self.running = run(&self.folder.path().join(CONFIG), self.names, self.bad_nonces);
        assert!(self.running.accepts(self.directory) && self.running.accepts(self.management), "{}", self.running);
    }

    /// Ends it; its address is nobody's then.
    pub fn kill(&mut self) {
        self.running.kill();
    }
}

fn run(config: &Path, names: SocketAddr, bad_nonces: u8) -> Running {
    let mut command = Command::new(find("pebble", "pebble"));
    command.args(["-dnsserver", &names.to_string(), "-config"]).arg(config);
    // No pauses before it looks, and no refusals for the sake of it but those that were asked for.
    command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", bad_nonces.to_string());
    Running::start(command)
}
