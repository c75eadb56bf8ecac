//! The tables that a file has, and the options that are their keys.

use clap::CommandFactory as _;

use super::table::Kind;
use super::{GroupTable, ListenerTable, ProcessTable};

/// What tables there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Top,
    Listener,
    Group,
    Route,
}

impl Sort {
    /// All of them.
    pub(super) const ALL: [Sort; 4] = [Sort::Top, Sort::Listener, Sort::Group, Sort::Route];

    /// What people know it by.
    pub(super) fn place(self) -> &'static str {
        match self {
            Sort::Top => "the top of the file",
            Sort::Listener => "[listener.NAME]",
            Sort::Group => "[group.NAME]",
            Sort::Route => "[[route]]",
        }
    }
}

/// The top of the file.
pub(super) fn top() -> Kind {
    Kind::new(Sort::Top, ProcessTable::command(), "", None)
}

/// A listener.
pub(super) fn listener() -> Kind {
    Kind::new(Sort::Listener, ListenerTable::command(), "in-", Some("url"))
}

/// A group.
pub(super) fn group() -> Kind {
    Kind::new(Sort::Group, GroupTable::command(), "out-", Some("urls"))
}
