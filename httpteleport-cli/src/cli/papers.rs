//! What a package of the program brings along, made from its options: the manual page, and completions for shells.

use clap::Command;
use clap_complete::{Shell, generate};

use super::completed::completed;

mod manual;

pub(super) use manual::manual;

/// A script that completes the program's options and their values in a shell.
pub(super) fn completions(command: Command, shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    generate(shell, &mut completed(command), "httptp", &mut script);
    if shell == Shell::Fish { for_fish(&String::from_utf8_lossy(&script)).into_bytes() } else { script }
}

/// What the library leaves out for fish: it takes a line for one that cannot be when an option stands last whose value is asked for, and offers no
/// values but those of options.
fn for_fish(script: &str) -> String {
    const READ: &str = "    argparse -s (__fish_httptp_global_optspecs) -- $cmd 2>/dev/null\n";
    const READ_WITHOUT_LAST: &str = "    or argparse -s (__fish_httptp_global_optspecs) -- $cmd[1..-2] 2>/dev/null\n";
    const SHELLS: &str = "\
complete -c httptp -n \"__fish_httptp_using_subcommand completions\" -f -a \"bash elvish fish powershell zsh\"\n";
    script.replacen(READ, &format!("{READ}{READ_WITHOUT_LAST}"), 1) + SHELLS
}
