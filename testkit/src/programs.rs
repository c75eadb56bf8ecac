//! Real programs as children of a test: on loopback, on free ports, never outliving the test.
//!
//! A program that is not installed fails the test with the name of its Debian package; `cargo xtask test` gets them all.

mod apache;
mod curl;
mod haproxy;
mod knot;
mod nghttpx;
mod nginx;
mod pebble;
mod python;
mod running;

pub use apache::Apache;
pub use curl::{Curl, CurlOutput};
pub use haproxy::Haproxy;
pub use knot::Knot;
pub use nghttpx::Nghttpx;
pub use nginx::{Listen, Nginx};
pub use pebble::Pebble;
pub use python::PythonServer;
pub use running::Running;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

/// How long a program may take to start, to stop or to answer before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A loopback address whose port was free a moment ago. Prefer port 0 where the program can tell which it got: another
/// process may take this one in between.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
    listener.local_addr().expect("the address just bound")
}

/// Where a program is: in `PATH`, or where Debian keeps servers; `None` when it is nowhere.
pub fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Where a program is.
///
/// # Panics
///
/// It is nowhere; the message says which package has it.
fn find(program: &str, package: &str) -> PathBuf {
    installed(program).unwrap_or_else(|| {
        panic!("{program} is not installed: `cargo xtask test` gets it, or `apt-get install {package}`")
    })
}
