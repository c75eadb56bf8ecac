//! Connections that ended for a reason that somebody should know, in the log.

use std::fmt::Display;

use httpteleport::ErrorKind;

use crate::seldom::Seldom;

/// Writes them. Clones write together no more than a line a second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends(Seldom);

impl Ends {
    /// A teleport connection of, or to, `whom` has ended.
    pub(crate) fn note(&self, whom: impl Display, kind: ErrorKind, why: &str) {
        let line = format_args!("teleport connection of {whom}: {why}");
        if matches!(kind, ErrorKind::Protocol | ErrorKind::Connection) {
            self.0.warn(line);
        } else {
            tracing::debug!("{line}");
        }
    }
}
