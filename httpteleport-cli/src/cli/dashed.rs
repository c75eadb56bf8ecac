//! Values that begin with a dash, which clap would take for options: `--in-max-body-size -1`. None of them is right, but whoever wrote
//! it should hear what the option takes.

use std::ffi::OsString;

use clap::{Arg, Command};

/// Puts numbers below zero to the options before them. No option begins with a dash and a digit.
pub(super) fn joined(command: &Command, args: Vec<OsString>) -> Vec<OsString> {
    let named = args.get(1).and_then(|first| command.find_subcommand(first)).unwrap_or(command);
    let mut joined: Vec<OsString> = Vec::with_capacity(args.len());
    let mut args = args.into_iter();
    for arg in args.by_ref() {
        if arg == "--" {
            joined.push(arg);
            break;
        }
        match joined.last_mut() {
            Some(option) if is_below_zero(&arg) && waits_for_value(named, option) => {
                option.push("=");
                option.push(arg);
            }
            _ => joined.push(arg),
        }
    }
    joined.extend(args);
    joined
}

fn is_below_zero(arg: &OsString) -> bool {
    let number = arg.to_str().and_then(|arg| arg.strip_prefix('-'));
    number.is_some_and(|number| number.trim_start_matches('.').starts_with(|first: char| first.is_ascii_digit()))
}

/// Whether it is the name of an option whose value may stand in the next word.
fn waits_for_value(command: &Command, word: &OsString) -> bool {
    let takes = |arg: &Arg| arg.get_action().takes_values() && !arg.is_require_equals_set();
    let long = word.to_str().and_then(|word| word.strip_prefix("--"));
    command.get_arguments().any(|arg| arg.get_long() == long && long.is_some() && takes(arg))
}
