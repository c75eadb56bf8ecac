//! nginx, as an origin that nobody here wrote.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{Running, find, free_address};
use crate::tls::Identity;

/// Where an [`Nginx`] listens.
#[derive(Clone, Copy)]
pub enum Listen<'a> {
    /// A free loopback port, clear text.
    Tcp,
    /// A free loopback port, clear text that is HTTP/2 with prior knowledge.
    Http2,
    /// A free loopback port, TLS with this certificate.
    Tls(&'a Identity),
    /// A unix socket in its folder, clear text.
    Unix,
}

/// A running nginx: one process, serving the files of a folder of its own; both go when it is dropped.
#[derive(Debug)]
pub struct Nginx {
    /// The process; first, so that it is gone before its folder.
    pub running: Running,
    /// The host and port; `None` for a unix socket.
    pub address: Option<SocketAddr>,
    folder: TempDir,
}

impl Nginx {
    /// Starts one and waits until it accepts. `server` goes into the `server` block of its configuration, after a
    /// `root` that serves [`file`](Nginx::file)s: `location = /no { return 404; }` for instance.
    ///
    /// # Panics
    ///
    /// nginx is not installed, or says that the configuration is wrong.
    pub fn start(listen: Listen<'_>, server: &str) -> Self {
        Self::start_with(listen, "", server)
    }

    /// The same, with `http` in the `http` block, before the server: `upstream far { .. }` for instance.
    ///
    /// # Panics
    ///
    /// As [`start`](Nginx::start).
    pub fn start_with(listen: Listen<'_>, http: &str, server: &str) -> Self {
        Self::start_by(|program| Command::new(program), listen, http, server)
    }

    /// The same, with the command that `command` makes of where nginx is: one that starts it by another program, say.
    ///
    /// # Panics
    ///
    /// As [`start`](Nginx::start).
    pub fn start_by(command: impl Fn(&Path) -> Command, listen: Listen<'_>, http: &str, server: &str) -> Self {
        let program = find("nginx", "nginx-light");
        // Another process may take the port between choosing it and nginx binding it: then with another one.
        for _ in 0..5 {
            if let Some(nginx) = Self::try_start(command(&program), listen, http, server) {
                return nginx;
            }
        }
        panic!("nginx found its port taken five times");
    }

    fn try_start(mut command: Command, listen: Listen<'_>, http: &str, server: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for inner in ["www", "tmp"] {
            fs::create_dir(folder.path().join(inner)).expect("a folder in a folder of ours");
        }
        let address = (!matches!(listen, Listen::Unix)).then(free_address);
        let path = folder.path().display();
        let listen = match (listen, address) {
            (Listen::Tls(identity), Some(address)) => {
                write(&folder, "cert.pem", identity.cert_pem.as_bytes());
                write(&folder, "key.pem", identity.key_pem.as_bytes());
                format!("listen {address} ssl; ssl_certificate {path}/cert.pem; ssl_certificate_key {path}/key.pem;")
            }
            (Listen::Http2, Some(address)) => format!("listen {address} http2;"),
            (_, Some(address)) => format!("listen {address};"),
            (_, None) => format!("listen unix:{path}/socket;"),
        };
        write(&folder, "nginx.conf", configuration(&path.to_string(), &listen, http, server).as_bytes());

        command.arg("-p").arg(folder.path()).args(["-e", "stderr", "-c"]).arg(folder.path().join("nginx.conf"));
        let mut running = Running::start(command);
        let accepts = match address {
            Some(address) => running.accepts(address),
            None => {
                let socket = folder.path().join("socket");
                running.ready("accepted on its unix socket", || UnixStream::connect(&socket).is_ok())
            }
        };
        if !accepts {
            let taken = running.output().iter().any(|line| line.contains("Address already in use"));
            assert!(taken, "{running} does not start");
            return None;
        }
        Some(Self { running, address, folder })
    }

    /// Its address: `127.0.0.1:4711`.
    ///
    /// # Panics
    ///
    /// It listens on a unix socket.
    pub fn authority(&self) -> String {
        self.address.expect("an nginx on TCP").to_string()
    }

    /// The unix socket of one started with [`Listen::Unix`].
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Puts a file where `/NAME` serves it.
    pub fn file(&self, name: &str, bytes: &[u8]) {
        write(&self.folder, &format!("www/{name}"), bytes);
    }
}

fn write(folder: &TempDir, name: &str, bytes: &[u8]) {
    fs::write(folder.path().join(name), bytes).expect("a file in a folder of ours");
}

/// One process, nothing written outside of `path`, large bodies welcome.
fn configuration(path: &str, listen: &str, http: &str, server: &str) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {path}/tmp/{kind};\n"))
        .concat();
    format!(
        "daemon off;\n\
         master_process off;\n\
         worker_processes 1;\n\
         pid {path}/pid;\n\
         error_log stderr warn;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n\
         {temporary}\
         \x20 access_log off;\n\
         \x20 default_type application/octet-stream;\n\
         \x20 client_max_body_size 64m;\n\
         \x20 keepalive_requests 1000000;\n\
         \x20 {http}\n\
         \x20 server {{\n\
         \x20   {listen}\n\
         \x20   root {path}/www;\n\
         \x20   {server}\n\
         \x20 }}\n\
         }}\n"
    )
}
