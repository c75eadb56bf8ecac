//! `cargo xtask fuzz`: fuzzes each target for real, and keeps what it finds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{output, root, run, status, succeeds};

/// How long each target runs unless told otherwise.
pub(crate) const DEFAULT_SECONDS: u64 = 30;

/// Runs every target for `seconds`; inputs that break one are moved into its committed corpus.
///
/// # Errors
///
/// The nightly toolchain is missing, a target does not build, or one was broken; the error names the inputs.
pub(crate) fn run_targets(seconds: u64) -> Result<()> {
    provide()?;
    let targets = targets()?;
    ensure!(!targets.is_empty(), "fuzz/Cargo.toml names no target");
    let mut found = Vec::new();
    for target in &targets {
        println!("\n--- {target}, {seconds} s");
        found.extend(fuzz(target, seconds)?);
    }
    if found.is_empty() {
        println!("\nnothing found: {}, each fuzzed for {seconds} s", targets.join(", "));
        return Ok(());
    }
    bail!("found, and put into the corpus: `cargo xtask test` fails until these are mended\n  {}", found.join("\n  "))
}

/// Makes sure of the nightly toolchain and of cargo-fuzz.
fn provide() -> Result<()> {
    let nightly = succeeds(Command::new("rustc").arg("+nightly").arg("--version"));
    ensure!(nightly, "fuzzing needs the nightly toolchain: rustup toolchain install nightly");
    if !succeeds(&mut nightly_cargo(["fuzz", "--version"])) {
        println!("Installing cargo-fuzz, which takes some minutes");
        run(&mut nightly_cargo(["install", "--locked", "cargo-fuzz"]))?;
    }
    Ok(())
}

/// `cargo +nightly ARGUMENTS` in the workspace's root: rustup's cargo, not the one that runs this.
fn nightly_cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new("cargo");
    // Set by the cargo around us; they would choose its toolchain again.
    command.env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
    command.arg("+nightly").args(arguments).current_dir(root());
    command
}

fn targets() -> Result<Vec<String>> {
    let list = output(&mut nightly_cargo(["fuzz", "list"]))?;
    Ok(String::from_utf8(list)?.split_whitespace().map(str::to_owned).collect())
}

/// Fuzzes one target; what breaks it, as paths in the committed corpus.
fn fuzz(target: &str, seconds: u64) -> Result<Vec<String>> {
    let corpus = root().join("fuzz/corpus").join(target);
    let artifacts = root().join("fuzz/artifacts").join(target);
    // New inputs go into the first folder: they widen what later runs know, but are nothing to commit.
    let scratch = root().join("fuzz/target/corpus").join(target);
    for folder in [&artifacts, &scratch, &corpus] {
        fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    }
    let before = files(&artifacts)?;

    let mut command = nightly_cargo(["fuzz", "run", target]);
    command.arg(&scratch).arg(&corpus);
    command.arg("--").args([&format!("-max_total_time={seconds}"), "-timeout=10", "-rss_limit_mb=2048"]);
    let status = status(&mut command)?;

    let new: Vec<PathBuf> = files(&artifacts)?.into_iter().filter(|file| !before.contains(file)).collect();
    ensure!(
        status.success() || !new.is_empty(),
        "the target {target} failed without an input to show for it ({status})"
    );
    new.iter().map(|artifact| keep(artifact, target, &corpus)).collect()
}

/// Moves an artifact into the corpus. libFuzzer names it after its kind and its SHA-1: the same input, the same name.
fn keep(artifact: &Path, target: &str, corpus: &Path) -> Result<String> {
    let name = artifact.file_name().context("an artifact is a file")?;
    fs::copy(artifact, corpus.join(name)).with_context(|| format!("copying {}", artifact.display()))?;
    // Found again, it has to be new again.
    fs::remove_file(artifact).with_context(|| format!("removing {}", artifact.display()))?;
    Ok(format!("fuzz/corpus/{target}/{}", name.display()))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    Ok(entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?)
}
