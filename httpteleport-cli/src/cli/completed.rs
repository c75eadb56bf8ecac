//! What a shell offers behind an option: the few words that it takes, paths, or nothing.

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, ValueHint};

const COMPRESS: &[&str] = &["zstd", "zstd-small", "zstd-max", "lz4", "none", "flate", "snappy"];

/// Options that take one of a few words, as their readers have them.
const WORDS: &[(&str, &[&str])] = &[
    ("acme-challenge", &["tls-alpn", "http"]),
    ("in-compress", COMPRESS),
    ("forwarded", &["x", "standard", "both", "none"]),
    ("out-proxy-protocol", &["1", "2"]),
    ("out-compress", COMPRESS),
    ("out-address-family", &["any", "ipv4", "ipv6"]),
    ("wire", &["auto", "classic", "framed"]),
    ("access-log-format", &["combined", "json"]),
    ("log-format", &["text", "json"]),
    ("log-level", &["off", "error", "warn", "info", "debug", "trace"]),
];

/// The command as the scripts for shells should know it. For these alone: what is typed is read, and refused, by the readers of the options.
pub(super) fn completed(command: Command) -> Command {
    let command = command.mut_args(arg);
    command.mut_subcommands(|command| command.mut_args(arg))
}

fn arg(arg: Arg) -> Arg {
    let is_shell = !arg.get_possible_values().is_empty();
    match words(&arg) {
        _ if is_shell || !arg.get_action().takes_values() => arg,
        Some(words) => arg.value_parser(PossibleValuesParser::new(words)),
        None => {
            let hint = hint(&arg);
            arg.value_hint(hint)
        }
    }
}

fn words(arg: &Arg) -> Option<&'static [&'static str]> {
    if is_of(arg, "BOOL") {
        return Some(&["true", "false"]);
    }
    let long = arg.get_long()?;
    WORDS.iter().find(|(name, _)| *name == long).map(|(_, words)| *words)
}

fn hint(arg: &Arg) -> ValueHint {
    if is_of(arg, "FILE") || is_of(arg, "FILE[,FILE...]") || arg.get_long() == Some("handover") {
        ValueHint::FilePath
    } else if is_of(arg, "FOLDER") {
        ValueHint::DirPath
    } else {
        ValueHint::Other
    }
}

/// Whether that is what its value is called.
fn is_of(arg: &Arg, name: &str) -> bool {
    let id = arg.get_id().as_str().to_ascii_uppercase();
    match arg.get_value_names() {
        Some(names) => names.iter().any(|known| known == name),
        None => arg.is_positional() && id.trim_end_matches('S') == name,
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::{Cli, Stop, parse};

    /// The words that a reader names which is given none of them.
    fn told(option: &str) -> Option<Vec<String>> {
        let line = ["httptp".to_owned(), format!("--{option}=bogus")];
        let Err(Stop::Usage(lines)) = parse(line.map(OsString::from)) else { return None };
        let (_, list) = lines.first()?.split_once(" bogus: use ")?;
        Some(list.replace(" or ", ", ").split(", ").map(str::to_owned).collect())
    }

    #[test]
    fn the_words_are_those_that_the_readers_take() {
        for arg in Cli::command().get_arguments().filter(|arg| arg.get_action().takes_values()) {
            let option = arg.get_long().expect("all have one");
            let words = words(arg).map(|words| words.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(words, told(option), "--{option}");
        }
    }
}
