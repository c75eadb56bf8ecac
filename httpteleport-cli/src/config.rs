//! The settings of a process, free of contradictions: what it listens on, the groups of upstreams it knows, and the routes between.

use crate::endpoint::Endpoint;

mod args;
mod group;
mod listener;
mod mistakes;
mod process;
mod route;

pub(crate) use group::Group;
pub(crate) use listener::{Limits, Listener, Pair, Timeouts, Tls};
pub(crate) use mistakes::Mistakes;
pub(crate) use process::{Admin, Process, Teleport};
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

    /// The endpoints that requests of a listener may go to, each with its group.
    pub(crate) fn ways(&self, listener: usize) -> impl Iterator<Item = (&Group, &Endpoint)> {
        let taken = move |group: usize| self.routes.iter().any(|route| route.takes(listener) && route.group == group);
        let groups = self.groups.iter().enumerate().filter(move |(index, _)| taken(*index));
        groups.flat_map(|(_, group)| group.endpoints.iter().map(move |endpoint| (group, endpoint)))
    }
}
