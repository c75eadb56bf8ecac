//! What is known of one upstream: how busy it is, how quick, and how it fails.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Options;
use super::learnt::{Known, Learnt, nanos, to_f64};
use super::standing::{Counts, Standing};

/// An upstream that begins its slow start gets this part of its weight.
const SLOWEST: f64 = 0.05;

/// One upstream, as the balancer sees it. Everything a request touches is a relaxed atomic.
#[derive(Debug)]
pub(crate) struct Node {
    id: u64,
    epoch: Instant,
    /// Requests that run.
    pending: AtomicUsize,
    requests: AtomicU64,
    failures: AtomicU64,
    in_a_row: AtomicU32,
    ejections: AtomicU64,
    learnt: Learnt,
    /// When its slow start begins, in nanoseconds since `epoch`, and one more; 0 for none.
    start: AtomicU64,
    /// Whether an active check has found it ill.
    ill: AtomicBool,
    /// Until when it gets no requests, in nanoseconds since `epoch`; 0 for one that gets some.
    out_until: AtomicU64,
    /// Whether `standing` is more than the default: it is looked at for every reply, and hardly ever is.
    ailing: AtomicBool,
    standing: Mutex<Standing>,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A reply that says nothing against the upstream.
    Good,
    /// A reply that says that the request went wrong in the program there, or was one too many: 500, 429. Nobody is ejected for
    /// it, since it may be the request's fault, or its client's.
    Error,
    /// No good reply, or one that says that there is none to be had.
    Failed,
    /// There was no connection to be had.
    Unreachable,
    /// The request ended for reasons of its own.
    Unknown,
}

/// What an outcome has changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// It cannot be reached, and is avoided until it can.
    Unreachable,
    /// It fails, and gets nothing for so long.
    Ejected(Duration),
    /// It gets requests again.
    Back,
}

/// A picture of a node, for people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Picture {
    pub(crate) state: &'static str,
    /// Which part of its weight counts: less than 1 in a slow start, 0 while it gets no requests.
    pub(crate) warmth: f64,
    pub(crate) pending: usize,
    pub(crate) latency: Duration,
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    pub(crate) ejections: u64,
}

impl Node {
    /// One that nothing is known of. The number tells it from all others.
    pub(crate) fn new(now: Instant) -> Node {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Node {
            id: NEXT.fetch_add(1, Relaxed),
            epoch: now,
            pending: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            in_a_row: AtomicU32::new(0),
            ejections: AtomicU64::new(0),
            learnt: Learnt::new(now),
            start: AtomicU64::new(0),
            ill: AtomicBool::new(false),
            out_until: AtomicU64::new(0),
            ailing: AtomicBool::new(false),
            standing: Mutex::default(),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// A request is sent to it. It is busy with that until [`Node::end`].
    pub(crate) fn begin(&self, now: Instant) {
        self.pending.fetch_add(1, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        if self.ailing.load(Relaxed) {
            self.lock().try_again(now);
            self.settle(now);
        }
    }

    /// The last byte of the reply has come, or nobody waits for it any more.
    pub(crate) fn end(&self) {
        self.pending.fetch_sub(1, Relaxed);
    }

    /// Requests that run.
    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Relaxed)
    }

    /// Requests that it was sent so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// It is new, or back: it gets a small part of its weight now, which grows.
    pub(crate) fn start_slowly(&self, from: Instant) {
        self.start.store(self.nanos(from).saturating_add(1), Relaxed);
    }

    /// An active check has found it ill, or well again. Tells whether that is news.
    pub(crate) fn set_ill(&self, ill: bool, now: Instant) -> bool {
        if !ill {
            self.start_slowly(now);
        }
        self.ill.swap(ill, Relaxed) != ill
    }

    /// Whether an active check has found it ill.
    pub(crate) fn is_ill(&self) -> bool {
        self.ill.load(Relaxed)
    }

    /// When it gets requests again, if it gets none now because it failed.
    pub(crate) fn out_until(&self, now: Instant) -> Option<Instant> {
        let until = self.out_until.load(Relaxed);
        (until > self.nanos(now)).then(|| self.epoch + Duration::from_nanos(until))
    }

    /// Whether it gets requests.
    pub(crate) fn is_in(&self, now: Instant) -> bool {
        !self.is_ill() && self.out_until(now).is_none()
    }

    /// Notes what came of a request that took so long, if that says something of the upstream. `room` is asked whether it may be ejected; whoever counts others for
    /// that notes one failure at a time.
    pub(crate) fn note(
        &self,
        outcome: Outcome,
        took: Option<Duration>,
        now: Instant,
        options: &Options,
        room: impl FnOnce() -> bool,
    ) -> Option<Change> {
        match outcome {
            Outcome::Unknown => return None,
            Outcome::Good => {
                self.learnt.good(took, now);
                if self.in_a_row.load(Relaxed) != 0 {
                    self.in_a_row.store(0, Relaxed);
                }
            }
            Outcome::Error | Outcome::Failed => {
                self.failures.fetch_add(1, Relaxed);
                self.learnt.bad(now);
            }
            // Its rests keep requests away, and none of them is lost. To remember it would keep them away long after it is back.
            Outcome::Unreachable => {
                self.failures.fetch_add(1, Relaxed);
            }
        }
        match outcome {
            Outcome::Failed => self.failed(now, options, room),
            Outcome::Unreachable => {
                let change = self.lock().unreachable(now, jitter());
                self.settle(now);
                change
            }
            _ => self.note_begun(now),
        }
    }

    /// A reply has begun that says nothing against it so far: it can be reached, and is back.
    pub(crate) fn note_begun(&self, now: Instant) -> Option<Change> {
        if !self.ailing.load(Relaxed) {
            return None;
        }
        let change = self.lock().succeeded(now);
        self.settle(now);
        change
    }

    /// A reply that had begun well has broken off. That is a failure like others, but nobody is ejected for it.
    pub(crate) fn note_broken(&self, now: Instant) {
        self.failures.fetch_add(1, Relaxed);
        self.learnt.bad(now);
    }

    /// A request was given up after so long without a reply: it is at least so slow.
    pub(crate) fn note_abandoned(&self, took: Duration, now: Instant) {
        self.learnt.at_least(took, now);
    }

    fn failed(&self, now: Instant, options: &Options, room: impl FnOnce() -> bool) -> Option<Change> {
        let counts = Counts {
            requests: self.requests(),
            failures: self.failures.load(Relaxed),
            in_a_row: self.in_a_row.fetch_add(1, Relaxed).saturating_add(1),
        };
        let change = self.lock().failed(now, counts, &options.eject, jitter(), room);
        if change.is_some() {
            self.ejections.fetch_add(1, Relaxed);
            self.in_a_row.store(0, Relaxed);
        }
        self.settle(now);
        change
    }

    /// After its standing has changed: lets requests see it, and has it start slowly when it is back.
    fn settle(&self, now: Instant) {
        let standing = self.lock();
        let until = standing.out_until(now);
        match until {
            Some(until) => self.start_slowly(until),
            // It may be back before that.
            None => drop(self.start.fetch_min(self.nanos(now).saturating_add(1), Relaxed)),
        }
        self.out_until.store(until.map_or(0, |until| self.nanos(until)), Relaxed);
        self.ailing.store(!standing.is_clear(), Relaxed);
    }

    /// What its replies have shown.
    pub(super) fn known(&self, now: Instant) -> Known {
        self.learnt.known(now)
    }

    /// Which part of its weight it gets in its slow start; 1 after it.
    pub(super) fn warmth(&self, now: Instant, options: &Options) -> f64 {
        let start = self.start.load(Relaxed);
        if start == 0 || options.slow_start.is_zero() {
            return 1.0;
        }
        let age = to_f64(self.nanos(now).saturating_sub(start)) / to_f64(nanos(options.slow_start));
        if age >= 1.0 {
            self.start.store(0, Relaxed);
        }
        age.clamp(SLOWEST, 1.0)
    }

    /// A picture for people.
    pub(crate) fn picture(&self, now: Instant, options: &Options) -> Picture {
        let state = match self.out_until(now) {
            _ if self.is_ill() => "unhealthy",
            _ if self.lock().is_unreachable() => "unreachable",
            Some(_) => "ejected",
            None => "up",
        };
        Picture {
            state,
            warmth: if state == "up" { self.warmth(now, options) } else { 0.0 },
            pending: self.pending(),
            latency: Duration::from_secs_f64(self.learnt.known(now).latency / 1e9),
            requests: self.requests(),
            failures: self.failures.load(Relaxed),
            ejections: self.ejections.load(Relaxed),
        }
    }

    fn nanos(&self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.epoch))
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A quarter either way.
fn jitter() -> f64 {
    0.75 + fastrand::f64() / 2.0
}
