//! The programs that chores run beside our own, from Debian packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{output, succeeds};

/// A program, and the packages that have it, best first.
struct Need {
    program: &'static str,
    packages: &'static [&'static str],
}

/// Programs that one chore needs.
pub(crate) struct Needs {
    /// Who needs them: "the tests need".
    who: &'static str,
    programs: &'static [Need],
}

/// What `cargo xtask test` needs.
pub(crate) const TESTS: Needs = Needs {
    who: "the tests need",
    programs: &[
        Need { program: "curl", packages: &["curl"] },
        Need { program: "nginx", packages: &["nginx-light", "nginx"] },
        Need { program: "apache2", packages: &["apache2"] },
        Need { program: "slowhttptest", packages: &["slowhttptest"] },
        Need { program: "python3", packages: &["python3"] },
        Need { program: "openssl", packages: &["openssl"] },
        Need { program: "haproxy", packages: &["haproxy"] },
        Need { program: "knotd", packages: &["knot"] },
        Need { program: "pebble", packages: &["pebble"] },
        Need { program: "pebble-challtestsrv", packages: &["pebble"] },
        Need { program: "nghttpx", packages: &["nghttp2-proxy"] },
        Need { program: "wrk", packages: &["wrk"] },
        Need { program: "h2load", packages: &["nghttp2-client"] },
        Need { program: "promtool", packages: &["prometheus"] },
        Need { program: "ip", packages: &["iproute2"] },
        Need { program: "nsenter", packages: &["util-linux"] },
        Need { program: "fish", packages: &["fish"] },
        Need { program: "zsh", packages: &["zsh"] },
        Need { program: "man", packages: &["man-db"] },
        Need { program: "systemd-analyze", packages: &["systemd"] },
        Need { program: "systemd-socket-activate", packages: &["systemd"] },
        Need { program: "chromium", packages: &["chromium"] },
        Need { program: "chromedriver", packages: &["chromium-driver"] },
    ],
};

/// What `cargo xtask instructions` needs.
pub(crate) const INSTRUCTIONS: Needs =
    Needs { who: "counting instructions needs", programs: &[Need { program: "valgrind", packages: &["valgrind"] }] };

/// Makes sure that all programs are there: installs what is missing if it may.
///
/// # Errors
///
/// Some are missing and cannot be installed from here; the error says which, and how to get them.
pub(crate) fn provide(needs: &Needs) -> Result<()> {
    let missing = needs.missing();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|need| need.program).collect::<Vec<_>>().join(", ");
    let packages = missing.iter().map(|need| need.packages[0]).collect::<Vec<_>>().join(" ");
    if !installed("apt-get") || !is_root() {
        bail!(
            "{} {names}, which this machine does not have\n  \
             on Debian or Ubuntu: sudo apt-get install --no-install-recommends {packages}\n  \
             elsewhere: install what is missing so that it is found in PATH",
            needs.who
        );
    }
    println!("Installing {packages}: {} {names}", needs.who);
    output(&mut apt_get("update"))?;
    for need in missing {
        install(need)?;
    }
    if let Some(need) = needs.missing().first() {
        bail!("{} was installed but is not found in PATH, /usr/sbin or /sbin", need.program);
    }
    Ok(())
}

impl Needs {
    fn missing(&self) -> Vec<&'static Need> {
        self.programs.iter().filter(|need| !installed(need.program)).collect()
    }
}

/// Installs the first of its packages that this release has.
fn install(need: &Need) -> Result<()> {
    let (last, others) = need.packages.split_last().expect("each program has a package");
    for package in others {
        if succeeds(Command::new("apt-cache").args(["show", package])) {
            return install_package(package);
        }
    }
    install_package(last)
}

fn install_package(package: &str) -> Result<()> {
    output(apt_get("install").args(["-y", "--no-install-recommends", package]))?;
    Ok(())
}

/// A quiet apt-get that asks nothing.
fn apt_get(action: &str) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-qq", "-o", "Dpkg::Use-Pty=0", action]);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Whether a program is in `PATH`, or where Debian keeps servers.
fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).any(|file| Path::is_file(&file))
}

fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim_ascii() == b"0")
}
