//! Apache's web server, as an origin that nobody here wrote.

use std::net::SocketAddr;
use std::process::Command;
use std::{fs, io};

use tempfile::TempDir;

use super::{Running, find, free_address};

/// Where Debian keeps its modules.
const MODULES: &str = "/usr/lib/apache2/modules";

/// A running Apache on a free loopback port: one process, whose folder goes with it when it is dropped.
#[derive(Debug)]
pub struct Apache {
    /// The process; first, so that it is gone before its folder. Its access log is what it prints.
    pub running: Running,
    /// Where it listens.
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Apache {
    /// Starts one with these modules (`proxy` for instance) and waits until it accepts. `server` goes to the end of its
    /// configuration; a `CustomLog /proc/self/fd/1` in it prints a line for each request.
    ///
    /// # Panics
    ///
    /// Apache is not installed, or says that the configuration is wrong.
    pub fn start(modules: &[&str], server: &str) -> Self {
        let program = find("apache2", "apache2");
        // Another process may take the port between choosing it and Apache binding it: then with another one.
        for _ in 0..5 {
            if let Ok(apache) = Self::try_start(Command::new(&program), modules, server) {
                return apache;
            }
        }
        panic!("apache2 found its port taken five times");
    }

    fn try_start(mut command: Command, modules: &[&str], server: &str) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (file, address) = (folder.path().join("httpd.conf"), free_address());
        fs::write(&file, configuration(&folder.path().display().to_string(), address, modules, server))?;
        // -X is one process, in the foreground, that ends when it is killed.
        command.arg("-X").arg("-f").arg(&file);
        let mut running = Running::start(command);
        if running.accepts(address) {
            return Ok(Self { running, address, _folder: folder });
        }
        let taken = running.output().iter().any(|line| line.contains("Address already in use"));
        assert!(taken, "{running} does not start");
        Err(io::ErrorKind::AddrInUse.into())
    }
}

/// One process with threads, nothing written outside of `path`.
fn configuration(path: &str, address: SocketAddr, modules: &[&str], server: &str) -> String {
    let modules: String = ["mpm_event", "authz_core"]
        .iter()
        .chain(modules)
        .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
        .collect();
    format!(
        "ServerRoot {path}\n\
         DefaultRuntimeDir {path}\n\
         PidFile {path}/pid\n\
         DocumentRoot {path}\n\
         ServerName localhost\n\
         Listen {address}\n\
         {modules}\
         # Whom it becomes if it is started by root.\n\
         User www-data\n\
         Group www-data\n\
         ServerLimit 1\n\
         StartServers 1\n\
         ThreadsPerChild 64\n\
         MaxRequestWorkers 64\n\
         KeepAliveTimeout 60\n\
         MaxKeepAliveRequests 0\n\
         ErrorLog /proc/self/fd/2\n\
         {server}\n"
    )
}
