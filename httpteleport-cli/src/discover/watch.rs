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
use super::{FIRST_RETRY, Failed, Families, Finder, LAST_RETRY, Looked, Options, Subset};
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
    /// Those of which something has come, and some is late.
    rests: JoinSet<(u64, Result<Looked, String>)>,
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
            rests: JoinSet::new(),
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

    /// Looks everything up once. What the settings name has to be found; of what a file names, something. What is late comes later.
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
                Some(looked) = self.rests.join_next() => self.learn(looked, Instant::now()),
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
        let Ok((id, mut looked)) = looked else { return false };
        let mut entries = self.parts.iter_mut().flat_map(|part| &mut part.entries);
        // A file may not name it any more.
        let Some(entry) = entries.find(|entry| entry.id == id) else { return false };
        let late = looked.as_mut().ok().and_then(|looked| looked.late.take());
        match (looked, late) {
            (Ok(looked), Some(late)) => {
                self.rests.spawn(async move { (id, late.rest.await) });
                entry.learn_early(looked, late.families)
            }
            (looked, _) => entry.learn(looked, now),
        }
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
                        let kept = self.kept(failed.families, &looked.places);
                        self.fail_in_part(&failed, kept.len(), looked.again, now);
                        looked.places.extend(kept);
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
    fn learn_early(&mut self, looked: Looked, late: Families) -> bool {
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
        let changed = places != self.places;
        self.places = places;
        changed
    }

    /// It was found, all of it.
    fn is_well(&mut self, again: Instant) {
        if self.failures > 0 {
            tracing::info!("{}: is found again", self.source);
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
                kept => format!("its {kept} of before stay"),
            };
            tracing::warn!("{}: {which} cannot be looked up: {why}; {kept}", self.source);
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
mod tests;
