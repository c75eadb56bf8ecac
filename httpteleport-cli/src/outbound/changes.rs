//! What the log says of upstreams that join a group, or leave it.

/// So many have a line each; more have one together, as thousands may change every second.
const MOST_LINES: usize = 8;

/// What has become of upstreams.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Joined,
    Left,
}

impl Change {
    /// Logs it of those with these names.
    pub(super) fn log<'a>(self, names: impl Iterator<Item = &'a str>) {
        for line in self.lines(&names.collect::<Vec<_>>()) {
            tracing::info!("{line}");
        }
    }

    fn lines(self, names: &[&str]) -> Vec<String> {
        match names {
            [first, others @ ..] if names.len() > MOST_LINES => {
                let what = match self {
                    Change::Joined => "new upstreams",
                    Change::Left => "are upstreams no more; they finish what they do",
                };
                vec![format!("{first} and {} others: {what}", others.len())]
            }
            _ => {
                let what = match self {
                    Change::Joined => "a new upstream",
                    Change::Left => "is an upstream no more; it finishes what it does",
                };
                names.iter().map(|name| format!("{name}: {what}")).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_changes_are_one_line() {
        assert!(Change::Joined.lines(&[]).is_empty());
        assert_eq!(Change::Joined.lines(&["a", "b"]), ["a: a new upstream", "b: a new upstream"]);
        assert_eq!(Change::Left.lines(&["a"; 8]).len(), 8);
        assert_eq!(Change::Joined.lines(&["a"; 9]), ["a and 8 others: new upstreams"]);
        assert_eq!(Change::Left.lines(&["a"; 9]), ["a and 8 others: are upstreams no more; they finish what they do"]);
    }
}
