//! Options from the environment: `HTTPTP_IN_MAX_BODY_SIZE` is `--in-max-body-size`. `HTTPTP_LOG` is `--log-level`.

use std::ffi::{OsStr, OsString};

use clap::Command;

use crate::go_flags::Spelt;

/// Adds the options that the environment sets and the command line does not, and tells under which names it does.
///
/// Other variables that begin like these are none of ours: some systems set such of their own.
///
/// # Errors
///
/// Values that are not UTF-8, each a line.
pub(super) fn add(
    command: &Command,
    mut args: Vec<OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<(Vec<OsString>, Vec<Spelt>), Vec<String>> {
    let is_command = |name: &OsStr| command.get_subcommands().any(|known| name == known.get_name());
    if args.get(1).is_some_and(|first| is_command(first)) {
        return Ok((args, Vec::new()));
    }
    let (mut words, mut spelt, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for long in command.get_arguments().filter_map(clap::Arg::get_long) {
        let name = match long {
            // As others have it.
            "log-level" => "HTTPTP_LOG".to_owned(),
            long => format!("HTTPTP_{}", long.to_ascii_uppercase().replace('-', "_")),
        };
        let option = format!("--{long}");
        let Some(value) = variable(&name).filter(|_| !is_given(&args, &option)) else { continue };
        match value.to_str() {
            Some(value) => {
                words.push(format!("{option}={value}").into());
                spelt.push((option, name));
            }
            None => faults.push(format!("{name}: its value is not UTF-8")),
        }
    }
    let at = 1.min(args.len());
    args.splice(at..at, words);
    if faults.is_empty() { Ok((args, spelt)) } else { Err(faults) }
}

fn is_given(args: &[OsString], option: &str) -> bool {
    args.iter().any(|arg| {
        arg.to_str()
            .and_then(|arg| arg.strip_prefix(option))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(typed: &[&str]) -> String {
        let command = Command::new("x")
            .subcommand(Command::new("demo"))
            .args(["in", "in-delay", "out"].map(|long| clap::Arg::new(long).long(long)));
        let set = |name: &str| match name {
            "HTTPTP_IN" => Some("a".into()),
            "HTTPTP_IN_DELAY" => Some("b".into()),
            "HTTPTP_SERVICE_HOST" => panic!("nobody asked for that"),
            _ => None,
        };
        let (args, spelt) = add(&command, typed.iter().map(OsString::from).collect(), set).expect("UTF-8");
        assert!(
            spelt.iter().all(|(option, _)| args.iter().any(|arg| arg.to_str().expect("UTF-8").starts_with(option)))
        );
        args.iter().map(|arg| arg.to_str().expect("UTF-8")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_typed_wins() {
        assert_eq!(added(&["x"]), "x --in=a --in-delay=b");
        assert_eq!(added(&["x", "--in", "c"]), "x --in-delay=b --in c");
        assert_eq!(added(&["x", "--in-delay=c"]), "x --in=a --in-delay=c");
        assert_eq!(added(&["x", "--in=", "--in-delay"]), "x --in= --in-delay");
        assert_eq!(added(&["x", "demo"]), "x demo", "it has options of its own");
    }
}
