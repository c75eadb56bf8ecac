//! What a package of the program brings along, made from its options: the manual page, and completions for shells.

use clap::Command;
use clap_complete::{Shell, generate};
use clap_mangen::Man;

/// The manual page, as `man` reads it.
pub(super) fn manual(command: Command) -> Vec<u8> {
    let mut page = Vec::new();
    // Writing to memory does not fail.
    let _ = Man::new(command).render(&mut page);
    page
}

/// A script that completes the program's options in a shell.
pub(super) fn completions(mut command: Command, shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    generate(shell, &mut command, "httptp", &mut script);
    script
}
