//! Which requests go where, and what is changed in them on the way.

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};

/// A way from a listener to a group.
///
/// Of several that take a request the most specific one has it: the one that names its host, then the one that names the end of
/// it, and among these the one with the longest path; where that is the same, the one that names its listener.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The index of the listener whose requests it takes; `None` for all of them.
    pub(crate) listener: Option<usize>,
    /// The hosts that it takes.
    pub(crate) host: Host,
    /// The path that those that it takes begin with, by whole segments; `/` for every path.
    pub(crate) path: String,
    /// The index of the group that they go to.
    pub(crate) group: usize,
    /// What is changed in them.
    pub(crate) edit: Edit,
    /// What is changed in the heads of the replies.
    pub(crate) reply: Fields,
}

/// Hosts, in small letters and without ports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// This one.
    Is(String),
    /// All below this one, `.example.com`.
    EndsWith(String),
    /// All.
    Any,
}

/// What is changed in a request's head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edit {
    /// Its fields.
    pub(crate) fields: Fields,
    /// The `Host` that upstreams see.
    pub(crate) host: Option<HeaderValue>,
}

/// What is changed in the fields of a head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    /// Those that go.
    pub(crate) remove: Vec<HeaderName>,
    /// Those that are put in, in place of those of the same name.
    pub(crate) set: Vec<(HeaderName, HeaderValue)>,
}

impl Route {
    /// The route that takes every request of every listener to this group, as it is.
    pub(crate) fn everything(group: usize) -> Route {
        let (edit, reply) = (Edit::default(), Fields::default());
        Route { listener: None, host: Host::Any, path: "/".to_owned(), group, edit, reply }
    }

    /// Whether it takes requests of this listener.
    pub(crate) fn takes(&self, listener: usize) -> bool {
        self.listener.is_none_or(|only| only == listener)
    }
}

impl Edit {
    /// Changes it.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        self.fields.apply(headers);
        if let Some(host) = &self.host {
            headers.insert(HOST, host.clone());
        }
    }
}

impl Fields {
    /// Whether nothing is changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty()
    }

    /// The names of all that it changes.
    pub(crate) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.remove.iter().chain(self.set.iter().map(|(name, _)| name))
    }

    /// Changes them: what is set wins over what is removed.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
    }
}
