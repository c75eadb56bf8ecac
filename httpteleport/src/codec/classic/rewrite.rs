//! Heads that are put differently from how they came.

use super::lines::fields;
use crate::lazy::Head;
use crate::message::{Named, Role};

/// The text of a head that is made anew.
pub(super) struct Rewritten {
    text: Vec<u8>,
    /// Where its header lines begin.
    at: usize,
    count: usize,
}

impl Rewritten {
    /// Begins with a first line that holds this.
    pub(super) fn new(first: &str) -> Self {
        let text = [first.as_bytes(), b"\r\n"].concat();
        Self { at: text.len(), text, count: 0 }
    }

    /// Goes on with this host, if there is one.
    pub(super) fn host(mut self, host: Option<&str>) -> Self {
        if let Some(host) = host {
            self.line(b"Host", host.as_bytes());
        }
        self
    }

    /// Goes on with the fields of `lines` that are for the user, but for those that `Connection` names, and for a second host.
    pub(super) fn fields(mut self, lines: &[u8]) -> Self {
        let connection = fields(lines).filter(|(name, _)| Role::of(name) == Role::Connection);
        let named = Named::by(connection.map(|(_, value)| value));
        let has_host = self.count > 0;
        for (name, value) in fields(lines) {
            let role = Role::of(name);
            if role.is_passed_on() && !named.has(name) && !(role == Role::Host && has_host) {
                self.line(name, value);
            }
        }
        self
    }

    fn line(&mut self, name: &[u8], value: &[u8]) {
        for part in [name, b": ", value, b"\r\n"] {
            self.text.extend_from_slice(part);
        }
        self.count += 1;
    }

    pub(super) fn into_head(self) -> Head {
        Head::new(self.text.into(), self.at, self.count)
    }
}
