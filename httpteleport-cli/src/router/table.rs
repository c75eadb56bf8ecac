//! Which of very many things is for a host and a path.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::config::Host;

/// So many paths are looked at one after the other, which is quicker than a search.
const FEW: usize = 16;

/// Things by the hosts and paths that they are for. Whatever their number, one is found with a look at the host, one at each dot
/// in it, and a few at the path.
#[derive(Debug)]
pub(super) struct Table<T> {
    /// By their host.
    named: HashMap<String, Paths<T>>,
    /// By the end of their hosts.
    ends: HashMap<String, Paths<T>>,
    /// Bytes of the longest of these.
    longest_end: usize,
    /// For all hosts.
    any: Paths<T>,
}

/// The things of one host by the beginnings of the paths that they are for, which have no slash at their end and are in the order
/// of [`by_segments`].
#[derive(Debug)]
struct Paths<T>(Vec<(String, T)>);

impl<T> Table<T> {
    /// A table of these. Of several for the same hosts and paths the first one counts.
    pub(super) fn new(things: impl IntoIterator<Item = (Host, String, T)>) -> Table<T> {
        let (mut named, mut ends, mut any) = (HashMap::new(), HashMap::new(), Paths(Vec::new()));
        for (host, path, thing) in things {
            let paths = match host {
                Host::Is(name) => of(&mut named, name),
                Host::EndsWith(end) => of(&mut ends, end),
                Host::Any => &mut any,
            };
            paths.0.push((path.trim_end_matches('/').to_owned(), thing));
        }
        named.values_mut().chain(ends.values_mut()).chain([&mut any]).for_each(Paths::put_in_order);
        let longest_end = ends.keys().map(String::len).max().unwrap_or_default();
        Table { named, ends, longest_end, any }
    }

    /// The thing for this path on this host, which is asked for only if that matters: the one for the host itself, then the one for
    /// the longest end of it, then the one for any; and among these the one for the longest beginning of the path.
    pub(super) fn find<'a>(&self, host: impl FnOnce() -> &'a str, path: &str) -> Option<&T> {
        let of_host = || {
            let host = in_small_letters(host());
            let named = self.named.get(&*host).and_then(|paths| paths.find(path));
            named.or_else(|| self.ends_of(&host).find_map(|paths| paths.find(path)))
        };
        let none_of_hosts = self.named.is_empty() && self.ends.is_empty();
        let found = if none_of_hosts { None } else { of_host() };
        found.or_else(|| self.any.find(path))
    }

    /// What there is for ends of the host, the longest first.
    fn ends_of(&self, host: &str) -> impl Iterator<Item = &Paths<T>> {
        // What comes before the end is at least a byte, and no look is wasted on ends that are too long to be known.
        let first = host.len().saturating_sub(self.longest_end).max(1);
        let dots = host.bytes().enumerate().skip(first).filter(|(_, byte)| *byte == b'.');
        dots.filter_map(|(at, _)| self.ends.get(&host[at..]))
    }
}

/// What a map has for this key, which is made if need be.
fn of<T>(map: &mut HashMap<String, Paths<T>>, key: String) -> &mut Paths<T> {
    match map.entry(key) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(new) => new.insert(Paths(Vec::new())),
    }
}

/// As hosts of settings are written. Nearly all clients write them so, too.
fn in_small_letters(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

impl<T> Paths<T> {
    fn put_in_order(&mut self) {
        self.0.sort_by(|(one, _), (other, _)| by_segments(one, other));
        self.0.dedup_by(|(later, _), (first, _)| later == first);
    }

    /// The thing for the longest beginning of the path.
    fn find(&self, path: &str) -> Option<&T> {
        if self.0.len() > FEW {
            return self.search(path);
        }
        // Of two beginnings of a path the longer one stands behind the other.
        let taking = self.0.iter().rfind(|(known, _)| is_below(path, known));
        taking.map(|(_, thing)| thing)
    }

    /// The same in a time that hardly depends on how many there are.
    fn search(&self, mut path: &str) -> Option<&T> {
        // A beginning of the path stands before it, and between the two only what begins like it. So either the last one that is not
        // behind the path is that beginning, or the beginning is one of what the two have in common.
        loop {
            let behind = self.0.partition_point(|(known, _)| by_segments(known, path) != Ordering::Greater);
            let (known, thing) = &self.0[behind.checked_sub(1)?];
            if is_below(path, known) {
                return Some(thing);
            }
            path = common(known, path);
        }
    }
}

/// Whether a path begins with these segments.
fn is_below(path: &str, beginning: &str) -> bool {
    // Nothing is the beginning of all, of the `*` of OPTIONS too.
    beginning.is_empty() || path.strip_prefix(beginning).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The order of paths by their first segment, then by their second, and so on.
fn by_segments(one: &str, other: &str) -> Ordering {
    let differ = differ_at(one, other);
    // What ends comes first, then what ends a segment.
    let rank = |path: &str| path.as_bytes().get(differ).map(|byte| (*byte != b'/', *byte));
    rank(one).cmp(&rank(other))
}

/// The segments that a path begins with as this one does, which is no beginning of it.
fn common<'a>(known: &str, path: &'a str) -> &'a str {
    let differ = differ_at(known, path);
    let is_whole = |path: &str| matches!(path.as_bytes().get(differ), None | Some(b'/'));
    let last_slash = || path.as_bytes()[..differ].iter().rposition(|byte| *byte == b'/');
    let length = if is_whole(known) && is_whole(path) { differ } else { last_slash().unwrap_or_default() };
    &path[..length]
}

/// The first byte in which they differ, or where one of them ends.
fn differ_at(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    // Eight at a time first: most of what is compared has a long beginning in common.
    let eights = one.as_chunks::<8>().0.iter().zip(other.as_chunks::<8>().0);
    let same = 8 * eights.take_while(|(one, other)| one == other).count();
    same + one[same..].iter().zip(&other[same..]).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::collection;
    use proptest::prelude::*;

    use super::*;

    /// What is said in the docs, read word by word: all that take a request are looked at, and the most specific one has it.
    fn as_the_docs_say(things: &[(Host, String)], host: &str, path: &str) -> Option<usize> {
        let is_of_host = |named: &Host| match named {
            Host::Is(name) => host.eq_ignore_ascii_case(name),
            Host::EndsWith(end) => {
                let cut = host.len().checked_sub(end.len()).filter(|cut| *cut > 0);
                cut.and_then(|cut| host.get(cut..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
            }
            Host::Any => true,
        };
        let without_slash = |prefix: &str| prefix.trim_end_matches('/').to_owned();
        let is_below = |prefix: &str| {
            let prefix = without_slash(prefix);
            let rest = path.strip_prefix(&*prefix);
            rest.is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
        };
        let specific = |host: &Host| match host {
            Host::Is(_) => (0, Reverse(0)),
            Host::EndsWith(end) => (1, Reverse(end.len())),
            Host::Any => (2, Reverse(0)),
        };
        let taking = things.iter().enumerate().filter(|(_, (host, prefix))| is_of_host(host) && is_below(prefix));
        let first = taking.min_by_key(|(_, (host, path))| (specific(host), Reverse(without_slash(path).len())));
        first.map(|(index, _)| index)
    }

    /// What is found by a look at each path, which has to be found by a search as well.
    fn found(things: &[(Host, String)], host: &str, path: &str) -> Option<usize> {
        let table = table(things);
        let in_any = table.any.search(path).copied();
        assert_eq!(table.any.find(path).copied(), in_any, "{things:?} {path}");
        table.find(|| host, path).copied()
    }

    fn table(things: &[(Host, String)]) -> Table<usize> {
        Table::new(things.iter().cloned().enumerate().map(|(index, (host, path))| (host, path, index)))
    }

    /// Few labels and segments, so that much has much in common; some that stand before and behind a slash in the order of bytes.
    fn things() -> impl Strategy<Value = Vec<(Host, String)>> {
        let host = prop_oneof![
            "[ab](\\.[ab]){0,3}".prop_map(Host::Is),
            "(\\.[ab]){1,3}|\\.\\.a".prop_map(Host::EndsWith),
            Just(Host::Any),
        ];
        let path = "(/[ab]|/a-|/a\\.|/a0|/){1,4}";
        collection::vec((host, path), 0..60)
    }

    proptest! {
        #[test]
        fn it_finds_what_the_docs_say(
            things in things(),
            host in "[abAB](\\.[abAB]?){0,4}|\\.a|",
            path in "(/[ab]|/a-|/a\\.|/a0|/ab|/){0,6}|\\*",
        ) {
            prop_assert_eq!(found(&things, &host, &path), as_the_docs_say(&things, &host, &path));
        }

        #[test]
        fn any_text_is_looked_for(things in things(), host in "\\PC*", path in "\\PC*") {
            prop_assert_eq!(found(&things, &host, &path), as_the_docs_say(&things, &host, &path));
        }
    }

    #[test]
    fn the_host_is_not_looked_at_where_it_does_not_matter() {
        let things = [(Host::Any, "/".to_owned()), (Host::Any, "/a".to_owned())];
        let nobody_asks = || -> &str { panic!("it was asked for") };
        assert_eq!(table(&things[..1]).find(nobody_asks, "/x"), Some(&0));
        assert_eq!(table(&things).find(nobody_asks, "/a/x"), Some(&1));
        assert_eq!(Table::<usize>::new([]).find(nobody_asks, "/"), None);
    }
}
