//! Settings from a TOML file.
//!
//! The keys of its tables are the options of the command line, so both have one reader and one set of errors. The tree of values
//! knows where each stands, and all mistakes are found, not the first alone.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Parser;
use toml::de::DeTable;

use self::lines::Lines;
use self::reader::{Reader, Tables};
#[cfg(test)]
use self::table::Kind;
use self::table::Table;
use super::{Mistakes, Settings};
use crate::cli::{GroupArgs, ListenerArgs, ProcessArgs, TeleportArgs};
use crate::outbound::plain;

mod kinds;
mod lines;
mod reader;
mod routes;
mod stray;
mod table;
mod twice;

pub(crate) use table::Word;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Most listeners, each of which has a socket, and most groups.
const MOST: [(&str, usize); 2] = [("listener", 1_000), ("group", 10_000)];

/// A file with settings, and what overrides it.
#[derive(Clone, Debug)]
pub(crate) struct ConfigFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What the command line and the environment say, which wins.
    pub(crate) typed: Typed,
}

/// Options that were typed, by the tables that they are for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Typed {
    /// For all listeners.
    pub(crate) listener: Vec<Word>,
    /// For all groups.
    pub(crate) group: Vec<Word>,
    /// For the process, and for teleport on both sides.
    pub(crate) process: Vec<Word>,
}

#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct ProcessTable {
    #[command(flatten)]
    process: ProcessArgs,
    #[command(flatten)]
    teleport: TeleportArgs,
}

#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct ListenerTable {
    #[command(flatten)]
    listener: ListenerArgs,
    #[command(flatten)]
    teleport: TeleportArgs,
}

#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct GroupTable {
    #[command(flatten)]
    group: GroupArgs,
    #[command(flatten)]
    teleport: TeleportArgs,
}

impl ConfigFile {
    /// Reads and checks it: the settings, and where in the file everything stands.
    ///
    /// # Errors
    ///
    /// All that is wrong, each a line that says where.
    pub(crate) fn load(&self) -> Result<(Settings, Located), Vec<String>> {
        let Draft { settings, located, found } = self.read()?;
        if found.is_empty() { Ok((settings, located)) } else { Err(lines::sorted(found)) }
    }

    /// Reads and checks it, and keeps what can be read of it beside what is wrong.
    ///
    /// # Errors
    ///
    /// All that is wrong, each a line that says where: what can be read of it says nothing.
    pub(crate) fn read(&self) -> Result<Draft, Vec<String>> {
        let text = read(&self.path).map_err(|why| vec![format!("{}: {why}", self.path.display())])?;
        let lines = Lines::new(&self.path, &text);
        let (root, faults) = DeTable::parse_recoverable(&text);
        if !faults.is_empty() {
            let place = |fault: &toml::de::Error| fault.span().map_or(0, |span| span.start);
            // A table that stands there twice is told, and not that each of its keys does.
            let told = faults.iter().filter(|fault| !twice::is_told_of_table(&text, fault, &faults));
            let line = |fault: &toml::de::Error| lines.at(place(fault), &fault_line(fault, &text));
            return Err(lines::sorted(told.map(line).collect()));
        }
        let mut reader = Reader::new(&lines, &self.typed);
        let read = reader.settings(root.into_inner());
        let (found, idle) = (reader.found, reader.idle);
        match read {
            Some((settings, tables)) => {
                let located = Located { path: self.path.clone(), text, tables };
                Ok(Draft { settings: Settings { idle_options: lines::sorted(idle), ..settings }, located, found })
            }
            None => Err(lines::sorted(found)),
        }
    }
}

/// Settings as far as they can be read. Where something is wrong they are good for nothing but to find what else is.
pub(crate) struct Draft {
    pub(crate) settings: Settings,
    pub(crate) located: Located,
    /// What is wrong.
    found: Vec<Found>,
}

impl Draft {
    /// All that is wrong, with what was found later, each a line that says where. What depends on a value that cannot be read is left out.
    pub(crate) fn told(&self, later: Vec<(Part, String)>) -> Vec<String> {
        let mut found = self.found.clone();
        for (part, line) in later {
            let mut mistakes = Mistakes::beside(self.located.unread(part));
            mistakes.add(line);
            let new = mistakes.into_lines().into_iter().map(|line| self.located.found(part, &line));
            found.extend(new.filter(|new| !self.found.contains(new)));
        }
        lines::sorted(found)
    }
}

/// What is wrong with a text that is no TOML, in a line. Which key stands twice is in the text alone.
fn fault_line(fault: &toml::de::Error, text: &str) -> String {
    let message = fault.message().lines().collect::<Vec<_>>().join(", ");
    let key = fault.span().and_then(|span| text.get(span)).map(str::trim).filter(|key| !key.contains('\n'));
    match key {
        Some(key) if message == twice::MESSAGE && !key.is_empty() => {
            twice::line(text, fault.span().map_or(0, |span| span.start), key)
        }
        _ => message,
    }
}

/// A part of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What holds for the process.
    Process,
    /// One of the listeners.
    Listener(usize),
    /// One of the groups.
    Group(usize),
}

/// Settings by where they stand in their file.
#[derive(Debug)]
pub(crate) struct Located {
    path: PathBuf,
    text: String,
    tables: Tables,
}

impl Located {
    /// Lines that begin with an option, each in the words of the file, with its place, and in the order of the file.
    pub(crate) fn told(&self, faults: Vec<(Part, String)>) -> Vec<String> {
        lines::sorted(faults.into_iter().map(|(part, line)| self.found(part, &line)).collect())
    }

    fn found(&self, part: Part, line: &str) -> Found {
        match self.table(part).locate(line) {
            Some((at, line)) => Lines::new(&self.path, &self.text).at(at, &line),
            None => (0, line.to_owned()),
        }
    }

    /// Options of a part whose values cannot be read, or are missing: nobody knows what was meant.
    pub(crate) fn unread(&self, part: Part) -> Vec<String> {
        let (top, table) = (&self.tables.top, self.table(part));
        match part {
            Part::Process => top.left_out().to_vec(),
            Part::Listener(_) => reader::unread(top, table, "--in"),
            Part::Group(_) => reader::unread(top, table, "--out"),
        }
    }

    /// A line that begins with an option of these settings, with its value where there may be several: in the words of the file and with its
    /// place, if it stands there.
    pub(crate) fn located(&self, settings: &Settings, line: &str) -> String {
        let option = line.split([' ', ':']).next().unwrap_or_default();
        let part = settings.part_of(line).filter(|part| self.name(*part, option).is_some());
        let told = part.and_then(|part| self.told(vec![(part, line.to_owned())]).pop());
        told.unwrap_or_else(|| line.to_owned())
    }

    /// What the file calls that which an option says, and in which line: `listener "web" (line 4)`, `admin (line 1)`; `None` if the file
    /// does not say it.
    pub(crate) fn name(&self, part: Part, option: &str) -> Option<String> {
        let (at, name) = self.table(part).name(option)?;
        Some(format!("{name} (line {})", Lines::new(&self.path, &self.text).number(at)))
    }

    fn table(&self, part: Part) -> &Table {
        match part {
            Part::Process => &self.tables.top,
            Part::Listener(index) => &self.tables.listeners[index],
            Part::Group(index) => &self.tables.groups[index],
        }
    }
}

/// Each option with its key, behind its table if it is not of the top: `--in-delay`, `listener.delay`.
#[cfg(test)]
pub(crate) fn keys() -> Vec<(String, String)> {
    let kinds = [("", kinds::top()), ("listener.", kinds::listener()), ("group.", kinds::group())];
    let keys = |(table, kind): &(&str, Kind)| {
        let words = kind.words().map(|(option, key)| (option.to_owned(), format!("{table}{key}")));
        words.collect::<Vec<_>>()
    };
    kinds.iter().flat_map(keys).collect()
}

/// What a file says a log should look like, if that can be read, whatever is wrong with the rest.
pub(crate) fn log_format(path: &Path) -> Option<String> {
    // What can be read but once was read already.
    let text = path.is_file().then(|| read(path).ok())??;
    let (root, _) = DeTable::parse_recoverable(&text);
    Some(root.get_ref().get("log_format")?.get_ref().as_str()?.to_owned())
}

fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    // Not by the length that the system tells: a pipe or a device has none.
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    let length = read.map_err(|error| format!("cannot read the file: {}", plain(&error)))?;
    if length as u64 > LARGEST {
        return Err(format!("is larger than {LARGEST} bytes; no settings need that"));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8, as TOML is".to_owned())
}

/// A mistake, and the byte that it is at, by which they are put in order.
type Found = (usize, String);

#[cfg(test)]
mod tests;
