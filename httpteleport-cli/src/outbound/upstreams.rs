//! Upstreams that stand in for each other. Which they are may change at any time: a request sees one unchanging set.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use fastrand::Rng;
use http::Response;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;
use tokio_util::task::AbortOnDropHandle;

use super::place::Place;
use super::target::{Attempt, Snapshot, Target, outcome_of_failure, outcome_of_status};
use super::verdict::{Verdict, says};
use super::{Failure, Upstream, changes};
use crate::balance::{self, Change, Entry, Outcome, Table};
use crate::body::Body;
use crate::discover::Known;
use crate::request::Progress;
use crate::retry::{self, Budget};
use crate::{grpc, health};

/// How a group deals with its upstreams.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Options {
    /// Who gets the next request, and who none.
    pub(crate) balance: balance::Options,
    /// What may be sent again.
    pub(crate) retry: retry::Options,
    /// Whether and how they are asked if they are well. Default: they are not.
    pub(crate) health: Option<health::Options>,
}

/// Makes the upstream that is at a place. Nothing is connected yet.
pub(crate) type Build = Box<dyn Fn(&Place) -> anyhow::Result<Upstream> + Send + Sync>;

/// A group of upstreams.
pub(crate) struct Upstreams {
    options: Options,
    build: Build,
    /// Requests that may run at a time, over all of them.
    concurrency: usize,
    set: ArcSwap<Set>,
    /// Held while the set is changed; `None` before it is one for the first time.
    members: Mutex<Option<Vec<Member>>>,
    /// Where the upstreams come from.
    known: Mutex<Known>,
    /// Held while a failure is noted: whether one may be ejected depends on the others.
    failing: Mutex<()>,
    budget: Mutex<Budget>,
    /// Requests to upstreams that are gone.
    gone: AtomicU64,
    /// Repeats that the budget did not allow.
    unrepeated: AtomicU64,
    /// What keeps the set up to date.
    finder: OnceLock<AbortOnDropHandle<()>>,
}

/// The upstreams at one time.
struct Set {
    targets: Box<[Arc<Target>]>,
    table: Table,
}

/// An upstream of the set of now.
struct Member {
    target: Arc<Target>,
    /// Ends what checks its health.
    _checks: Option<DropGuard>,
}

impl Upstreams {
    /// A group without upstreams so far, which `build` makes when it hears of them.
    pub(crate) fn new(options: Options, concurrency: usize, build: Build) -> Upstreams {
        let now = Instant::now();
        Upstreams {
            budget: Mutex::new(Budget::new(&options.retry, now)),
            options,
            build,
            concurrency,
            set: ArcSwap::from_pointee(Set::default()),
            members: Mutex::default(),
            known: Mutex::default(),
            failing: Mutex::default(),
            gone: AtomicU64::new(0),
            unrepeated: AtomicU64::new(0),
            finder: OnceLock::new(),
        }
    }

    /// A group without any.
    #[cfg(test)]
    pub(crate) fn none() -> Arc<Upstreams> {
        Arc::new(Upstreams::new(Options::default(), 1, Box::new(|_| anyhow::bail!("nobody asks for one"))))
    }

    /// What has been set for it.
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// What keeps the set up to date runs as long as this does.
    pub(crate) fn found_by(&self, finder: AbortOnDropHandle<()>) {
        // There is one, from the beginning.
        let _ = self.finder.set(finder);
    }

    /// Notes where the upstreams of now come from.
    pub(crate) fn know(&self, known: Known) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// Where they come from.
    pub(crate) fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on these are the upstreams. Those that were among them before stay as they are; those that are not any more
    /// finish what they do.
    ///
    /// # Errors
    ///
    /// There can be no upstream at one of the places: nothing has changed.
    pub(crate) fn replace(&self, places: &[Place]) -> anyhow::Result<()> {
        let now = Instant::now();
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let (is_first, before) = (members.is_none(), members.as_deref().unwrap_or_default());
        let mut next = Vec::with_capacity(places.len());
        for place in places {
            let same = before.iter().find(|member| member.target.place().is_same(place));
            next.push(match same {
                Some(member) => Arc::clone(&member.target),
                None => Arc::new(Target::new(place.clone(), (self.build)(place)?, now)),
            });
        }
        let share = self.concurrency.div_ceil(next.len().max(1));
        let mut entries = Vec::with_capacity(next.len());
        for (target, place) in next.iter().zip(places) {
            target.set_weight(place.weight);
            target.upstream().set_share(share);
            entries.push(Entry { node: Arc::clone(&target.node), weight: place.weight, priority: place.priority });
        }
        let (mut old, mut new) = (members.take().unwrap_or_default(), Vec::new());
        let members = members.insert(Vec::with_capacity(next.len()));
        for target in &next {
            match old.iter().position(|member| Arc::ptr_eq(&member.target, target)) {
                Some(index) => members.push(old.swap_remove(index)),
                None => {
                    if !is_first {
                        target.node.start_slowly(now);
                        new.push(Arc::clone(target));
                    }
                    members.push(self.member(Arc::clone(target)));
                }
            }
        }
        self.set.store(Arc::new(Set { targets: next.into(), table: Table::new(entries) }));
        changes::Change::Joined.log(new.iter().map(|target| target.name()));
        changes::Change::Left.log(old.iter().map(|member| member.target.name()));
        self.gone.fetch_add(old.iter().map(|member| member.target.first_requests()).sum(), Relaxed);
        Ok(())
    }

    fn member(&self, target: Arc<Target>) -> Member {
        let checks = self.options.health.as_ref().map(|options| health::watch(&target, options.clone()));
        Member { target, _checks: checks }
    }

    /// Begins a request at the best upstream, of those that were not `tried`; `None` when all were. `again` says that it was sent before,
    /// `upload` tells of its body, if that streams.
    pub(crate) fn begin(
        &self,
        tried: &[u64],
        now: Instant,
        again: bool,
        upload: Option<Arc<Progress>>,
    ) -> Option<Attempt> {
        let set = self.set.load();
        let index = set.table.choose(tried, now, &self.options.balance, &mut Rng::new())?;
        Some(Attempt::begin(Arc::clone(&set.targets[index]), now, again, upload))
    }

    /// The head of a reply has come. What a call of gRPC came to may be known at its end only.
    pub(crate) fn note_reply(self: &Arc<Self>, attempt: &mut Attempt, reply: &Response<Body>) {
        let now = Instant::now();
        let took = match grpc::Call::of(reply) {
            grpc::Call::Other => {
                let why = || format!("it answers {}", reply.status().as_u16());
                self.note(attempt, outcome_of_status(reply.status()), now, why)
            }
            grpc::Call::Over(code) => self.note(attempt, code.outcome(), now, || says(code)),
            grpc::Call::Running => {
                let took = attempt.note(now);
                tell(attempt.target(), attempt.target().node.note_begun(now), String::new);
                attempt.wait_for(Verdict::new(self, took));
                took
            }
        };
        if let Some(took) = took {
            attempt.target().replied(took);
        }
    }

    /// No reply has come.
    pub(crate) fn note_failure(&self, attempt: &mut Attempt, failure: &Failure, now: Instant) {
        self.note(attempt, outcome_of_failure(failure), now, || failure.reason.clone());
    }

    /// It was there and has not taken the request, which it may have again: that says nothing of it.
    pub(crate) fn note_untaken(&self, attempt: &mut Attempt, now: Instant) {
        self.note(attempt, Outcome::Unknown, now, String::new);
    }

    /// How long it took, if that can be told.
    fn note(
        &self,
        attempt: &mut Attempt,
        outcome: Outcome,
        now: Instant,
        why: impl FnOnce() -> String,
    ) -> Option<Duration> {
        let took = attempt.note(now);
        self.conclude(attempt.target(), outcome, took, now, why);
        took
    }

    /// What came of a request to an upstream, and how long that took if it says something of the upstream.
    pub(super) fn conclude(
        &self,
        target: &Target,
        outcome: Outcome,
        took: Option<Duration>,
        now: Instant,
        why: impl FnOnce() -> String,
    ) {
        let options = &self.options.balance;
        let failing = (outcome == Outcome::Failed).then(|| self.failing.lock().unwrap_or_else(PoisonError::into_inner));
        let room = || {
            let set = self.set.load();
            options.eject.has_room(set.table.len(), set.table.out(now))
        };
        let change = target.node.note(outcome, took, now, options, room);
        drop(failing);
        tell(target, change, why);
    }

    /// Whether there is an upstream that was not tried.
    pub(crate) fn has_other(&self, tried: &[u64]) -> bool {
        self.set.load().iter().any(|target| !tried.contains(&target.id()))
    }

    /// Leave to send one more request again that may have left.
    pub(crate) fn may_repeat(&self, now: Instant) -> bool {
        let requests =
            self.gone.load(Relaxed) + self.targets().iter().map(|target| target.first_requests()).sum::<u64>();
        let may = self.budget().take(now, requests, &self.options.retry);
        if !may {
            self.unrepeated.fetch_add(1, Relaxed);
        }
        may
    }

    /// How often there was no leave for that.
    pub(crate) fn unrepeated(&self) -> u64 {
        self.unrepeated.load(Relaxed)
    }

    /// The upstreams of now.
    fn targets(&self) -> Arc<Set> {
        self.set.load_full()
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How each upstream is.
    pub(crate) fn snapshot(&self) -> Vec<Snapshot> {
        let now = Instant::now();
        self.targets().iter().map(|target| target.snapshot(now, &self.options.balance)).collect()
    }

    /// Bytes that all teleport connections to the upstreams of now have written and read so far, as compressed.
    pub(crate) fn wire_bytes(&self) -> u64 {
        self.targets().iter().map(|target| target.upstream().wire_bytes()).sum()
    }
}

/// Tells people what has changed for an upstream.
fn tell(target: &Target, change: Option<Change>, why: impl FnOnce() -> String) {
    let name = target.name();
    match change {
        None => {}
        Some(Change::Unreachable) => {
            tracing::warn!("{name} cannot be reached: {}; avoiding it until it answers", why());
        }
        Some(Change::Ejected(rest)) => {
            let seconds = rest.as_secs_f64();
            tracing::warn!("{name} fails too often, the last time: {}; it gets nothing for {seconds:.1} s", why());
        }
        Some(Change::Back) => tracing::info!("{name} is back"),
    }
}

impl Set {
    fn iter(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.targets.iter()
    }
}

impl Default for Set {
    fn default() -> Set {
        Set { targets: Box::default(), table: Table::new(Vec::new()) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::discover::Source;
    use crate::interims::Interims;
    use crate::outbound::HttpUpstream;
    use crate::shutdown::Shutdown;

    pub(in crate::outbound) fn upstreams(options: Options) -> Arc<Upstreams> {
        let build = |place: &Place| {
            let (patience, shutdown) = (Duration::from_secs(3), Shutdown::new());
            let upstream = HttpUpstream::new(place, None, 1, 4096, patience, shutdown, Interims::default())?;
            Ok(Upstream::Http(Box::new(upstream)))
        };
        Arc::new(Upstreams::new(options, 12, Box::new(build)))
    }

    fn reply(status: u16) -> Response<Body> {
        Response::builder().status(status).body(Body::from(Bytes::new())).expect("a reply")
    }

    pub(in crate::outbound) fn places(urls: &[&str]) -> Vec<Place> {
        let place = |url: &&str| Source::parse(url).expect("a URL").fixed().expect("an address");
        urls.iter().map(place).collect()
    }

    fn names(upstreams: &Upstreams) -> Vec<String> {
        upstreams.snapshot().into_iter().map(|upstream| upstream.name).collect()
    }

    #[tokio::test]
    async fn those_that_stay_keep_what_is_known_of_them_and_those_that_go_finish() {
        let (upstreams, now) = (upstreams(Options::default()), Instant::now());
        upstreams.replace(&places(&["http://10.0.0.1", "http://10.0.0.2"])).expect("fine");
        let mut begun: Vec<_> = (0..2).map(|_| upstreams.begin(&[], now, false, None).expect("one")).collect();
        begun.sort_by_key(|attempt| attempt.target().name().to_owned());
        let [goes, stays] = &mut begun[..] else { panic!("two") };
        upstreams.note_reply(stays, &reply(502));
        upstreams.replace(&places(&["http://10.0.0.3", "http://10.0.0.2#weight=7"])).expect("fine");
        let found = upstreams.snapshot();
        let seen: Vec<_> = found.iter().map(|one| (&*one.name, one.weight, one.pending, one.failures)).collect();
        assert_eq!(seen, [("http://10.0.0.3:80", 1, 0, 0), ("http://10.0.0.2:80", 7, 1, 1)]);
        assert_eq!(goes.target().name(), "http://10.0.0.1:80", "it is there as long as its request runs");
        upstreams.note_reply(goes, &reply(200));
        drop(begun);
        assert!(upstreams.snapshot().iter().all(|one| one.pending == 0));
        assert_eq!((0..20).filter(|_| upstreams.may_repeat(now)).count(), 10, "two requests, and the reserve");
        assert_eq!(upstreams.unrepeated(), 10);
    }

    #[tokio::test]
    async fn what_cannot_be_changes_nothing() {
        let upstreams = Upstreams::new(Options::default(), 1, Box::new(|place| anyhow::bail!("no {place}")));
        assert!(upstreams.replace(&places(&["http://10.0.0.1"])).is_err());
        assert!(names(&upstreams).is_empty() && upstreams.begin(&[], Instant::now(), false, None).is_none());
    }

    #[tokio::test]
    async fn half_of_a_group_is_left_whatever_fails() {
        let (upstreams, now) = (upstreams(Options::default()), Instant::now());
        upstreams.replace(&places(&["http://10.0.0.1", "http://10.0.0.2", "http://10.0.0.3"])).expect("fine");
        for _ in 0..300 {
            let mut attempt = upstreams.begin(&[], now, false, None).expect("one");
            upstreams.note_reply(&mut attempt, &reply(503));
        }
        assert_eq!(upstreams.snapshot().iter().filter(|one| one.state == "ejected").count(), 1);
    }

    #[tokio::test]
    async fn errors_of_a_program_eject_nobody() {
        let (upstreams, now) = (upstreams(Options::default()), Instant::now());
        upstreams.replace(&places(&["http://10.0.0.1", "http://10.0.0.2"])).expect("fine");
        for _ in 0..100 {
            let mut attempt = upstreams.begin(&[], now, false, None).expect("one");
            upstreams.note_reply(&mut attempt, &reply(500));
        }
        assert!(upstreams.snapshot().iter().all(|one| one.state == "up" && one.failures > 0));
    }
}
