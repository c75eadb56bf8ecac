//! `cargo xtask check-deps`: what we depend on, held against what we allow.

mod budget;
mod licences;

use anyhow::{Result, bail};

/// Checks licences and the budget, and prints each complaint.
///
/// # Errors
///
/// There is something to complain about, or cargo cannot say what we depend on.
pub(crate) fn check() -> Result<()> {
    let complaints = [licences::check()?, budget::check()?].concat();
    for complaint in &complaints {
        eprintln!("error: {complaint}");
    }
    match complaints.len() {
        0 => Ok(()),
        n => bail!("{n} things to mend in the dependencies"),
    }
}
