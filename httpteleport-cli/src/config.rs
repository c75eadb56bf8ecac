//! The settings of a process, free of contradictions: what it listens on, the groups of upstreams it knows, and the routes between.

use std::collections::HashSet;
use std::fmt::Display;
use std::path::Path;

use crate::acme::Challenge;
use crate::discover::{Source, To};
use crate::endpoint::{Address, Scheme};

mod args;
mod balancing;
mod file;
mod group;
mod listener;
mod mistakes;
mod otlp;
mod process;
mod route;
mod tls;

#[cfg(test)]
pub(crate) use file::keys;
pub(crate) use file::{ConfigFile, Draft, Located, Part, Typed, Word, log_format};
pub(crate) use group::{ClientTls, Group};
pub(crate) use listener::{Limits, Listener, Timeouts};
pub(crate) use mistakes::Mistakes;
pub(crate) use otlp::Otlp;
pub(crate) use process::{Admin, CONCURRENCY, DRAIN_TIMEOUT, Process, Teleport};
pub(crate) use route::{Edit, Fields, Host, Route};
pub(crate) use tls::{Acme, ClientCa, Pair, Tls};

/// Most bytes of a reply's body that go over the classic wire: it carries whole messages, so they are held in memory.
pub(crate) const MAX_REPLY_BODY: usize = 64 << 20;

/// Everything that a process needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What holds for all of it.
    pub(crate) process: Process,
    /// Where requests come from: at least one.
    pub(crate) listeners: Vec<Listener>,
    /// Where they may go: at least one.
    pub(crate) groups: Vec<Group>,
    /// Which of them go where: at least one.
    pub(crate) routes: Vec<Route>,
    /// Options that were given and do nothing here, each a line for the log.
    pub(crate) idle_options: Vec<String>,
}

/// What the largest messages are that pass, whichever way they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Largest {
    /// Bytes of a request's head.
    pub(crate) request_head: usize,
    /// Bytes of a request's body.
    pub(crate) request_body: usize,
    /// Bytes of a reply's head.
    pub(crate) reply_head: usize,
}

impl Settings {
    /// Those of a process without listeners and groups yet.
    pub(crate) fn empty(process: Process) -> Settings {
        Settings { process, listeners: Vec::new(), groups: Vec::new(), routes: Vec::new(), idle_options: Vec::new() }
    }

    /// The files of certificates and keys that are used.
    pub(crate) fn tls_files(&self) -> impl Iterator<Item = &Path> {
        let of_listeners = self.listeners.iter().filter_map(|listener| listener.tls.as_ref()).flat_map(Tls::files);
        of_listeners.chain(self.groups.iter().flat_map(|group| group.tls.files()))
    }

    /// Where it listens.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        let admin = self.process.admin.as_ref().map(Admin::endpoint);
        self.listeners.iter().map(|listener| listener.endpoint.address.clone()).chain(admin).collect()
    }

    /// Which part a line is about that begins with an option, if that can be told by the value behind it.
    fn part_of(&self, line: &str) -> Option<Part> {
        let is_of = |option: &str, value: &dyn Display| line.starts_with(&format!("{option} {value}: "));
        if line.starts_with("--in") {
            let listener = self.listeners.iter().position(|listener| is_of("--in", &listener.endpoint));
            return listener.map(Part::Listener);
        }
        if line.starts_with("--out") {
            let is_it =
                |source: &Source| is_of("--out", source) || matches!(&source.to, To::Host(out) if is_of("--out", out));
            return self.groups.iter().position(|group| group.sources.iter().any(is_it)).map(Part::Group);
        }
        line.starts_with("--").then_some(Part::Process)
    }

    /// What there is, for people.
    pub(crate) fn summary(&self) -> String {
        let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (listeners, groups) = (counted(self.listeners.len(), "listener"), counted(self.groups.len(), "group"));
        format!("{listeners}, {groups}, {}", counted(self.routes.len(), "route"))
    }

    /// Listeners whose authority has nobody to ask.
    fn unasked(&self) -> impl Iterator<Item = usize> {
        let clear = self.listeners.iter().any(|listener| listener.endpoint.scheme == Scheme::Http);
        let listeners = self.listeners.iter().enumerate().filter(move |_| !clear);
        let acme = listeners.filter_map(|(index, listener)| Some((index, listener.tls.as_ref()?.acme.as_ref()?)));
        acme.filter(|(_, acme)| acme.challenge == Challenge::Http).map(|(index, _)| index)
    }

    /// Outputs that are inputs with a way to them.
    fn circles(&self) -> Vec<(&Group, &Source)> {
        let listeners = self.listeners.iter().enumerate();
        let ways = listeners.flat_map(|(index, listener)| self.ways(index).map(move |way| (listener, way)));
        let is_circle = |(listener, (_, out)): &(&Listener, (&Group, &Source))| matches!(&out.to, To::Host(out) if listener.is_reached_at(out));
        ways.filter(is_circle).map(|(_, way)| way).collect()
    }

    /// What the listeners and the groups let in.
    pub(crate) fn largest(&self) -> Largest {
        let of_listeners =
            |size: fn(&Limits) -> usize| self.listeners.iter().map(|listener| size(&listener.limits)).max();
        Largest {
            request_head: of_listeners(|limits| limits.max_header_size).unwrap_or_default(),
            request_body: of_listeners(|limits| limits.max_body_size).unwrap_or_default(),
            reply_head: self.groups.iter().map(|group| group.max_header_size).max().unwrap_or_default(),
        }
    }

    /// Where requests of a listener may go, each with its group.
    pub(crate) fn ways(&self, listener: usize) -> impl Iterator<Item = (&Group, &Source)> {
        let taking = self.routes.iter().filter(|route| route.takes(listener));
        let taken: HashSet<_> = taking.map(|route| route.group).collect();
        let groups = self.groups.iter().enumerate().filter(move |(index, _)| taken.contains(index));
        groups.flat_map(|(_, group)| group.sources.iter().map(move |source| (group, source)))
    }
}
