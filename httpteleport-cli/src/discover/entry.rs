//! A name that is looked up again and again, or an upstream that is written there, and where it leads.

use std::time::Duration;

use tokio::time::Instant;

use super::source::Source;
use super::watch::part;
use super::{FIRST_RETRY, Failed, Families, LAST_RETRY, LAST_SEARCH, Lacking, Looked, Subset};
use crate::outbound::Place;

/// A source that is no file.
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) source: Source,
    /// What people know it by: its URL, behind the file that names it.
    pub(super) name: String,
    pub(super) places: Vec<Place>,
    /// So many places at most.
    pub(super) most: usize,
    /// Whether there are more.
    pub(super) is_cut: bool,
    /// When to look again; not while that is being done.
    pub(super) due: Option<Instant>,
    /// Look-ups in a row that failed.
    pub(super) failures: u32,
    /// Hosts that have no address, of which people know.
    pub(super) lacking: Option<Lacking>,
}

impl Entry {
    /// What a look-up came to. Tells whether that changes anything.
    pub(super) fn learn(&mut self, looked: Result<Looked, String>, now: Instant) -> bool {
        let kept = !self.places.is_empty();
        match looked {
            Ok(Looked { is_all: false, lacking, .. }) if kept => {
                let why =
                    lacking.map_or_else(|| "not all of its hosts are found".to_owned(), |lacking| lacking.to_string());
                self.fail(&why, now)
            }
            Ok(mut looked) => {
                self.note_lacking(looked.lacking.take());
                match looked.failed.take() {
                    Some(failed) => {
                        let kept = self.kept(failed.families, &looked.places);
                        self.fail_in_part(&failed, kept.len(), looked.again, now);
                        looked.places.extend(kept);
                    }
                    // Those that are not found just now may be soon.
                    None if !looked.is_all => {
                        self.put_off(now);
                        self.due = self.due.min(Some(looked.again));
                    }
                    None => self.is_well(looked.again),
                }
                self.lead_to(looked.places)
            }
            Err(why) => self.fail(&why, now),
        }
    }

    /// What a look-up came to that goes on, as addresses of some families are late: those of before stay until it is over. Tells whether
    /// that changes anything.
    pub(super) fn learn_early(&mut self, looked: Looked, late: Families) -> bool {
        if !self.places.is_empty() && !looked.is_all {
            return false;
        }
        let unsure = looked.failed.map_or(late, |failed| failed.families.and(late));
        let kept = self.kept(unsure, &looked.places);
        self.lead_to(looked.places.into_iter().chain(kept).collect())
    }

    /// From now on these are its places. Tells whether that changes anything.
    fn lead_to(&mut self, mut places: Vec<Place>) -> bool {
        // Answers come in any order.
        places.sort_by_cached_key(ToString::to_string);
        let places = self.cut(places);
        let changed = places != self.places;
        self.places = places;
        changed
    }

    /// As many of them as may be used: the same ones each time, as far as they are still there.
    fn cut(&mut self, places: Vec<Place>) -> Vec<Place> {
        let was_cut = std::mem::replace(&mut self.is_cut, places.len() > self.most);
        if !self.is_cut {
            return places;
        }
        if !was_cut {
            let (all, most) = (places.len(), self.most);
            tracing::warn!("{}: has {all} addresses; {most} of them are used, as many as one host may have", self.name);
        }
        part(places, &Subset { size: self.most, node: 0 })
    }

    /// Tells people of hosts that have no address, once; and when all have one again.
    fn note_lacking(&mut self, lacking: Option<Lacking>) {
        match (&self.lacking, &lacking) {
            (Some(known), Some(lacking)) if known.is_same(lacking) => {}
            (_, Some(lacking)) => tracing::warn!("{}: {lacking}; its others are used", self.name),
            (Some(_), None) if self.failures == 0 => tracing::info!("{}: all of its hosts have addresses", self.name),
            (_, None) => {}
        }
        self.lacking = lacking;
    }

    /// Of hosts that have no address at the start: a line that begins with `--out`, after which there is none in the log.
    pub(super) fn lack_at_first(&mut self, looked: &Looked) -> Option<String> {
        self.lacking.clone_from(&looked.lacking);
        let lacking = self.lacking.as_ref()?;
        Some(format!("--out {}: {lacking}; its others are used", self.name))
    }

    /// It was found, all of it.
    fn is_well(&mut self, again: Instant) {
        if self.failures > 0 {
            let again = if self.places.is_empty() { "" } else { " again" };
            tracing::info!("{}: is found{again}", self.name);
        }
        (self.failures, self.due) = (0, Some(again));
    }

    /// The addresses of before which may still be there, of families that are not known.
    fn kept(&self, unsure: Families, found: &[Place]) -> Vec<Place> {
        let stays = |place: &&Place| {
            place.ip().is_some_and(|ip| unsure.has(ip)) && !found.iter().any(|found| found.is_same(place))
        };
        self.places.iter().filter(stays).cloned().collect()
    }

    /// Addresses of some families were found, and of some it is not known whether there are any; so many of before stay.
    fn fail_in_part(&mut self, failed: &Failed, kept: usize, again: Instant, now: Instant) {
        if self.failures == 0 {
            let (which, why) = (failed.families.words(), &failed.why);
            let kept = match kept {
                0 => "it has none so far".to_owned(),
                1 => "its one of before stays".to_owned(),
                kept => format!("its {kept} of before stay"),
            };
            tracing::warn!("{}: {which} cannot be looked up: {why}; {kept}", self.name);
        }
        self.put_off(now);
        self.due = self.due.min(Some(again));
    }

    /// It was not found, or not all of it. What it was before, it still is.
    fn fail(&mut self, why: &str, now: Instant) -> bool {
        if self.failures == 0 {
            let kept = match self.places.len() {
                0 => "it has no upstream so far".to_owned(),
                kept => stay(kept),
            };
            tracing::warn!("{}: cannot be looked up: {why}; {kept}", self.name);
        }
        self.put_off(now);
        false
    }

    /// It was not found at the start. Says so in a line that begins with `--out`.
    pub(super) fn miss(&mut self, why: &str, now: Instant) -> String {
        self.put_off(now);
        self.missing(why)
    }

    /// The same while the look-up goes on, or has not begun.
    pub(super) fn wait_on(&mut self, why: &str) -> String {
        self.failures = 1;
        self.missing(why)
    }

    fn missing(&self, why: &str) -> String {
        let kept = match self.places.len() {
            0 => "it is looked up again until it is found".to_owned(),
            kept => stay(kept),
        };
        let name = self.source.name();
        let what = format!("--out {}: cannot find the address of {name:?}", self.name);
        format!("{what}: {why}; {kept}: check the name and this machine's DNS")
    }

    /// One more failure: when to look again.
    fn put_off(&mut self, now: Instant) {
        let last = if self.places.is_empty() { LAST_SEARCH } else { LAST_RETRY };
        self.due = Some(now + pause(self.failures, last));
        self.failures = self.failures.saturating_add(1);
    }
}

/// What becomes of so many upstreams that were found before.
fn stay(upstreams: usize) -> String {
    match upstreams {
        1 => "its upstream of before stays".to_owned(),
        _ => format!("its {upstreams} upstreams of before stay"),
    }
}

/// How long to wait after so many failures and one more: not much longer than the last.
fn pause(failures: u32, last: Duration) -> Duration {
    let pause = FIRST_RETRY.saturating_mul(1 << failures.min(16)).min(last);
    // Never less than the first, and not at the same moment as all other nodes.
    pause.mul_f64(1.0 + fastrand::f64() / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::Source;

    fn lacking(hosts: &[&str]) -> Option<Lacking> {
        Lacking::of(hosts.iter().map(|host| ((*host).to_owned(), "gone".to_owned())))
    }

    #[test]
    fn hosts_that_are_not_found_just_now_are_looked_for_soon() {
        let source = Source::parse("http+srv://_a._tcp.b").expect("a URL");
        let place = Source::parse("http://10.0.0.1").expect("a URL").fixed().expect("an address");
        let name = source.to_string();
        let mut entry = Entry {
            id: 1,
            source,
            name,
            places: Vec::new(),
            most: 9,
            is_cut: false,
            due: None,
            failures: 0,
            lacking: None,
        };
        let now = Instant::now();
        let looked = |is_all, hosts: &[&str]| {
            let (places, again) = (vec![place.clone()], now + Duration::from_secs(99));
            Looked { places, again, is_all, failed: None, lacking: lacking(hosts), late: None }
        };
        let told = entry.lack_at_first(&looked(false, &["h"])).expect("one lacks");
        assert_eq!(told, "--out http+srv://_a._tcp.b: its host h has no address: gone; its others are used");
        assert!(entry.learn(Ok(looked(false, &["h"])), now), "some are better than none");
        assert!(entry.due.is_some_and(|due| due < now + Duration::from_secs(2)), "not when its records are over");
        assert!(!entry.learn(Ok(looked(true, &["h"])), now), "nobody knows that host");
        assert_eq!((entry.due, entry.lacking.clone()), (Some(now + Duration::from_secs(99)), lacking(&["h"])));
        entry.learn(Ok(looked(true, &[])), now);
        assert_eq!(entry.lacking, None);
    }

    #[test]
    fn hosts_are_the_same_in_any_order() {
        let (one, other) = (lacking(&["b", "a", "b"]).expect("some"), lacking(&["a", "b"]).expect("some"));
        assert!(one.is_same(&other) && !one.is_same(&lacking(&["a"]).expect("one")));
        assert_eq!(one.to_string(), "2 of its hosts have no address, a among them: gone");
        assert_eq!(lacking(&[]), None);
    }
}
