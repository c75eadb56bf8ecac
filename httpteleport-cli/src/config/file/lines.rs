//! Where in a file something stands, for people.

use std::path::Path;

use super::Found;

/// A text by its lines.
pub(super) struct Lines<'a> {
    path: &'a Path,
    text: &'a str,
}

impl<'a> Lines<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Lines<'a> {
        Lines { path, text }
    }

    /// A mistake at this byte.
    pub(super) fn at(&self, at: usize, line: &str) -> Found {
        (at, self.line(at, line))
    }

    fn line(&self, at: usize, line: &str) -> String {
        format!("{}:{}: {line}", self.path.display(), self.number(at))
    }

    /// The number of the line that this byte is in.
    pub(super) fn number(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}

/// Mistakes in the order of the file.
pub(super) fn sorted(mut found: Vec<Found>) -> Vec<String> {
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, line)| line).collect()
}
