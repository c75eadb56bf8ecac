//! `httptp demo`: realistic traffic through two nodes on this machine, and what it saves.

use anyhow::bail;

use crate::cli::DemoArgs;

pub mod traffic;

/// Runs the demo.
///
/// # Errors
///
/// Always, so far: the teleport side is still to come.
pub(crate) fn run(options: &DemoArgs) -> anyhow::Result<()> {
    bail!("the demo is not built yet ({} s, keep: {})", options.seconds, options.keep)
}
