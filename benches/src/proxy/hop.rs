//! Starts the programs of a route, each on a free loopback port, and waits until it accepts.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use testkit::programs::{Listen, Nginx, Running, free_address, installed};

use super::route::{Hop, Route};
use super::tied::tied;
use crate::workload::REPLY;

/// A program that runs until this is dropped.
#[derive(Debug)]
enum Process {
    Nginx(Nginx),
    Other { running: Running, _folder: Option<TempDir> },
}

impl Process {
    fn id(&self) -> u32 {
        match self {
            Self::Nginx(nginx) => nginx.running.id(),
            Self::Other { running, .. } => running.id(),
        }
    }
}

/// A route whose proxies run.
#[derive(Debug)]
pub struct Started {
    /// The name of the route.
    pub name: String,
    /// Where requests go in.
    pub address: SocketAddr,
    processes: Vec<Process>,
}

impl Started {
    /// Starts the proxies of `route`, the last one first, as each needs the address of the next.
    ///
    /// # Panics
    ///
    /// One does not start; the message shows what it printed.
    #[must_use]
    pub fn start(route: &Route, origin: SocketAddr) -> Self {
        let mut started = Self { name: route.name.clone(), address: origin, processes: Vec::new() };
        for hop in route.hops.iter().rev() {
            let (process, address) = start(hop, started.address);
            started.processes.push(process);
            started.address = address;
        }
        started
    }

    /// The process ids of its proxies.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.processes.iter().map(Process::id)
    }
}

/// The origin: answers every path with the text that every bench has for a reply.
///
/// # Panics
///
/// nginx does not start.
#[must_use]
pub fn origin() -> Nginx {
    Nginx::start_by(
        tied,
        Listen::Tcp,
        "",
        &format!("location / {{ default_type text/plain; return 200 \"{REPLY}\"; }}"),
    )
}

/// Programs that are needed and not there, each with what to do about it.
#[must_use]
pub fn missing(httptp: &[&Path]) -> Vec<String> {
    let from_debian = [("wrk", "wrk"), ("nginx", "nginx-light"), ("haproxy", "haproxy")];
    let absent = from_debian.iter().filter(|(program, _)| installed(program).is_none());
    let mut missing: Vec<_> =
        absent.map(|(program, package)| format!("{program}: get it with `apt-get install {package}`")).collect();
    for program in httptp {
        let path = program.display();
        if !program.is_file() {
            missing.push(format!("{path}: build it with `{BUILD}`, or name one with --httptp"));
        } else if !is_httptp(program) {
            missing.push(format!("{path}: is no httptp, which says its name when it is asked for its --version"));
        }
    }
    missing
}

/// What builds this bench and the httptp beside it.
pub const BUILD: &str = "cargo build --release -p benches -p httpteleport-cli";

/// Whether the program says that it is one.
fn is_httptp(program: &Path) -> bool {
    let said = Command::new(program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    said.is_ok_and(|said| said.stdout.starts_with(b"httptp "))
}

fn start(hop: &Hop, target: SocketAddr) -> (Process, SocketAddr) {
    match hop {
        Hop::Nginx => nginx(target),
        Hop::Haproxy { http2_in, http2_out } => haproxy(target, *http2_in, *http2_out),
        Hop::Httptp { program, scheme_in, scheme_out, options } => {
            httptp(program, scheme_in, &format!("{scheme_out}://{target}"), options)
        }
    }
}

fn nginx(target: SocketAddr) -> (Process, SocketAddr) {
    // Without all three it makes a connection for each request.
    let upstream = format!("upstream next {{ server {target}; keepalive 256; keepalive_requests 1000000; }}");
    let server = "location / { proxy_pass http://next; proxy_http_version 1.1; proxy_set_header Connection \"\"; }";
    let nginx = Nginx::start_by(tied, Listen::Tcp, &upstream, server);
    let address = nginx.address.expect("an nginx on TCP");
    (Process::Nginx(nginx), address)
}

fn haproxy(target: SocketAddr, http2_in: bool, http2_out: bool) -> (Process, SocketAddr) {
    let protocol = |http2| if http2 { "proto h2" } else { "" };
    let (bind, server) = (protocol(http2_in), protocol(http2_out));
    // It cannot tell which port the system chose for it, and another process may take a free one first.
    for _ in 0..5 {
        let address = free_address();
        let configuration = format!(
            "global\n  nbthread 1\n  maxconn 4096\n\
             defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n  http-reuse always\n\
             frontend in\n  bind {address} {bind}\n  default_backend out\n\
             backend out\n  server next {target} {server}\n"
        );
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, configuration).expect("a file in a folder of ours");
        let mut command = tied(&installed("haproxy").expect("looked for before"));
        command.arg("-db").arg("-f").arg(&file);
        let mut running = Running::start(command);
        if running.accepts(address) {
            return (Process::Other { running, _folder: Some(folder) }, address);
        }
        let taken = running.output().iter().any(|line| line.contains("in use"));
        assert!(taken, "{running} does not start");
    }
    panic!("haproxy found its port taken five times");
}

/// Starts an httptp with one thread. It says in its first line where it listens.
///
/// # Panics
///
/// It does not start; the message shows what it printed.
#[must_use]
pub fn start_httptp(program: &Path, scheme_in: &str, out: &str, options: &[String]) -> (Running, SocketAddr) {
    let mut command = tied(program);
    command.args(["--in", &format!("{scheme_in}://127.0.0.1:0"), "--out", out, "--threads", "1"]).args(options);
    let running = Running::start(command);
    // httptp: http://127.0.0.1:4711 -> http://127.0.0.1:80
    let begin = format!("httptp: {scheme_in}://");
    let address = running.line("its address", |line| line.strip_prefix(&begin)?.split(' ').next()?.parse().ok());
    (running, address)
}

fn httptp(program: &Path, scheme_in: &str, out: &str, options: &[String]) -> (Process, SocketAddr) {
    let (running, address) = start_httptp(program, scheme_in, out, options);
    (Process::Other { running, _folder: None }, address)
}
