//! How long the certificates are good that are shown to peers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::acme::Manager;
use crate::config::Pair;
use crate::tls;

/// Most certificates of an input that are told: those that end first.
const MOST: usize = 100;

/// Those of an input, or of a group.
#[derive(Default)]
pub(crate) struct Certificates {
    /// From files: whom each is for, and when it ends.
    fixed: Vec<(String, SystemTime)>,
    /// What orders more.
    ordered: Option<Arc<Manager>>,
}

impl Certificates {
    /// Those of these files as they are now, and those that are ordered.
    pub(crate) fn new<'a>(pairs: impl IntoIterator<Item = &'a Pair>, ordered: Option<Arc<Manager>>) -> Certificates {
        Certificates { fixed: pairs.into_iter().filter_map(tls::name_and_end).collect(), ordered }
    }

    /// The names, each with the seconds that are left of its certificate, below zero if it is over. Of several certificates for a
    /// name the one counts that ends first.
    pub(crate) fn left(&self, now: SystemTime) -> Vec<(String, f64)> {
        let left = |end: SystemTime| match end.duration_since(now) {
            Ok(left) => left.as_secs_f64(),
            Err(over) => -over.duration().as_secs_f64(),
        };
        let fixed = self.fixed.iter().map(|(name, end)| (name.clone(), left(*end)));
        let mut by_name = BTreeMap::<String, f64>::new();
        for (name, left) in fixed.chain(self.ordered.iter().flat_map(|manager| manager.left())) {
            let first = by_name.entry(name).or_insert(left);
            *first = first.min(left);
        }
        let mut all: Vec<_> = by_name.into_iter().collect();
        all.sort_by(|a, b| a.1.total_cmp(&b.1));
        all.truncate(MOST);
        all
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_hundred_names_are_told_those_that_end_first() {
        let now = SystemTime::now();
        let mut fixed: Vec<_> =
            (1..=200).map(|n| (format!("{n}.example"), now + Duration::from_secs(n))).rev().collect();
        fixed.push(("150.example".to_owned(), now - Duration::from_secs(5)));
        fixed.push(("1.example".to_owned(), now + Duration::from_secs(500)));
        let left = Certificates { fixed, ordered: None }.left(now);
        assert_eq!(left.len(), MOST);
        assert_eq!(
            left[..3],
            [("150.example".to_owned(), -5.0), ("1.example".to_owned(), 1.0), ("2.example".to_owned(), 2.0)]
        );
        assert_eq!(left[MOST - 1].0, "99.example");
    }
}
