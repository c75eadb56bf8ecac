//! The options that were typed, for what they override in a file.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};

use super::{GroupArgs, ListenerArgs};
use crate::config::{Typed, Word};

/// Sorts the options that were typed by the tables that they are for.
pub(super) fn typed(command: &Command, matches: &ArgMatches) -> Typed {
    let (of_listener, of_group) = (longs::<ListenerArgs>(), longs::<GroupArgs>());
    let mut typed = Typed::default();
    for arg in command.get_arguments() {
        let (Some(long), id) = (arg.get_long(), arg.get_id().as_str()) else { continue };
        let known = long != "config" && matches.try_contains_id(id).unwrap_or_default();
        if !known || matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let values = matches.get_raw(id).into_iter().flatten();
        let values: Vec<_> = values.map(|value| value.to_string_lossy().into_owned()).collect();
        let word = Word { option: format!("--{long}"), value: values.join(",") };
        let table = if of_listener.iter().any(|known| known == long) {
            &mut typed.listener
        } else if of_group.iter().any(|known| known == long) {
            &mut typed.group
        } else {
            &mut typed.process
        };
        table.push(word);
    }
    typed
}

fn longs<A: Args>() -> Vec<String> {
    let command = A::augment_args(Command::new(""));
    command.get_arguments().filter_map(clap::Arg::get_long).map(str::to_owned).collect()
}
