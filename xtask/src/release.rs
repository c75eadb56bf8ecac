//! `cargo xtask check-release`: the static binary that packages bring, built as `packaging/Dockerfile` builds it, and run.

mod node;
mod origin;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use self::node::Node;
use self::origin::Origin;
use crate::process::{cargo, output, root, run};

/// The flag of the Dockerfile. The target is named as well: build scripts and macros, which cannot be static, have no flags then.
const FLAGS: &str = "-C target-feature=+crt-static";

/// What takes milliseconds gets so long, as machines may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// Builds the binary, without optimisation, as that changes nothing about what it is linked with, and looks at it: it needs no library,
/// tells its version, checks a file, and carries a request over TLS and teleport.
///
/// # Errors
///
/// The first of these that is not so.
pub(crate) fn check() -> Result<()> {
    let binary = build()?;
    ensure_static(&binary)?;
    let folder = root().join("target/check-release");
    // What an earlier run has left; its certificates may have ended since.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    ensure_version(&binary)?;
    ensure_checks(&binary, &folder)?;
    ensure_carries(&binary, &folder)?;
    println!("{}: is static, starts, and carries a request over TLS and teleport", binary.display());
    Ok(())
}

fn build() -> Result<PathBuf> {
    let tuple = output(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let tuple = String::from_utf8(tuple)?.trim().to_owned();
    let mut build = cargo(["build", "--locked", "--package", "httpteleport-cli", "--target", &tuple]);
    // Nobody debugs it, and linking takes less without.
    run(build.env("RUSTFLAGS", FLAGS).env("CARGO_PROFILE_DEV_DEBUG", "none"))?;
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(folder.join(tuple).join("debug/httptp"))
}

/// A shared library would not be there in an image that holds nothing else.
fn ensure_static(binary: &Path) -> Result<()> {
    let told = Command::new("ldd").arg(binary).output().context("`ldd` cannot be started")?;
    let told = [told.stdout, told.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    ensure!(is_static(&told), "{} is not static; ldd says:\n{told}", binary.display());
    Ok(())
}

/// Whether that is what ldd says of a static binary, which may lie anywhere in memory or not.
fn is_static(told: &str) -> bool {
    ["statically linked", "not a dynamic executable"].iter().any(|words| told.contains(words))
}

fn ensure_version(binary: &Path) -> Result<()> {
    let told = output(Command::new(binary).arg("--version"))?;
    let told = String::from_utf8_lossy(&told);
    let version = told.strip_prefix("httptp ").and_then(|rest| rest.strip_suffix('\n'));
    let is_one =
        version.is_some_and(|version| version.split('.').count() == 3 && !version.contains(char::is_whitespace));
    ensure!(is_one, "--version prints {told:?}, and not httptp with a version");
    Ok(())
}

fn ensure_checks(binary: &Path, folder: &Path) -> Result<()> {
    let file = folder.join("web.toml");
    std::fs::write(&file, "[listener.web]\nurl = \"http://:80\"\n[group.far]\nurls = \"http://10.0.0.1\"\n")?;
    let told = output(Command::new(binary).arg("check").arg(&file))?;
    let told = String::from_utf8_lossy(&told);
    ensure!(told.contains("is fine: 1 listener, 1 group, 1 route"), "check prints {told:?}");
    Ok(())
}

/// Two nodes with certificates of their own making, and an origin behind them, which is found by its name.
fn ensure_carries(binary: &Path, folder: &Path) -> Result<()> {
    let certs = folder.join("certs");
    output(Command::new(binary).args(["cert", "--for", "localhost", "--dir"]).arg(&certs))?;
    let file = |name: &str| certs.join(name).to_string_lossy().into_owned();
    let (ca, cert, key) = (file("ca.crt"), file("far.crt"), file("far.key"));
    let (near_cert, near_key) = (file("near.crt"), file("near.key"));
    let origin = Origin::start()?;
    let out = format!("http://localhost:{}", origin.port());
    let trusts = ["--in-tls-client-ca", &ca, "--in-tls-client-names", "near"];
    let shows = ["--in-tls-cert", &cert, "--in-tls-key", &key];
    let far = Node::start(binary, "teleports://127.0.0.1:0", &out, &[trusts, shows].concat())?;
    let out = format!("teleports://localhost:{}", far.port());
    let near_options = ["--out-ca", &ca, "--out-tls-cert", &near_cert, "--out-tls-key", &near_key];
    let near = Node::start(binary, "http://127.0.0.1:0", &out, &near_options)?;
    let reply = ask(near.port())?;
    ensure!(reply.starts_with("HTTP/1.1 200 ") && reply.ends_with(origin::BODY), "the reply is {reply:?}");
    Ok(())
}

fn ask(port: u16) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("the near node cannot be reached")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /some HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).context("no whole reply of the near node")?;
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_tells_a_static_binary_from_others() {
        assert!(is_static("\tstatically linked\n") && is_static("\tnot a dynamic executable\n"));
        assert!(!is_static("\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f2a)\n"));
    }
}
