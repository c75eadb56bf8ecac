//! Timers for limits that are set for every request and hardly ever reached.
//!
//! tokio's timers cost two turns of a lock each time one is armed and given up. Here one timer stays armed for an earlier
//! deadline than the one that counts; it is set anew when it fires, which is exact and happens once a limit's length
//! instead of once a request.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
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

/// The timer of one hyper connection, which waits for one thing at a time: the next head.
#[derive(Clone, Default)]
pub(crate) struct HeadTimer(Arc<Mutex<LazyTimer>>);

impl hyper::rt::Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: StdInstant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(HeadSleep { timer: self.clone(), deadline: deadline.into() })
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
        self.timer.0.lock().unwrap_or_else(PoisonError::into_inner).poll(cx, self.deadline)
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
