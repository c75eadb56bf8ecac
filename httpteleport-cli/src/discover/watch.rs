//! Keeps a group's upstreams what its sources say.

use std::collections::HashSet;
use std::sync::Weak;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::entry::Entry;
use super::source::{Source, To};
use super::watched_file::WatchedFile;
use super::{Finder, Known, LAST_RETRY, Looked, Options, Subset};
use crate::misfit::Misfit;
use crate::outbound::{Place, Upstreams};

/// Names of a group that are looked up at the same time.
const AT_ONCE: usize = 64;
/// Addresses of one host that are used; with a subset it is that which says how many are.
const MOST_ADDRESSES: usize = 1000;

/// All sources of a group, and what they have led to.
pub(super) struct Watch {
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
    named: Source,
    file: Option<WatchedFile>,
    entries: Vec<Entry>,
}

impl Watch {
    /// Looks at nothing but files yet; what is known of the sources holds.
    ///
    /// # Errors
    ///
    /// One line that names the source: its file cannot be read, or says what makes no sense.
    pub(super) fn new(sources: &[Source], options: &Options, known: &Known) -> anyhow::Result<Watch> {
        let mut watch = Watch {
            finder: Finder::new(options),
            options: options.clone(),
            parts: Vec::with_capacity(sources.len()),
            looks: JoinSet::new(),
            rests: JoinSet::new(),
            last_id: 0,
        };
        for source in sources {
            let (file, mut inner) = match &source.to {
                To::File(path) => {
                    let opened = WatchedFile::open(path.clone(), source);
                    let (file, inner) = opened.map_err(|why| Misfit::new(format!("--out {source}: {why}")))?;
                    (Some(file), inner)
                }
                _ => (None, vec![source.clone()]),
            };
            if inner.is_empty() {
                inner = known.in_file(source);
            }
            let list = file.is_some().then_some(source);
            let entries = inner.into_iter().map(|inner| watch.entry(inner, list, known)).collect();
            watch.parts.push(Part { named: source.clone(), file, entries });
        }
        Ok(watch)
    }

    /// One for this source, which the file of `list` names if there is one.
    fn entry(&mut self, source: Source, list: Option<&Source>, known: &Known) -> Entry {
        let name = list.map_or_else(|| source.to_string(), |list| format!("{list}: {source}"));
        self.last_id += 1;
        let fixed = source.fixed();
        let due = if fixed.is_some() { None } else { Some(Instant::now()) };
        let most = match (&source.to, &self.options.subset) {
            (To::Host(_), None) => MOST_ADDRESSES,
            _ => usize::MAX,
        };
        let places = fixed.map_or_else(|| known.places(&source, &self.options), |place| vec![place]);
        Entry { id: self.last_id, source, name, places, most, is_cut: false, due, failures: 0, lacking: None }
    }

    /// Looks everything up once, until that time at the most; what is late comes later. Tells what there is not, each a line that
    /// begins with `--out`.
    pub(super) async fn look_first(&mut self, until: Instant) -> Vec<String> {
        let empty = self.parts.iter().filter(|part| part.entries.is_empty());
        let mut missing: Vec<_> =
            empty.map(|part| format!("--out {}: it names no upstream; write some into it", part.named)).collect();
        self.begin(Instant::now());
        while let Ok(Some(looked)) = timeout_at(until, self.looks.join_next()).await {
            let now = Instant::now();
            match looked {
                Ok((id, Err(why))) => missing.extend(self.entry_of(id).map(|entry| entry.miss(&why, now))),
                Ok((id, Ok(looked))) => {
                    missing.extend(self.entry_of(id).and_then(|entry| entry.lack_at_first(&looked)));
                    self.learn(Ok((id, Ok(looked))), now);
                }
                Err(_) => {}
            }
            self.begin(now);
        }
        let entries = self.parts.iter_mut().flat_map(|part| &mut part.entries);
        let unheard = entries.filter(|entry| entry.places.is_empty() && entry.failures == 0);
        missing.extend(unheard.map(|entry| entry.wait_on("no DNS server has answered so far")));
        missing
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.parts.iter().flat_map(|part| &part.entries)
    }

    /// The entry of that number; a file may not name it any more.
    fn entry_of(&mut self, id: u64) -> Option<&mut Entry> {
        self.parts.iter_mut().flat_map(|part| &mut part.entries).find(|entry| entry.id == id)
    }

    /// Whether anything may lead elsewhere one day.
    pub(super) fn may_change(&self) -> bool {
        self.parts.iter().any(|part| part.file.is_some()) || self.entries().any(|entry| entry.source.fixed().is_none())
    }

    /// Looks again and again, until the group is gone.
    pub(super) async fn run(mut self, upstreams: Weak<Upstreams>) {
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
        let entries = self.entries().filter_map(|entry| entry.due);
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
        let Some(entry) = self.entry_of(id) else { return false };
        let late = looked.as_mut().ok().and_then(|looked| looked.late.take());
        match (looked, late) {
            (Ok(looked), Some(late)) => {
                let changed = entry.learn_early(looked, late.families);
                self.rests.spawn(async move { (id, late.rest.await) });
                changed
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
            // A line whose weight alone is another one still leads where it led.
            let before = self.known();
            let (mut old, list) = (std::mem::take(&mut self.parts[index].entries), self.parts[index].named.clone());
            for source in sources {
                let same = old.iter().position(|entry| entry.source == source);
                let entry = same.map_or_else(|| self.entry(source, Some(&list), &before), |same| old.swap_remove(same));
                self.parts[index].entries.push(entry);
            }
            changed = true;
        }
        changed
    }

    fn tell(&self, upstreams: &Upstreams) {
        if self.entries().all(|entry| entry.places.is_empty()) {
            if upstreams.has_other(&[]) {
                tracing::warn!("no upstream is found any more; those of before stay");
            }
        } else if let Err(error) = self.give(upstreams) {
            tracing::warn!("upstreams stay as they are: {error:#}");
        }
    }

    /// Gives the group what is found, which may be nothing.
    ///
    /// # Errors
    ///
    /// There can be no such upstream.
    pub(super) fn give(&self, upstreams: &Upstreams) -> anyhow::Result<()> {
        upstreams.replace(&self.places())?;
        upstreams.know(self.known());
        Ok(())
    }

    /// Where all sources lead now.
    fn known(&self) -> Known {
        let mut known = Known::default();
        for part in &self.parts {
            let led = part.entries.iter().map(|entry| (entry.source.clone(), entry.places.clone()));
            known.add(part.named.clone(), led.collect());
        }
        known
    }

    /// The upstreams of now: each once, and no more than there may be.
    fn places(&self) -> Vec<Place> {
        let mut known = HashSet::new();
        let found = self.entries().flat_map(|entry| &entry.places);
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

/// The part of them that a node uses.
pub(super) fn part(places: Vec<Place>, subset: &Subset) -> Vec<Place> {
    let names: Vec<_> = places.iter().map(ToString::to_string).collect();
    let chosen: HashSet<_> = subset.choose(&names).into_iter().collect();
    places.into_iter().enumerate().filter(|(index, _)| chosen.contains(index)).map(|(_, place)| place).collect()
}

#[cfg(test)]
mod tests;
