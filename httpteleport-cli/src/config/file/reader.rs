//! From the tree of values to settings.

use std::collections::HashSet;

use clap::FromArgMatches as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::kinds;
use super::lines::Lines;
use super::table::{Kind, Table};
use super::{Found, GroupTable, ListenerTable, MOST, ProcessTable, Typed, Word, routes};
use crate::cli::TeleportArgs;
use crate::config::{Group, Listener, Mistakes, Process, Route, Settings, Teleport};
use crate::tls;

/// A table by its name, and where that is.
type Named<'a> = (String, usize, DeTable<'a>);

/// The tables that settings were made of, in their order.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) top: Table,
    pub(super) listeners: Vec<Table>,
    pub(super) groups: Vec<Table>,
}

/// Turns the tree of values into settings.
pub(super) struct Reader<'a> {
    lines: &'a Lines<'a>,
    typed: &'a Typed,
    /// What is wrong.
    pub(super) found: Vec<Found>,
    /// Lines for the log about what does nothing.
    pub(super) idle: Vec<Found>,
    /// Kinds of which something has no name.
    nameless: Vec<&'static str>,
    /// Whether all listeners and groups say where they are.
    is_placed: bool,
}

impl<'a> Reader<'a> {
    /// One that looks at nothing yet.
    pub(super) fn new(lines: &'a Lines<'a>, typed: &'a Typed) -> Reader<'a> {
        Reader { lines, typed, found: Vec::new(), idle: Vec::new(), nameless: Vec::new(), is_placed: true }
    }

    /// The settings, and the tables that they were made of; with mistakes they are of no use.
    pub(super) fn settings(&mut self, mut root: DeTable<'a>) -> Option<(Settings, Tables)> {
        let [listeners, groups] = MOST.map(|(kind, most)| self.named(&mut root, kind, most));
        let (listeners, groups) = (listeners?, groups?);
        let routes = root.remove("route");

        let kind = kinds::top();
        let top = self.table(&kind, String::new(), 0, root, &self.typed.process);
        let args = ProcessTable::from_arg_matches(&top.matches).ok()?;
        let mut mistakes = Mistakes::beside(top.left_out().to_vec());
        let process = Process::new(&args.process, &mut mistakes);
        Teleport::new(&args.teleport, &mut mistakes);
        self.take(&top, mistakes);

        let (mut names, mut settings) = (Names::default(), Settings::empty(process));
        let mut tables = Tables { top, listeners: Vec::new(), groups: Vec::new() };
        self.listeners(listeners, &args.teleport, &mut names, &mut settings, &mut tables)?;
        self.groups(groups, &args.teleport, &mut names, &mut settings, &mut tables)?;
        self.check_there_are(&settings);
        self.routes(routes, &names, &mut settings);
        self.check_together(&settings, &tables);
        Some((settings, tables))
    }

    fn listeners(
        &mut self,
        listeners: Vec<Named<'a>>,
        teleport: &TeleportArgs,
        names: &mut Names,
        settings: &mut Settings,
        tables: &mut Tables,
    ) -> Option<()> {
        let kind = kinds::listener();
        for (name, at, table) in listeners {
            let table = self.table(&kind, format!("listener \"{name}\""), at, table, &self.typed.listener);
            let own = ListenerTable::from_arg_matches(&table.matches).ok()?;
            let is_placed =
                self.is_placed(&table, "--in", "has no url; say where it listens, for example url = \"http://:8080\"");
            let mut mistakes = mistakes_beside(&tables.top, &table, "--in");
            let teleport = self.teleport(&own.teleport, teleport, &mut mistakes);
            let listener = Listener::new(own.listener, teleport, &mut mistakes);
            if is_placed {
                listener.check_handover(&settings.process, &mut mistakes);
            }
            listener.tls.iter().flat_map(tls::server_faults).for_each(|line| mistakes.add(line));
            self.take(&table, mistakes);
            settings.listeners.push(listener);
            names.listeners.push(name);
            tables.listeners.push(table);
        }
        Some(())
    }

    fn groups(
        &mut self,
        groups: Vec<Named<'a>>,
        teleport: &TeleportArgs,
        names: &mut Names,
        settings: &mut Settings,
        tables: &mut Tables,
    ) -> Option<()> {
        let kind = kinds::group();
        for (name, at, table) in groups {
            let table = self.table(&kind, format!("group \"{name}\""), at, table, &self.typed.group);
            let own = GroupTable::from_arg_matches(&table.matches).ok()?;
            let line = "has no urls; say where its requests go, for example urls = \"http://10.0.0.1:80\"";
            self.is_placed(&table, "--out", line);
            let mut mistakes = mistakes_beside(&tables.top, &table, "--out");
            let teleport = self.teleport(&own.teleport, teleport, &mut mistakes);
            let group = Group::new(name.clone(), own.group, teleport, &mut mistakes);
            tls::client_faults(&group.tls).into_iter().for_each(|line| mistakes.add(line));
            self.take(&table, mistakes);
            settings.groups.push(group);
            names.groups.push(name);
            tables.groups.push(table);
        }
        Some(())
    }

    /// Options of teleport of a table, with those of the top. What is wrong with those alone was told there.
    fn teleport(&self, own: &TeleportArgs, top: &TeleportArgs, mistakes: &mut Mistakes) -> Teleport {
        let mut told = Mistakes::default();
        Teleport::new(top, &mut told);
        let told = told.into_lines();
        let mut found = Mistakes::default();
        let teleport = Teleport::new(&own.or(top), &mut found);
        found.into_lines().into_iter().filter(|line| !told.contains(line)).for_each(|line| mistakes.add(line));
        teleport
    }

    /// Whether a table says where it is; if it says nothing of that, this line is told.
    fn is_placed(&mut self, table: &Table, option: &str, line: &str) -> bool {
        if table.says(option) {
            return true;
        }
        self.is_placed = false;
        if !table.leaves_out(option) {
            let (at, line) = table.whole(line);
            self.note(at, &line);
        }
        false
    }

    /// The tables of `[kind.NAME]`, in the order of the file; `None` if they are too many to be looked at.
    fn named(&mut self, root: &mut DeTable<'a>, kind: &'static str, most: usize) -> Option<Vec<Named<'a>>> {
        let Some(tables) = root.remove(kind) else { return Some(Vec::new()) };
        let at = tables.span().start;
        let DeValue::Table(tables) = tables.into_inner() else {
            self.note(at, &format!("{kind}: is no table; write [{kind}.NAME]"));
            self.nameless.push(kind);
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
                self.nameless.push(kind);
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
        for line in mistakes.idle() {
            let idle = self.at(table, line);
            self.idle.push(idle);
        }
        for line in mistakes.into_lines() {
            let found = self.at(table, &line);
            self.found.push(found);
        }
    }

    /// A line on a table, at the key that it is about; what was typed is told as that.
    fn at(&self, table: &Table, line: &str) -> Found {
        match table.locate(line) {
            Some((at, line)) => self.lines.at(at, &line),
            None => (0, line.to_owned()),
        }
    }

    fn note(&mut self, at: usize, line: &str) {
        self.found.push(self.lines.at(at, line));
    }

    fn check_there_are(&mut self, settings: &Settings) {
        for (count, kind, option) in
            [(settings.listeners.len(), "listener", "--in"), (settings.groups.len(), "group", "--out")]
        {
            if count == 0 && !self.nameless.contains(&kind) {
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
    fn check_together(&mut self, settings: &Settings, tables: &Tables) {
        let used: HashSet<_> = settings.routes.iter().map(|route| route.group).collect();
        for (index, table) in tables.groups.iter().enumerate() {
            if !used.contains(&index) {
                let (at, line) = table.whole("has no effect: no route leads to it");
                self.idle.push(self.lines.at(at, &line));
            }
        }
        if !self.is_placed {
            return;
        }
        for (group, out) in settings.circles() {
            let line = format!("--out {out}: is a listener that has a route to it; requests would go round in circles");
            let table =
                settings.groups.iter().position(|one| std::ptr::eq(one, group)).map(|index| &tables.groups[index]);
            self.found.extend(table.map(|table| self.at(table, &line)));
        }
        for index in settings.unasked() {
            let line = "--acme-challenge: the authority asks a listener that is http, and there is none; add one with url = \
                        \"http://:80\", or use tls-alpn";
            let found = self.at(&tables.listeners[index], line);
            self.found.push(found);
        }
    }

    fn routes(&mut self, routes: Option<Spanned<DeValue<'_>>>, names: &Names, settings: &mut Settings) {
        match routes {
            None if settings.groups.len() == 1 => settings.routes.push(Route::everything(0)),
            None if settings.groups.is_empty() => {}
            None => self.note(0, "there is no route to several groups; write tables [[route]] with the group of each"),
            Some(routes) => {
                let found;
                (settings.routes, found) = routes::read(routes, names, self.lines);
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

/// Room for what is wrong with a table, beside what is unread.
fn mistakes_beside(top: &Table, table: &Table, address: &str) -> Mistakes {
    Mistakes::beside(unread(top, table, address))
}

/// The options of a table that cannot be read, here or at the top, and its address if it has none.
pub(super) fn unread(top: &Table, table: &Table, address: &str) -> Vec<String> {
    let mut unread = [top.left_out(), table.left_out()].concat();
    if !table.says(address) {
        unread.push(address.to_owned());
    }
    unread
}

/// What routes call listeners and groups, in their order.
#[derive(Default)]
pub(super) struct Names {
    pub(super) listeners: Vec<String>,
    pub(super) groups: Vec<String>,
}
