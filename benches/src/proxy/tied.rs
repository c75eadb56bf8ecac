//! Programs that end with this one, however it ends.
//!
//! What is dropped ends its program, but nothing is dropped by a SIGKILL. The kernel ends a process with its parent where
//! that process asked for it, and keeps to that when the process becomes another program. So this program is started
//! again, asks, and becomes the one that is wanted.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::system::end_with_parent;

/// What the first argument is when this program is to become another one.
const BECOME: &str = "--become";

/// The command that runs `program`; its arguments are to be added.
///
/// It is for the program `proxy`, which begins with [`become_another`], and for its main thread: to the kernel that is the
/// parent.
#[must_use]
pub fn tied(program: &Path) -> Command {
    // Not `current_exe`: that would be another file if this one were built anew meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg(BECOME).arg(program);
    command
}

/// Becomes the program that the arguments name, if they are those of [`tied`].
///
/// # Errors
///
/// It cannot.
pub fn become_another(mut arguments: impl Iterator<Item = OsString>) -> Result<()> {
    if arguments.nth(1).is_none_or(|first| first != BECOME) {
        return Ok(());
    }
    let program = arguments.next().context("--become wants a program")?;
    end_with_parent()?;
    let error = Command::new(&program).args(arguments).exec();
    Err(error).with_context(|| format!("{} cannot be started", program.display()))
}
