//! Timers for limits that are set for every request and hardly ever reached.
//!
//! tokio's timers cost two turns of a lock each time one is armed and given up. Here one timer stays armed for an earlier
//! deadline than the one that counts; it is set anew when it fires, which is exact and happens once a limit's length
//! instead of once a request.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant as StdInstant};

use tokio::time::{Instant, Sleep, sleep_until};

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
        ready!(sleep.as_mut().poll(cx));
        while sleep.deadline() < deadline {
            sleep.as_mut().reset(deadline);
            ready!(sleep.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

/// The timer of one client's connection, which hyper asks for one thing at a time: the next head.
#[derive(Clone, Default)]
pub(crate) struct HeadTimer(Arc<Mutex<Heads>>);

#[derive(Default)]
struct Heads {
    timer: LazyTimer,
    /// When the head that is waited for has to be here.
    deadline: Option<Instant>,
    /// Whether hyper is about to ask for that same head again.
    same: bool,
}

impl HeadTimer {
    /// When the head that is waited for has to be here.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.lock().deadline
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
        let deadline = if mem::take(&mut heads.same) { heads.deadline.unwrap_or(asked) } else { asked };
        heads.deadline = Some(deadline);
        drop(heads);
        Box::pin(HeadSleep { timer: self.clone(), deadline })
    }

    fn now(&self) -> StdInstant {
        // tokio's clock, which tests can stop.
        Instant::now().into_std()
    }
}

struct HeadSleep {
    timer: HeadTimer,
    deadline: Instant,
}

impl hyper::rt::Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.lock().timer.poll(cx, self.deadline)
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
    async fn a_head_that_is_waited_for_again_keeps_its_time() {
        use hyper::rt::Timer as _;

        let (timer, start) = (HeadTimer::default(), Instant::now());
        let at = |seconds| (start + Duration::from_secs(seconds)).into_std();
        drop(timer.sleep_until(at(10)));
        timer.go_on();
        drop(timer.sleep_until(at(90)));
        assert_eq!(timer.deadline().map(Instant::into_std), Some(at(10)));
        timer.sleep_until(at(20)).await;
        assert_eq!(Instant::now().into_std(), at(20));
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
