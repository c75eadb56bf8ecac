//! Timers for limits that are set for every request and hardly ever reached.
//!
//! tokio's timers cost two turns of a lock each time one is armed and given up. Here one timer stays armed for an earlier
//! deadline than the one that counts; it is set anew when it fires, which is exact and happens once a limit's length
//! instead of once a request.
//!
//! tokio has a budget for what a task does before others have their turn, and a timer that is asked when that is used up is not over, however
//! late it is. A peer that always has more to read uses it up each time: timers that are asked after that are asked [without it](poll_late).

use std::future::Future;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant as StdInstant};

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// Whether a timer is over, whatever its task has done before it asks.
pub(crate) fn poll_late(sleep: &mut Pin<Box<Sleep>>, cx: &mut Context<'_>) -> Poll<()> {
    pin!(unconstrained(sleep.as_mut())).poll(cx)
}

/// One timer for many deadlines, one after another.
#[derive(Default)]
pub(crate) struct LazyTimer {
    /// Made by the first poll.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl LazyTimer {
    /// Ready once `deadline` has passed. Each poll may come with another deadline; the last one counts.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        ready!(poll_late(sleep, cx));
        while sleep.deadline() < deadline {
            sleep.as_mut().reset(deadline);
            ready!(poll_late(sleep, cx));
        }
        Poll::Ready(())
    }
}

/// The timer of one client's connection, which hyper asks for one thing at a time: the next head.
///
/// hyper knows one limit, from the end of one request to the end of the next head. Here there are two: until that head begins, and
/// for the head from its first byte on. Where they are equal they are taken for one, and nobody has to tell when heads begin.
#[derive(Clone)]
pub(crate) struct HeadTimer(Arc<Mutex<Heads>>);

struct Heads {
    timer: LazyTimer,
    /// When the head that is waited for has to be here.
    deadline: Option<Instant>,
    /// Since when it is waited for, or has begun; `None` for the first one.
    since: Option<Instant>,
    /// Heads that were waited for before it.
    before: usize,
    /// How long it may take to begin.
    idle: Duration,
    /// Whether hyper is about to ask for that same head again.
    same: bool,
    /// From its first byte on; `None` where it has what is left of the time until then.
    limit: Option<Duration>,
    /// The head that is waited for has not begun.
    awaited: bool,
}

impl HeadTimer {
    /// Gives each head so long, and so long until it begins.
    pub(crate) fn new(head: Duration, idle: Duration) -> HeadTimer {
        let limit = Some(head).filter(|head| *head != idle);
        HeadTimer(Arc::new(Mutex::new(Heads {
            timer: LazyTimer::default(),
            deadline: None,
            since: None,
            before: 0,
            idle,
            same: false,
            limit,
            awaited: false,
        })))
    }

    /// Whether it has to hear when heads begin.
    pub(crate) fn depends_on_beginning(&self) -> bool {
        self.lock().limit.is_some()
    }

    /// When the head that is waited for has to be here.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.lock().deadline
    }

    /// How many were waited for before it, and since when it is, or has begun where the connection was at rest; `None` for the first
    /// one.
    pub(crate) fn waits(&self) -> (usize, Option<Instant>) {
        let heads = self.lock();
        (heads.before, heads.since)
    }

    /// A new connection of hyper goes on with the head that the last one has waited for; so does its time.
    pub(crate) fn go_on(&self) {
        self.lock().same = true;
    }

    /// hyper is about to ask for a head that was waited for already, until this deadline.
    pub(crate) fn begin(&self, deadline: Instant) {
        let mut heads = self.lock();
        heads.deadline = Some(deadline);
        heads.same = true;
    }

    /// The same for a head whose first byte has just come.
    pub(crate) fn begin_head(&self) {
        let (mut heads, now) = (self.lock(), Instant::now());
        if let Some(limit) = heads.limit {
            heads.deadline = Some(now + limit);
        }
        heads.since = Some(now);
        heads.same = true;
    }

    /// Something has come from the client.
    pub(crate) fn heard(&self) {
        let mut heads = self.lock();
        if mem::take(&mut heads.awaited)
            && let Some(limit) = heads.limit
        {
            heads.deadline = Some(Instant::now() + limit);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Heads> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl hyper::rt::Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: StdInstant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        let mut heads = self.lock();
        let asked = Instant::from(deadline);
        let same = mem::take(&mut heads.same);
        heads.awaited = !same;
        let tells = heads.limit.is_some();
        heads.deadline = Some(if same { heads.deadline.unwrap_or(asked) } else { asked });
        if !same {
            heads.since = asked.checked_sub(heads.idle);
            heads.before += 1;
        }
        drop(heads);
        Box::pin(HeadSleep { timer: self.clone(), tells })
    }

    fn now(&self) -> StdInstant {
        // tokio's clock, which tests can stop.
        Instant::now().into_std()
    }
}

struct HeadSleep {
    timer: HeadTimer,
    /// The timer wants to know when it is over.
    tells: bool,
}

impl hyper::rt::Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut heads = self.timer.lock();
        let Some(deadline) = heads.deadline else { return Poll::Pending };
        heads.timer.poll(cx, deadline)
    }
}

impl Drop for HeadSleep {
    fn drop(&mut self) {
        // The head is here: what comes next is of its body.
        if self.tells {
            self.timer.lock().awaited = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_deadline_is_exact_whatever_came_before() {
        let mut timer = LazyTimer::default();
        for millis in [50, 10, 3000, 20, 1, 500] {
            let deadline = Instant::now() + Duration::from_millis(millis);
            poll_fn(|cx| timer.poll(cx, deadline)).await;
            assert_eq!(Instant::now(), deadline, "{millis}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_has_used_its_budget_up_hears_that_it_is_late() {
        let (mut timer, deadline) = (LazyTimer::default(), Instant::now() + Duration::from_secs(1));
        let mut plain = Box::pin(sleep_until(deadline));
        poll_fn(|cx| Poll::Ready(timer.poll(cx, deadline).is_pending() && poll_late(&mut plain, cx).is_pending()))
            .await;
        tokio::time::advance(Duration::from_secs(2)).await;
        poll_fn(|cx| {
            while tokio::task::coop::poll_proceed(cx).map(|left| left.made_progress()).is_ready() {}
            assert!(plain.as_mut().poll(cx).is_pending(), "the budget is used up");
            assert!(poll_late(&mut plain, cx).is_ready());
            assert!(timer.poll(cx, deadline).is_ready());
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_is_waited_for_again_keeps_its_time() {
        use hyper::rt::Timer as _;

        let limit = Duration::from_secs(90);
        let (timer, start) = (HeadTimer::new(limit, limit), Instant::now());
        let at = |seconds| (start + Duration::from_secs(seconds)).into_std();
        drop(timer.sleep_until(at(10)));
        timer.go_on();
        drop(timer.sleep_until(at(90)));
        assert_eq!(timer.deadline().map(Instant::into_std), Some(at(10)));
        timer.sleep_until(at(20)).await;
        assert_eq!(Instant::now().into_std(), at(20));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_own_time_from_its_first_byte_on() {
        use hyper::rt::Timer as _;

        let start = Instant::now();
        let (timer, at) =
            (HeadTimer::new(Duration::from_secs(10), Duration::from_secs(90)), |s| start + Duration::from_secs(s));
        let sleep = timer.sleep_until(at(90).into_std());
        tokio::time::advance(Duration::from_secs(85)).await;
        timer.heard();
        tokio::time::advance(Duration::from_secs(1)).await;
        timer.heard();
        sleep.await;
        assert_eq!(Instant::now(), at(95), "its first byte counts, whatever the time until then was");
        drop(timer.sleep_until(at(200).into_std()));
        timer.heard();
        assert_eq!(timer.deadline(), Some(at(200)), "nobody waits for a head any more");
        timer.begin(at(100));
        drop(timer.sleep_until(at(300).into_std()));
        timer.heard();
        assert_eq!(timer.deadline(), Some(at(100)), "it had begun before");
        timer.begin_head();
        assert_eq!(timer.deadline(), Some(at(105)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_deadline_counts() {
        let mut timer = LazyTimer::default();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        for given_up in [100, 40, 70, 300] {
            let polled = poll_fn(|cx| Poll::Ready(timer.poll(cx, at(given_up)))).await;
            assert!(polled.is_pending());
        }
        poll_fn(|cx| timer.poll(cx, at(200))).await;
        assert_eq!(Instant::now(), at(200));
    }
}
