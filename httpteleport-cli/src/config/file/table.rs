//! A table of a file as options of the command line.

use clap::{ArgMatches, Command};
use toml::de::{DeTable, DeValue};

use super::Found;
use super::kinds::Sort;
use super::stray::{Stray, stray};
use crate::cli;

/// An option with its value: `--in-max-body-size`, `1000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Its long name with its dashes.
    pub(crate) option: String,
    /// What was typed for it.
    pub(crate) value: String,
}

impl Word {
    fn arg(&self) -> String {
        format!("{}={}", self.option, self.value)
    }
}

/// One sort of table: which options may stand in it, and under which keys.
pub(super) struct Kind {
    command: Command,
    /// Each option with its key; longer names first, so that none is taken for the beginning of another.
    keys: Vec<(String, String)>,
    sort: Sort,
}

impl Kind {
    /// A table of the options of a command. Their keys are their names without the prefix; the one that is nothing but the prefix has a
    /// key of its own.
    pub(super) fn new(sort: Sort, command: Command, prefix: &str, address: Option<&str>) -> Kind {
        let key = |long: &str| match address {
            Some(address) if long == prefix.trim_end_matches('-') => address.to_owned(),
            _ => long.strip_prefix(prefix).unwrap_or(long).replace('-', "_"),
        };
        let longs = command.get_arguments().filter_map(clap::Arg::get_long);
        let mut keys: Vec<_> = longs.map(|long| (format!("--{long}"), key(long))).collect();
        keys.sort_by_key(|(option, _)| std::cmp::Reverse(option.len()));
        Kind { command, keys, sort }
    }

    /// The keys that may stand in it.
    pub(super) fn known(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(_, key)| key.as_str())
    }

    /// The options that may stand in it, with their keys.
    #[cfg(test)]
    pub(super) fn words(&self) -> impl Iterator<Item = (&str, &str)> {
        self.keys.iter().map(|(option, key)| (option.as_str(), key.as_str()))
    }

    fn option(&self, key: &str) -> Option<&str> {
        self.keys.iter().find(|(_, known)| known == key).map(|(option, _)| option.as_str())
    }

    /// Checks an option by itself, and each part of its value if that is a list; what is wrong, and where that is known.
    fn faults(&self, word: &Word, value: &DeValue<'_>) -> Vec<(Option<usize>, String)> {
        let part = |value: &str| Word { option: word.option.clone(), value: value.to_owned() };
        let parts: Vec<_> = match value {
            DeValue::Array(values) => {
                let parts =
                    values.iter().filter_map(|value| Some((Some(value.span().start), text(value.get_ref()).ok()?)));
                parts.collect()
            }
            _ if self.takes_list(&word.option) => word.value.split(',').map(|value| (None, value.to_owned())).collect(),
            _ => Vec::new(),
        };
        let faults = parts.into_iter().filter_map(|(at, value)| Some((at, self.check(&part(&value)).err()?)));
        let faults: Vec<_> = faults.collect();
        if faults.is_empty() { self.check(word).err().map(|line| (None, line)).into_iter().collect() } else { faults }
    }

    /// Whether commas divide what an option takes.
    fn takes_list(&self, option: &str) -> bool {
        let long = option.trim_start_matches('-');
        let mut args = self.command.get_arguments();
        args.any(|arg| arg.get_long() == Some(long) && arg.get_value_delimiter().is_some())
    }

    /// Checks one option by itself.
    fn check(&self, word: &Word) -> Result<(), String> {
        match self.command.clone().try_get_matches_from([word.arg()]) {
            Ok(_) => Ok(()),
            Err(error) => {
                Err(cli::in_a_line(&error)
                    .unwrap_or_else(|| format!("{} {}: {}", word.option, word.value, error.kind())))
            }
        }
    }
}

/// A table that was read.
#[derive(Debug)]
pub(super) struct Table {
    /// What it says, with what was typed in place of that.
    pub(super) matches: ArgMatches,
    /// `listener "web"`; empty for the file's top.
    title: String,
    /// Where its name is.
    at: usize,
    /// Where its keys are.
    places: Vec<(String, usize)>,
    /// Its words for the options.
    keys: Vec<(String, String)>,
    typed: Vec<String>,
    /// Options whose values here cannot be read, or whose keys have a slip.
    left_out: Vec<String>,
}

impl Table {
    /// Reads a table. What is wrong with single keys is returned as well, and left out.
    pub(super) fn read(
        kind: &Kind,
        title: String,
        at: usize,
        table: DeTable<'_>,
        typed: &[Word],
    ) -> (Table, Vec<Found>) {
        let prefix = if title.is_empty() { String::new() } else { format!("{title}: ") };
        let (mut words, mut places, mut found) = (typed.to_vec(), Vec::new(), Vec::new());
        let mut left_out = Vec::new();
        for (key, value) in table {
            let at = key.span().start;
            let key = key.into_inner();
            let Some(option) = kind.option(&key) else {
                let Stray { line, meant } = stray(&key, kind.sort);
                left_out.extend(meant.and_then(|meant| kind.option(&meant).map(str::to_owned)));
                found.push((at, format!("{prefix}{line}")));
                continue;
            };
            let option = option.to_owned();
            let word = match typed_text(&option, value.get_ref()) {
                Ok(value) => Word { option, value },
                Err(why) => {
                    left_out.push(option);
                    found.push((at, format!("{prefix}{key}: {why}")));
                    continue;
                }
            };
            let faults = kind.faults(&word, value.get_ref());
            if !faults.is_empty() {
                let told = |(part, line): (Option<usize>, String)| {
                    (part.unwrap_or(at), format!("{prefix}{}", reword(&kind.keys, &line)))
                };
                found.extend(faults.into_iter().map(told));
                left_out.push(word.option);
                continue;
            }
            places.push((word.option.clone(), at));
            if !typed.iter().any(|typed| typed.option == word.option) {
                words.push(word);
            }
        }
        // Each was checked alone, and none excludes another.
        let args: Vec<_> = words.iter().map(Word::arg).collect();
        let matches = kind.command.clone().try_get_matches_from(args).unwrap_or_else(|error| {
            found.push((at, format!("{prefix}{}", cli::in_a_line(&error).unwrap_or_else(|| error.kind().to_string()))));
            kind.command.clone().get_matches_from([""; 0])
        });
        let typed = typed.iter().map(|word| word.option.clone()).collect();
        (Table { matches, title, at, places, keys: kind.keys.clone(), typed, left_out }, found)
    }

    /// Whether what it says of an option cannot be read: nobody knows what was meant.
    pub(super) fn leaves_out(&self, option: &str) -> bool {
        self.left_out.iter().any(|left| left == option)
    }

    /// Whether it, or what was typed, says something of an option that can be read.
    pub(super) fn says(&self, option: &str) -> bool {
        self.place(option).is_some() || self.is_typed(option)
    }

    /// The options whose values cannot be read.
    pub(super) fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// That something is wrong with it as a whole.
    pub(super) fn whole(&self, line: &str) -> Found {
        (self.at, format!("{}: {line}", self.title))
    }

    /// Says a line by keys, with the table's name.
    pub(super) fn reword(&self, line: &str) -> String {
        let line = reword(&self.keys, line);
        if self.title.is_empty() { line } else { format!("{}: {line}", self.title) }
    }

    /// Where the mistake is that a line tells, and the line in the words of the file; `None` if that was typed.
    pub(super) fn locate(&self, line: &str) -> Option<Found> {
        let option = line.split([' ', ':']).next().unwrap_or_default();
        if self.is_typed(option) {
            return None;
        }
        Some((self.place(option).unwrap_or(self.at), self.reword(line)))
    }

    /// Where an option stands, and what is called by it: the table, or at the top the key; `None` if it is not here, or was typed.
    pub(super) fn name(&self, option: &str) -> Option<Found> {
        let at = self.place(option).filter(|_| !self.is_typed(option))?;
        Some((at, if self.title.is_empty() { reword(&self.keys, option) } else { self.title.clone() }))
    }

    fn is_typed(&self, option: &str) -> bool {
        self.typed.iter().any(|typed| typed == option)
    }

    fn place(&self, option: &str) -> Option<usize> {
        self.places.iter().find(|(known, _)| known == option).map(|(_, at)| *at)
    }
}

/// Says by keys what is said by options.
fn reword(keys: &[(String, String)], line: &str) -> String {
    keys.iter().fold(line.to_owned(), |line, (option, key)| line.replace(option.as_str(), key))
}

/// The value of an option as it would be typed.
fn typed_text(option: &str, value: &DeValue<'_>) -> Result<String, String> {
    match value {
        // A mode is octal, which 0o660 says again.
        DeValue::Integer(number) if option == "--in-socket-mode" && number.radix() == 8 => {
            Ok(number.as_str().trim_start_matches('0').to_owned())
        }
        other => text(other),
    }
}

/// A value as it would be typed.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) => {
            let value = i64::from_str_radix(number.as_str(), number.radix());
            value.map(|value| value.to_string()).map_err(|_| "the number is too large".to_owned())
        }
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Array(values) => {
            let values: Vec<_> = values.iter().map(|value| element(value.get_ref())).collect::<Result<_, _>>()?;
            Ok(values.join(","))
        }
        other => Err(format!("{} does not fit here; write a text, a number, true or false, or a list", kind(other))),
    }
}

/// What a value is, for people.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a datetime",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A value in a list, as it would be typed between commas.
pub(super) fn element(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) if text.contains(',') => Err("what is in the list may have no comma in it".to_owned()),
        DeValue::Array(_) => Err("a list in a list does not fit here".to_owned()),
        other => text(other),
    }
}
