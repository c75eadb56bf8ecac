//! Keeps a group's upstreams what its sources say.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::bail;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::source::{Source, To};
use super::watched_file::WatchedFile;
use super::{FIRST_RETRY, Failed, Finder, LAST_RETRY, Looked, Options, Subset};
use crate::misfit::Misfit;
use crate::outbound::{Place, Upstreams};

/// Names of a group that are looked up at the same time.
const AT_ONCE: usize = 64;

/// Finds the upstreams of the sources, gives them to the group, and goes on to do so until the group is gone.
///
/// # Errors
///
/// One line that names the source: nothing is found for it now, or there can be no such upstream.
pub(crate) async fn start(sources: &[Source], options: &Options, upstreams: &Arc<Upstreams>) -> anyhow::Result<()> {
    let mut watch = Watch::new(sources, options)?;
    watch.look_first().await?;
    upstreams.replace(&watch.places())?;
    if watch.may_change() {
        let task = tokio::spawn(watch.run(Arc::downgrade(upstreams)));
        upstreams.found_by(AbortOnDropHandle::new(task));
    }
    Ok(())
}

/// All sources of a group, and what they have led to.
struct Watch {
    finder: Finder,
    options: Options,
    parts: Vec<Part>,
    /// Look-ups that are under way: of which entry, and what came of it.
    looks: JoinSet<(u64, Result<Looked, String>)>,
    last_id: u64,
}

/// What one source of the settings has led to.
struct Part {
    file: Option<WatchedFile>,
    entries: Vec<Entry>,
}

/// A source that is no file.
struct Entry {
    id: u64,
    source: Source,
    places: Vec<Place>,
    /// When to look again; not while that is being done.
    due: Option<Instant>,
    /// Look-ups in a row that failed.
    failures: u32,
}

impl Watch {
    fn new(sources: &[Source], options: &Options) -> anyhow::Result<Watch> {
        let mut watch = Watch {
            finder: Finder::new(sources, options)?,
            options: options.clone(),
            parts: Vec::with_capacity(sources.len()),
            looks: JoinSet::new(),
            last_id: 0,
        };
        for source in sources {
            let part = match &source.to {
                To::File(path) => {
                    let (file, inner) = WatchedFile::open(path.clone(), source)
                        .map_err(|why| Misfit::new(format!("--out {source}: {why}")))?;
                    Part { file: Some(file), entries: inner.into_iter().map(|inner| watch.entry(inner)).collect() }
                }
                _ => Part { file: None, entries: vec![watch.entry(source.clone())] },
            };
            watch.parts.push(part);
        }
        Ok(watch)
    }

    fn entry(&mut self, source: Source) -> Entry {
        self.last_id += 1;
        let fixed = source.fixed();
        let due = if fixed.is_some() { None } else { Some(Instant::now()) };
        Entry { id: self.last_id, source, places: fixed.into_iter().collect(), due, failures: 0 }
    }

    /// Looks everything up once. What the settings name has to be found; of what a file names, something.
    async fn look_first(&mut self) -> anyhow::Result<()> {
        self.begin(Instant::now());
        while let Some(looked) = self.looks.join_next().await {
            if let Ok((id, Err(why))) = &looked
                && let Some(source) = self.named(*id)
            {
                let (name, hint) = (source.name(), "check the name and this machine's DNS");
                bail!("--out {source}: cannot find the address of {name:?}: {why}; {hint}");
            }
            self.learn(looked, Instant::now());
            self.begin(Instant::now());
        }
        if self.places().is_empty() {
            bail!("--out: no upstream is found; check the names and this machine's DNS");
        }
        Ok(())
    }

    /// The source of that entry, if the settings name it themselves.
    fn named(&self, id: u64) -> Option<&Source> {
        let mut named = self.parts.iter().filter(|part| part.file.is_none()).flat_map(|part| &part.entries);
        named.find(|entry| entry.id == id).map(|entry| &entry.source)
    }

    /// Whether anything may lead elsewhere one day.
    fn may_change(&self) -> bool {
        self.parts
            .iter()
            .any(|part| part.file.is_some() || part.entries.iter().any(|entry| entry.source.fixed().is_none()))
    }

    /// Looks again and again, until the group is gone.
    async fn run(mut self, upstreams: Weak<Upstreams>) {
        loop {
            let next = self.next_due();
            let changed = tokio::select! {
                () = sleep_until(next) => self.read_files().await,
                Some(looked) = self.looks.join_next() => self.learn(looked, Instant::now()),
            };
            self.begin(Instant::now());
            let Some(upstreams) = upstreams.upgrade() else { return };
            if changed {
                self.tell(&upstreams);
            }
        }
    }

    fn next_due(&self) -> Instant {
        let entries = self.parts.iter().flat_map(|part| &part.entries).filter_map(|entry| entry.due);
        let files = self.parts.iter().filter_map(|part| part.file.as_ref()).map(WatchedFile::due);
        let next = if self.looks.len() < AT_ONCE { entries.chain(files).min() } else { files.min() };
        next.unwrap_or_else(|| Instant::now() + LAST_RETRY)
    }

    /// Begins the look-ups that are due.
    fn begin(&mut self, now: Instant) {
        for entry in self.parts.iter_mut().flat_map(|part| &mut part.entries) {
            if self.looks.len() < AT_ONCE && entry.due.take_if(|due| *due <= now).is_some() {
                let (finder, source, id) = (self.finder.clone(), entry.source.clone(), entry.id);
                self.looks.spawn(async move { (id, finder.look(&source).await) });
            }
        }
    }

    /// What a look-up came to. Tells whether that changes anything.
    fn learn(&mut self, looked: Result<(u64, Result<Looked, String>), JoinError>, now: Instant) -> bool {
        let Ok((id, looked)) = looked else { return false };
        let mut entries = self.parts.iter_mut().flat_map(|part| &mut part.entries);
        // A file may not name it any more.
        entries.find(|entry| entry.id == id).is_some_and(|entry| entry.learn(looked, now))
    }

    /// Reads the files that have changed. Tells whether that changes anything.
    async fn read_files(&mut self) -> bool {
        let mut changed = false;
        for index in 0..self.parts.len() {
            let Some(file) = &mut self.parts[index].file else { continue };
            let Some(sources) = file.look(Instant::now()).await else { continue };
            let mut old = std::mem::take(&mut self.parts[index].entries);
            for source in sources {
                let known = old.iter().position(|entry| entry.source == source);
                let entry = known.map_or_else(|| self.entry(source), |known| old.swap_remove(known));
                self.parts[index].entries.push(entry);
            }
            changed = true;
        }
        changed
    }

    fn tell(&self, upstreams: &Upstreams) {
        let places = self.places();
        if places.is_empty() {
            tracing::warn!("no upstream is found any more; those of before stay");
        } else if let Err(error) = upstreams.replace(&places) {
            tracing::warn!("upstreams stay as they are: {error:#}");
        }
    }

    /// The upstreams of now: each once, and no more than there may be.
    fn places(&self) -> Vec<Place> {
        let mut known = HashSet::new();
        let found = self.parts.iter().flat_map(|part| &part.entries).flat_map(|entry| &entry.places);
        let places: Vec<_> = found.filter(|place| known.insert(place.to_string())).cloned().collect();
        let all = places.len();
        let places = match &self.options.subset {
            Some(subset) => part(places, subset),
            None => places,
        };
        if places.len() <= self.options.most {
            return places;
        }
        tracing::warn!(
            "{all} upstreams are found; {} of them are used, as many as a group may have",
            self.options.most
        );
        part(places, &Subset { size: self.options.most, node: 0 })
    }
}

fn part(places: Vec<Place>, subset: &Subset) -> Vec<Place> {
    let names: Vec<_> = places.iter().map(ToString::to_string).collect();
    let chosen: HashSet<_> = subset.choose(&names).into_iter().collect();
    places.into_iter().enumerate().filter(|(index, _)| chosen.contains(index)).map(|(_, place)| place).collect()
}

impl Entry {
    /// What a look-up came to. Tells whether that changes anything.
    fn learn(&mut self, looked: Result<Looked, String>, now: Instant) -> bool {
        let kept = !self.places.is_empty();
        match looked {
            Ok(looked) if kept && !looked.is_all => self.fail("some of its hosts cannot be found", now),
            Ok(mut looked) => {
                match looked.failed.take() {
                    Some(failed) => {
                        looked.places.extend(self.kept(&failed, &looked.places));
                        self.fail_in_part(&failed, looked.again, now);
                    }
                    None => self.is_well(looked.again),
                }
                // Answers come in any order.
                looked.places.sort_by_cached_key(ToString::to_string);
                let changed = looked.places != self.places;
                self.places = looked.places;
                changed
            }
            Err(why) => self.fail(&why, now),
        }
    }

    /// It was found, all of it.
    fn is_well(&mut self, again: Instant) {
        if self.failures > 0 {
            tracing::info!("{}: is found again", self.source);
        }
        (self.failures, self.due) = (0, Some(again));
    }

    /// The addresses of before which may still be there.
    fn kept(&self, failed: &Failed, found: &[Place]) -> Vec<Place> {
        let stays = |place: &&Place| {
            place.ip().is_some_and(|ip| failed.families.has(ip)) && !found.iter().any(|found| found.is_same(place))
        };
        self.places.iter().filter(stays).cloned().collect()
    }

    /// Addresses of some families were found, and of some it is not known whether there are any.
    fn fail_in_part(&mut self, failed: &Failed, again: Instant, now: Instant) {
        if self.failures == 0 {
            let (which, why) = (failed.families.words(), &failed.why);
            tracing::warn!("{}: {which} cannot be looked up: {why}; those of before stay", self.source);
        }
        self.due = Some(again.min(now + pause(self.failures)));
        self.failures = self.failures.saturating_add(1);
    }

    /// It was not found, or not all of it. What it was before, it still is.
    fn fail(&mut self, why: &str, now: Instant) -> bool {
        if self.failures == 0 {
            let kept = match self.places.len() {
                0 => "it has no upstream so far".to_owned(),
                kept => format!("its {kept} upstreams of before stay"),
            };
            tracing::warn!("{}: cannot be looked up: {why}; {kept}", self.source);
        }
        self.due = Some(now + pause(self.failures));
        self.failures = self.failures.saturating_add(1);
        false
    }
}

/// How long to wait after so many failures and one more.
fn pause(failures: u32) -> Duration {
    let pause = FIRST_RETRY.saturating_mul(1 << failures.min(16)).min(LAST_RETRY);
    // Never less than the first, and not at the same moment as all other nodes.
    pause.mul_f64(1.0 + fastrand::f64() / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::Families;

    fn entry(url: &str) -> Entry {
        Entry { id: 1, source: Source::parse(url).expect("a URL"), places: Vec::new(), due: None, failures: 0 }
    }

    fn looked(urls: &[&str], now: Instant, is_all: bool) -> Result<Looked, String> {
        let place = |url: &&str| Source::parse(url).expect("a URL").fixed().expect("an address");
        Ok(Looked {
            places: urls.iter().map(place).collect(),
            again: now + Duration::from_secs(7),
            is_all,
            failed: None,
        })
    }

    fn urls(entry: &Entry) -> Vec<String> {
        entry.places.iter().map(ToString::to_string).collect()
    }

    fn seconds_to(due: Option<Instant>, now: Instant) -> f64 {
        due.expect("it is looked up again").saturating_duration_since(now).as_secs_f64()
    }

    #[test]
    fn what_is_not_found_leaves_what_was_there_and_is_asked_for_more_and_more_seldom() {
        let (mut entry, now) = (entry("http+srv://_a._tcp.b"), Instant::now());
        assert!(!entry.learn(Err("no answer".to_owned()), now));
        assert!(
            entry.learn(looked(&["http://10.0.0.2", "http://10.0.0.1"], now, false), now),
            "some are better than none"
        );
        assert!(
            !entry.learn(looked(&["http://10.0.0.1", "http://10.0.0.2"], now, true), now),
            "the order is no change"
        );
        assert_eq!(seconds_to(entry.due, now), 7.0);
        assert!(!entry.learn(looked(&["http://10.0.0.1"], now, false), now), "the other may be there");
        let mut last = 0.0;
        for _ in 0..10 {
            let pause = seconds_to(entry.due, now);
            assert!((1.0..=37.5).contains(&pause) && pause >= last * 0.8, "{pause} after {last}");
            last = pause;
            assert!(!entry.learn(Err("no answer".to_owned()), now));
        }
        assert_eq!(entry.places.len(), 2);
        assert!(entry.learn(looked(&["http://10.0.0.1"], now, true), now));
        assert_eq!((entry.places.len(), entry.failures), (1, 0));
    }

    #[test]
    fn addresses_of_a_family_that_cannot_be_looked_up_stay_and_others_change() {
        let (mut entry, now) = (entry("http://a"), Instant::now());
        let without_six = |urls: &[&str]| {
            let failed = Failed { families: Families { ipv4: false, ipv6: true }, why: "no answer".to_owned() };
            Ok(Looked { failed: Some(failed), ..looked(urls, now, true).expect("found") })
        };
        entry.learn(looked(&["http://10.0.0.1", "http://[fd00::1]"], now, true), now);
        assert!(entry.learn(without_six(&["http://10.0.0.2"]), now));
        assert_eq!(urls(&entry), ["http://10.0.0.2:80", "http://[fd00::1]:80"]);
        assert!((1.0..=1.25).contains(&seconds_to(entry.due, now)), "soon, as after other failures");
        for _ in 0..5 {
            assert!(!entry.learn(without_six(&["http://10.0.0.2"]), now));
        }
        assert_eq!(seconds_to(entry.due, now), 7.0, "no more seldom than the others are looked up");
        assert!(entry.learn(looked(&["http://10.0.0.2"], now, true), now), "it has none any more");
        assert_eq!((urls(&entry), entry.failures), (vec!["http://10.0.0.2:80".to_owned()], 0));
    }
}
