//! Whether a client's connection has anything to do, and since when it has not.
//!
//! Requests write to what is their connection's alone, and read no clock: that is for whoever looks.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Context;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::oneshot::Receiver;
use tokio::time::Instant;

use super::breaks::{Breaks, Told};
use crate::timer::{HeadTimer, LazyTimer};

/// Between two looks at a connection of HTTP/2 that is in use.
const PACE: Duration = Duration::from_secs(1);

/// What a client has begun to say should be whole after so long, if there is somebody else who wants the connection's place.
const LONGEST_BEGINNING: Duration = Duration::from_secs(5);

/// What is known of one connection.
pub(crate) struct Activity {
    accepted: Instant,
    /// Requests from their arrival to the last piece of their reply, and their bodies from then to their end.
    running: Arc<Running>,
    served: AtomicUsize,
    /// Bytes of a reply wait for the client to read.
    blocked: AtomicBool,
    /// HTTP/1.1: something of the next head has come.
    head_begun: AtomicBool,
    /// HTTP/1.1: knows since when the next head is waited for.
    heads: OnceLock<HeadTimer>,
    /// HTTP/2: when it was last seen in use, in milliseconds since it was accepted.
    used: AtomicU64,
    /// Its place is wanted for another one.
    asked: AtomicBool,
    asking: Notify,
}

/// What a connection and its replies share.
#[derive(Default)]
struct Running {
    count: AtomicUsize,
    breaks: Breaks,
}

/// Keeps a connection busy until it is dropped.
pub(crate) struct Busy(Arc<Running>);

impl Busy {
    /// Resolves, to an error, once the connection has written what it has of a reply that breaks off here.
    pub(crate) fn written(&self) -> Receiver<()> {
        self.0.breaks.wait()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who is to leave first where there are too many connections: the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn(Claim, Instant);

/// What a connection without a request has to say for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// A request should have come long ago.
    Overdue,
    /// It may be on its way.
    Waiting,
}

impl Default for Activity {
    fn default() -> Activity {
        Activity {
            accepted: Instant::now(),
            running: Arc::default(),
            served: AtomicUsize::new(0),
            blocked: AtomicBool::new(false),
            head_begun: AtomicBool::new(false),
            heads: OnceLock::new(),
            used: AtomicU64::new(0),
            asked: AtomicBool::new(false),
            asking: Notify::new(),
        }
    }
}

impl Activity {
    /// Notes a request; it runs until what this returns is dropped.
    pub(super) fn begin(&self) -> Busy {
        self.served.fetch_add(1, Ordering::Relaxed);
        set(&self.head_begun, false);
        self.hold()
    }

    /// Keeps the connection busy, without a new request, until what this returns is dropped.
    pub(super) fn hold(&self) -> Busy {
        self.running.count.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(&self.running))
    }

    /// Requests so far.
    pub(super) fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// Whether a request runs, or its reply is not written yet.
    pub(super) fn is_busy(&self) -> bool {
        self.runs() || self.blocked.load(Ordering::Relaxed)
    }

    fn runs(&self) -> bool {
        self.running.count.load(Ordering::Relaxed) > 0
    }

    /// Notes whether bytes of a reply wait for the client to read.
    pub(super) fn note_blocked(&self, blocked: bool) {
        set(&self.blocked, blocked);
    }

    /// The task that serves the connection is the one of this context, to its end.
    pub(super) fn served_by(&self, cx: &Context<'_>) {
        self.running.breaks.served_by(cx.waker());
    }

    /// What has broken off, before hyper writes.
    pub(super) fn breaks(&self) -> Told {
        self.running.breaks.take()
    }

    /// hyper has written, as much as the client reads.
    pub(super) fn wrote(&self, told: Told) {
        self.running.breaks.wrote(told, self.blocked.load(Ordering::Relaxed), !self.is_http1());
    }

    /// Notes that the client of a connection of HTTP/1.1 has said something, which is of a head where no request runs.
    pub(super) fn note_heard(&self) {
        if !self.runs() {
            set(&self.head_begun, true);
        }
    }

    /// It speaks HTTP/1.1, and this waits for its heads.
    pub(super) fn time_heads(&self, heads: &HeadTimer) {
        let _ = self.heads.set(heads.clone());
    }

    /// Whether it cannot leave without a loss: a request runs, or over HTTP/1.1 its reply is not written yet. Over HTTP/2 what waits to be
    /// read may be anything, answers to pings as well, and who leaves has a moment to read it.
    pub(super) fn has_to_stay(&self) -> bool {
        self.runs() || (self.is_http1() && self.blocked.load(Ordering::Relaxed))
    }

    fn is_http1(&self) -> bool {
        self.heads.get().is_some()
    }

    /// When it could leave; `None` if it has to stay, or if it is leaving.
    pub(super) fn turn(&self, now: Instant) -> Option<Turn> {
        if self.has_to_stay() || self.is_asked() {
            return None;
        }
        let since = match self.heads.get().map(HeadTimer::waits) {
            None => self.accepted + Duration::from_millis(self.used.load(Ordering::Relaxed)),
            // The reply is written, and the connection's task about to wait for what comes next.
            Some((before, _)) if before < self.served() => return None,
            Some((_, since)) => since.unwrap_or(self.accepted),
        };
        let overdue = now.saturating_duration_since(since) >= LONGEST_BEGINNING;
        let (new, begun) = (self.served() == 0, self.head_begun.load(Ordering::Relaxed));
        if begun && !new && !overdue {
            // A client that was served before is about to be served again.
            return None;
        }
        let claim = if overdue && (new || begun) { Claim::Overdue } else { Claim::Waiting };
        Some(Turn(claim, since))
    }

    /// Asks it to leave.
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        self.asking.notify_one();
    }

    /// Whether it is to leave.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Resolves once it is to leave. For one waiter at a time. Cancel safe.
    pub(super) async fn asked(&self) {
        if !self.is_asked() {
            self.asking.notified().await;
        }
    }
}

/// Writes only what is another value: the line of memory stays where it is.
fn set(flag: &AtomicBool, value: bool) {
    if flag.load(Ordering::Relaxed) != value {
        flag.store(value, Ordering::Relaxed);
    }
}

/// Notes now and then that a connection of HTTP/2 is in use. Costs nothing while it is not.
pub(super) struct Usage {
    activity: Arc<Activity>,
    timer: LazyTimer,
    /// When to look again; nothing to do until there is another request.
    next: Option<Instant>,
    /// Requests up to the last look.
    seen: usize,
}

impl Usage {
    pub(super) fn new(activity: Arc<Activity>) -> Usage {
        Usage { activity, timer: LazyTimer::default(), next: None, seen: 0 }
    }

    /// Looks, if it is time.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        loop {
            match self.next {
                None if self.activity.served() == self.seen => return,
                None => self.note(),
                Some(next) if self.timer.poll(cx, next).is_pending() => return,
                Some(_) if self.activity.is_busy() || self.activity.served() != self.seen => self.note(),
                Some(_) => self.next = None,
            }
        }
    }

    fn note(&mut self) {
        let now = Instant::now();
        let since = now.saturating_duration_since(self.activity.accepted).as_millis();
        self.activity.used.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.seen = self.activity.served();
        self.next = Some(now + PACE);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use hyper::rt::Timer as _;
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    fn turn(activity: &Activity) -> Option<Turn> {
        activity.turn(Instant::now())
    }

    fn claim(activity: &Activity) -> Option<Claim> {
        turn(activity).map(|turn| turn.0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_under_way_keeps_its_place() {
        let activity = Activity::default();
        assert_eq!(claim(&activity), Some(Claim::Waiting));
        let running = activity.begin();
        pass(100).await;
        assert_eq!(claim(&activity), None);
        activity.note_blocked(true);
        drop(running);
        assert!(claim(&activity).is_some(), "HTTP/2: that may be anything");
        let heads = HeadTimer::new(Duration::from_secs(120), Duration::from_secs(120));
        activity.time_heads(&heads);
        drop(heads.sleep(Duration::from_secs(120)));
        assert_eq!(claim(&activity), None, "HTTP/1.1: its reply is not written");
        activity.note_blocked(false);
        assert_eq!(claim(&activity), Some(Claim::Waiting));
        activity.ask();
        assert_eq!(claim(&activity), None, "it leaves already");
        activity.asked().await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_says_a_whole_request_leaves_before_who_did_and_they_before_who_has_just_come() {
        let kept = Activity::default();
        drop(kept.begin());
        pass(1).await;
        let silent = Activity::default();
        pass(5).await;
        let new = Activity::default();
        assert!(turn(&silent) < turn(&kept) && turn(&kept) < turn(&new) && turn(&silent).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_breaks_off_waits_for_others_of_its_connection_for_a_second_only() {
        for is_http1 in [false, true] {
            let activity = Activity::default();
            if is_http1 {
                activity.time_heads(&HeadTimer::new(Duration::from_secs(120), Duration::from_secs(120)));
            }
            let mut written = activity.begin().written();
            activity.note_blocked(true);
            activity.wrote(activity.breaks());
            assert_eq!(written.try_recv(), Err(TryRecvError::Empty));
            pass(1).await;
            activity.wrote(activity.breaks());
            let want = if is_http1 { TryRecvError::Empty } else { TryRecvError::Closed };
            assert_eq!(written.try_recv(), Err(want), "its client reads nothing, HTTP/1.1: {is_http1}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_has_begun_keeps_its_place_for_a_moment() {
        let activity = Activity::default();
        drop(activity.begin());
        activity.note_heard();
        assert_eq!(claim(&activity), None);
        pass(5).await;
        assert_eq!(claim(&activity), Some(Claim::Overdue));
        let running = activity.begin();
        activity.note_heard();
        drop(running);
        assert_eq!(claim(&activity), Some(Claim::Waiting), "that was of a body");
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_was_not_used_for_longest_leaves_first() {
        let [one, two] = [Activity::default(), Activity::default()];
        for activity in [&one, &two] {
            let heads = HeadTimer::new(Duration::from_secs(120), Duration::from_secs(120));
            activity.time_heads(&heads);
            drop(activity.begin());
            drop(heads.sleep(Duration::from_secs(120)));
        }
        pass(1).await;
        drop(one.begin());
        drop(one.heads.get().expect("a timer").sleep(Duration::from_secs(120)));
        assert!(turn(&two) < turn(&one));
    }

    #[tokio::test(start_paused = true)]
    async fn http_2_is_looked_at_while_it_is_used() {
        let [one, two] = [(); 2].map(|()| Arc::<Activity>::default());
        let mut usages = [&one, &two].map(|activity| Usage::new(Arc::clone(activity)));
        let mut look = async || {
            let all = poll_fn(|cx| {
                usages.iter_mut().for_each(|usage| usage.poll(cx));
                Poll::Ready(())
            });
            all.await;
        };
        for activity in [&one, &two] {
            drop(activity.begin());
        }
        look().await;
        pass(1).await;
        look().await;
        drop(one.begin());
        look().await;
        assert!(turn(&two) < turn(&one));
        let running = two.begin();
        for _ in 0..9 {
            pass(1).await;
            look().await;
        }
        drop(running);
        assert!(turn(&one) < turn(&two), "a long request is use as well");
    }
}
