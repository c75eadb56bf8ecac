//! The settings of a process, free of contradictions: what it listens on, the groups of upstreams it knows, and the routes between.

use std::time::Duration;

use httpteleport::Wire;

use crate::discover::Source;

mod args;
mod group;
mod listener;
mod route;

pub(crate) use group::Group;
pub(crate) use listener::{Limits, Listener, TlsFiles};
pub(crate) use route::{Edit, Host, Route};

/// Most bytes of a reply's body that go over the classic wire: it carries whole messages, so they are held in memory.
pub(crate) const MAX_REPLY_BODY: usize = 64 << 20;

/// Everything that a process needs to know.
#[derive(Debug)]
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

/// What holds for the whole process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// Most requests at a time.
    pub(crate) concurrency: usize,
    /// Threads that serve; `None` for one on each core.
    pub(crate) threads: Option<usize>,
}

/// What one side does on teleport.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Teleport {
    /// Which wire is spoken.
    pub(crate) wire: Wire,
    /// The silence after which a peer is asked whether it lives.
    pub(crate) ping: Option<Duration>,
    /// How old a connection gets.
    pub(crate) max_age: Option<Duration>,
    /// Each message is compressed alone.
    pub(crate) compress_alone: bool,
}

/// What the largest messages are that pass, whichever way they take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Largest {
    /// Bytes of a request's head.
    pub(crate) request_head: usize,
    /// Bytes of a request's body.
    pub(crate) request_body: usize,
    /// Bytes of a reply's head.
    pub(crate) reply_head: usize,
}

impl Settings {
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
        let taken = move |group: usize| self.routes.iter().any(|route| route.takes(listener) && route.group == group);
        let groups = self.groups.iter().enumerate().filter(move |(index, _)| taken(*index));
        groups.flat_map(|(_, group)| group.sources.iter().map(move |source| (group, source)))
    }
}
