//! `cargo xtask soak`: the framed wire over real sockets, for minutes.

use anyhow::Result;

use crate::process::{cargo, run};

/// Builds the program of benches/soak as users build ours, and runs it with these options.
///
/// # Errors
///
/// It cannot be built, or found something wrong, which it has told.
pub(crate) fn soak(options: &[&str]) -> Result<()> {
    let mut command = cargo(["run", "--release", "--quiet", "-p", "soak", "--"]);
    run(command.args(options))
}
