//! The first look for a group's upstreams. What is not there yet is no reason not to start: it is told, and looked for again.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::watch::Watch;
use super::{Known, Options, Source};
use crate::outbound::Upstreams;
use crate::waits;

/// All first looks together take no longer. Who has not heard by then goes on without.
const LONGEST: Duration = Duration::from_secs(5);

/// Groups whose upstreams are looked for at the same time.
const AT_ONCE: usize = 64;

/// Sources that a line names.
const MOST_NAMED: usize = 3;

/// A group whose upstreams are about to be looked for.
pub(crate) struct Search {
    watch: Watch,
    upstreams: Arc<Upstreams>,
    /// Sources that have to be looked up.
    names: Vec<String>,
}

impl Search {
    /// One for the upstreams of these sources. Nothing is looked up yet, and what is known from before holds until something else is
    /// found.
    ///
    /// # Errors
    ///
    /// One line that names the source: its file cannot be read, or says what makes no sense.
    pub(crate) fn new(
        sources: &[Source],
        options: &Options,
        known: &Known,
        upstreams: &Arc<Upstreams>,
    ) -> anyhow::Result<Search> {
        let names = sources.iter().filter(|source| source.fixed().is_none()).map(ToString::to_string).collect();
        Ok(Search { watch: Watch::new(sources, options, known)?, upstreams: Arc::clone(upstreams), names })
    }

    /// Looks everything up once, gives the group what is found by then, and goes on to look until the group is gone. Tells what is not
    /// found, each a line that begins with `--out`.
    ///
    /// # Errors
    ///
    /// There can be no such upstream.
    async fn begin(mut self, until: Instant) -> anyhow::Result<Vec<String>> {
        let missing = self.watch.look_first(until).await;
        self.watch.give(&self.upstreams)?;
        if self.watch.may_change() {
            let task = tokio::spawn(self.watch.run(Arc::downgrade(&self.upstreams)));
            self.upstreams.found_by(AbortOnDropHandle::new(task));
        }
        Ok(missing)
    }
}

/// Begins all of these searches, and waits for what is found soon. Tells of each, by the number that it was given with, what is not
/// found, or why there can be no such upstream; in the order of the numbers.
pub(crate) async fn begin(searches: Vec<(usize, Search)>) -> Vec<(usize, anyhow::Result<Vec<String>>)> {
    let until = Instant::now() + LONGEST;
    let (places, mut begun) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    let waits = Mutex::new(BTreeMap::new());
    for (number, mut search) in searches {
        lock(&waits).insert(number, std::mem::take(&mut search.names));
        let places = Arc::clone(&places);
        begun.spawn(async move {
            let _place = places.acquire_owned().await;
            (number, search.begin(until).await)
        });
    }
    let all = async {
        let mut told = Vec::new();
        while let Some(one) = begun.join_next().await {
            let (number, found) = one.unwrap_or_else(|error| resume_unwind(error.into_panic()));
            lock(&waits).remove(&number);
            told.push((number, found));
        }
        told
    };
    let mut told = waits::telling(|| waits_for(lock(&waits).values().flatten()), all).await;
    told.sort_by_key(|(number, _)| *number);
    told
}

/// The line on look-ups that take long.
fn waits_for<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(String::as_str).collect();
    let (named, more) = names.split_at(names.len().min(MOST_NAMED));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    format!("waiting for DNS, {} s at the most: {}{more}", LONGEST.as_secs(), named.join(", "))
}

/// What a look may wait for, by the number that it was given with.
type Waits = BTreeMap<usize, Vec<String>>;

fn lock(waits: &Mutex<Waits>) -> MutexGuard<'_, Waits> {
    waits.lock().unwrap_or_else(PoisonError::into_inner)
}
