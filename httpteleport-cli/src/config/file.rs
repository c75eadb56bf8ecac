//! Settings from a TOML file.
//!
//! The keys of its tables are the options of the command line, so both have one reader and one set of errors. The tree of values
//! knows where each stands, and all mistakes are found, not the first alone.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::lines::Lines;
use self::table::{Kind, Table};
use super::{Group, Listener, Mistakes, Process, Route, Settings, Teleport};
use crate::cli::{GroupArgs, ListenerArgs, ProcessArgs, TeleportArgs};
use crate::outbound::plain;
use crate::tls;

mod lines;
mod routes;
mod table;

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
    /// Reads and checks it.
    ///
    /// # Errors
    ///
    /// All that is wrong, each a line that says where.
    pub(crate) fn load(&self) -> Result<Settings, Vec<String>> {
        let text = read(&self.path).map_err(|why| vec![format!("{}: {why}", self.path.display())])?;
        let lines = Lines::new(&self.path, &text);
        let (root, faults) = DeTable::parse_recoverable(&text);
        if !faults.is_empty() {
            let line = |fault: &toml::de::Error| {
                let message: Vec<_> = fault.message().lines().collect();
                lines.at(fault.span().map_or(0, |span| span.start), &message.join(", "))
            };
            return Err(lines::sorted(faults.iter().map(line).collect()));
        }
        let mut reader = Reader { lines: &lines, typed: &self.typed, found: Vec::new(), idle: Vec::new() };
        let settings = reader.settings(root.into_inner());
        let (found, idle) = (reader.found, reader.idle);
        match settings {
            Some(settings) if found.is_empty() => Ok(Settings { idle_options: idle, ..settings }),
            _ => Err(lines::sorted(found)),
        }
    }
}

/// Each option with its key, behind its table if it is not of the top: `--in-delay`, `listener.delay`.
#[cfg(test)]
pub(crate) fn keys() -> Vec<(String, String)> {
    let kinds = [
        ("", Kind::new(ProcessTable::command(), "", None, &[])),
        ("listener.", Kind::new(ListenerTable::command(), "in-", Some("url"), &[])),
        ("group.", Kind::new(GroupTable::command(), "out-", Some("urls"), &[])),
    ];
    let keys = |(table, kind): &(&str, Kind)| {
        let words = kind.words().map(|(option, key)| (option.to_owned(), format!("{table}{key}")));
        words.collect::<Vec<_>>()
    };
    kinds.iter().flat_map(keys).collect()
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

/// Turns the tree of values into settings.
struct Reader<'a> {
    lines: &'a Lines<'a>,
    typed: &'a Typed,
    found: Vec<Found>,
    /// Lines for the log about what does nothing.
    idle: Vec<String>,
}

impl<'a> Reader<'a> {
    /// The settings; with mistakes they are of no use.
    fn settings(&mut self, mut root: DeTable<'a>) -> Option<Settings> {
        let [listeners, groups] = MOST.map(|(kind, most)| self.named(&mut root, kind, most));
        let (listeners, groups) = (listeners?, groups?);
        let routes = root.remove("route");

        let kind = Kind::new(ProcessTable::command(), "", None, &["listener", "group", "route"]);
        let top = self.table(&kind, String::new(), 0, root, &self.typed.process);
        let args = ProcessTable::from_arg_matches(&top.matches).ok()?;
        let mut mistakes = Mistakes::default();
        let process = Process::new(&args.process, &mut mistakes);
        Teleport::new(&args.teleport, &mut mistakes);
        self.take(&top, mistakes);

        let (mut names, mut settings) = (Names::default(), Settings::empty(process));
        let kind = Kind::new(ListenerTable::command(), "in-", Some("url"), &[]);
        // Those whose addresses are known.
        let mut placed = Vec::new();
        for (name, at, table) in listeners {
            let table = self.table(&kind, format!("listener \"{name}\""), at, table, &self.typed.listener);
            let own = ListenerTable::from_arg_matches(&table.matches).ok()?;
            let mut mistakes = Mistakes::default();
            let teleport = Teleport::new(&own.teleport.or(&args.teleport), &mut mistakes);
            let listener = Listener::new(own.listener, teleport, &mut mistakes);
            listener.check_handover(&settings.process, &mut mistakes);
            if !mistakes.any()
                && let Some(Err(error)) =
                    listener.tls.as_ref().map(|identity| tls::server_config(identity, None, false))
            {
                mistakes.add(format!("{error:#}"));
            }
            self.take(&table, mistakes);
            let mut others = placed.iter().map(|index: &usize| (&names.listeners[*index], &settings.listeners[*index]));
            if !table.leaves_out("--in") {
                if let Some((twin, _)) = others.find(|(_, other)| other.listens_where(&listener)) {
                    let line =
                        format!("listener \"{name}\": listens where listener \"{twin}\" does; give it another url");
                    self.note(at, &line);
                }
                placed.push(settings.listeners.len());
            }
            settings.listeners.push(listener);
            names.listeners.push(name);
        }
        let kind = Kind::new(GroupTable::command(), "out-", Some("urls"), &[]);
        for (name, at, table) in groups {
            let table = self.table(&kind, format!("group \"{name}\""), at, table, &self.typed.group);
            let own = GroupTable::from_arg_matches(&table.matches).ok()?;
            let mut mistakes = Mistakes::default();
            let teleport = Teleport::new(&own.teleport.or(&args.teleport), &mut mistakes);
            let group = Group::new(name.clone(), own.group, teleport, &mut mistakes);
            let uses_files = group.tls.files().next().is_some();
            if uses_files
                && !mistakes.any()
                && let Err(error) = tls::Client::new(&group.tls, false)
            {
                mistakes.add(format!("{error:#}"));
            }
            self.take(&table, mistakes);
            settings.groups.push(group);
            names.groups.push(name);
        }
        self.check_there_are(&settings);
        self.routes(routes, &names, &mut settings);
        self.check_together(&settings, &names);
        Some(settings)
    }

    /// The tables of `[kind.NAME]`, in the order of the file; `None` if they are too many to be looked at.
    fn named(&mut self, root: &mut DeTable<'a>, kind: &str, most: usize) -> Option<Vec<(String, usize, DeTable<'a>)>> {
        let Some(tables) = root.remove(kind) else { return Some(Vec::new()) };
        let at = tables.span().start;
        let DeValue::Table(tables) = tables.into_inner() else {
            self.note(at, &format!("{kind}: is no table; write [{kind}.NAME]"));
            return Some(Vec::new());
        };
        if tables.len() > most {
            let line = format!(
                "{kind}: there are {} of them, and {most} are the most; divide them among processes",
                tables.len()
            );
            self.note(at, &line);
            return None;
        }
        let mut named = Vec::new();
        for (name, value) in tables {
            let at = name.span().start;
            let name = name.into_inner().into_owned();
            let DeValue::Table(table) = value.into_inner() else {
                self.note(at, &format!("{kind}: it has no name; write [{kind}.NAME]"));
                break;
            };
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
                self.note(at, &format!("{kind} {name:?}: is no name; use letters, digits, - and _"));
            }
            named.push((name, at, table));
        }
        named.sort_by_key(|(_, at, _)| *at);
        Some(named)
    }

    fn table(&mut self, kind: &Kind, title: String, at: usize, table: DeTable<'_>, typed: &[Word]) -> Table {
        let (table, found) = Table::read(kind, title, at, table, typed);
        self.found.extend(found.into_iter().map(|(at, line)| self.lines.at(at, &line)));
        table
    }

    /// Notes what is wrong with a table, at the keys that are at fault; what was typed is told as that.
    fn take(&mut self, table: &Table, mistakes: Mistakes) {
        self.idle.extend(mistakes.idle().iter().map(|line| table.reword(line)));
        for line in mistakes.into_lines() {
            match table.locate(&line) {
                Some((at, line)) => self.note(at, &line),
                None => self.found.push((0, line)),
            }
        }
    }

    fn note(&mut self, at: usize, line: &str) {
        self.found.push(self.lines.at(at, line));
    }

    fn check_there_are(&mut self, settings: &Settings) {
        for (count, kind, option) in
            [(settings.listeners.len(), "listener", "--in"), (settings.groups.len(), "group", "--out")]
        {
            if count == 0 {
                self.note(0, &format!("there is no {kind}; write a table [{kind}.NAME]"));
            }
            let typed = if kind == "listener" { &self.typed.listener } else { &self.typed.group };
            if count > 1 && typed.iter().any(|word| word.option == option) {
                let line = format!("{option}: says not which of the {count} {kind}s is meant; change the file instead");
                self.found.push((0, line));
            }
        }
    }

    /// What listeners and groups have to do with each other.
    fn check_together(&mut self, settings: &Settings, names: &Names) {
        for (group, out) in settings.circles() {
            let line = format!(
                "group \"{}\": {out} is a listener that has a route to it; requests would go round in circles",
                group.name
            );
            self.found.push((usize::MAX, self.lines.whole(&line)));
        }
        for index in settings.unasked() {
            let line = format!(
                "listener \"{}\": acme_challenge: the authority asks a listener that is http, and there is none; add one with url = \
                 \"http://:80\", or use tls-alpn",
                names.listeners[index]
            );
            self.found.push((usize::MAX, self.lines.whole(&line)));
        }
        let used: HashSet<_> = settings.routes.iter().map(|route| route.group).collect();
        for (index, group) in settings.groups.iter().enumerate() {
            if !used.contains(&index) {
                self.idle.push(format!("group \"{}\" has no effect: no route leads to it", group.name));
            }
        }
    }

    fn routes(&mut self, routes: Option<Spanned<DeValue<'_>>>, names: &Names, settings: &mut Settings) {
        match routes {
            None if settings.groups.len() == 1 => settings.routes.push(Route::everything(0)),
            None if settings.groups.is_empty() => {}
            None => self.note(0, "there is no route to several groups; write tables [[route]] with the group of each"),
            Some(routes) => {
                let found;
                (settings.routes, found) = routes::read(routes, names);
                for (at, line) in found {
                    self.note(at, &line);
                }
            }
        }
        for (index, name) in names.listeners.iter().enumerate() {
            if !settings.routes.is_empty() && !settings.routes.iter().any(|route| route.takes(index)) {
                self.note(0, &format!("listener \"{name}\": no route takes its requests; write a [[route]] for it"));
            }
        }
    }
}

/// What routes call listeners and groups, in their order.
#[derive(Default)]
struct Names {
    listeners: Vec<String>,
    groups: Vec<String>,
}

#[cfg(test)]
mod tests;
