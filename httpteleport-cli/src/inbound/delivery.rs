//! Whether a client of HTTP/2 takes the replies that it has asked for.
//!
//! Its connection may be fine and its pings answered while it gives no credit to any of its streams. hyper asks for no more of
//! a body then, and each of them keeps its place and its upstream. What all of them together have done is looked at now and then.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::body::{Body, BoxError};
use crate::timer::LazyTimer;

/// The replies of one connection.
#[derive(Default)]
pub(super) struct Deliveries {
    /// Those of which more is there than the client takes.
    waiting: AtomicUsize,
    /// How often any of them has gone on.
    moved: AtomicUsize,
}

/// The body of a reply on such a connection.
pub(super) struct Delivered {
    body: Body,
    all: Arc<Deliveries>,
    waits: bool,
}

impl Delivered {
    pub(super) fn new(body: Body, all: Arc<Deliveries>) -> Delivered {
        Delivered { body, all, waits: false }
    }

    fn set_waiting(&mut self, waits: bool) {
        if self.waits != waits {
            self.waits = waits;
            let waiting = &self.all.waiting;
            if waits {
                waiting.fetch_add(1, Ordering::Relaxed)
            } else {
                waiting.fetch_sub(1, Ordering::Relaxed)
            };
        }
    }
}

impl http_body::Body for Delivered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // hyper asks only when the client has room.
        self.all.moved.fetch_add(1, Ordering::Relaxed);
        let next = Pin::new(&mut self.body).poll_frame(cx);
        let given = matches!(&next, Poll::Ready(Some(Ok(frame))) if frame.is_data());
        self.set_waiting(given);
        next
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Delivered {
    fn drop(&mut self) {
        self.set_waiting(false);
    }
}

/// Looks at them now and then.
pub(super) struct Look {
    all: Arc<Deliveries>,
    pace: Duration,
    timer: LazyTimer,
    next: Instant,
    /// What had moved at the last look, if any waited then.
    stuck: Option<usize>,
}

impl Look {
    pub(super) fn new(all: Arc<Deliveries>, pace: Duration) -> Look {
        Look { all, pace, timer: LazyTimer::default(), next: Instant::now() + pace, stuck: None }
    }

    /// Ready once some have waited for the client, and none has gone on, between two looks.
    pub(super) fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.timer.poll(cx, self.next).is_ready() {
            let moved = self.all.moved.load(Ordering::Relaxed);
            let waiting = self.all.waiting.load(Ordering::Relaxed) > 0;
            if waiting && self.stuck == Some(moved) {
                return Poll::Ready(());
            }
            self.stuck = waiting.then_some(moved);
            self.next = Instant::now() + self.pace;
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body_util::BodyExt as _;
    use tokio::time::timeout;

    use super::*;

    const PACE: Duration = Duration::from_secs(60);

    async fn is_stuck(all: &Arc<Deliveries>) -> bool {
        let mut look = Look::new(Arc::clone(all), PACE);
        timeout(4 * PACE, poll_fn(|cx| look.poll_stuck(cx))).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_was_given_and_is_not_asked_for_again_is_stuck() {
        let all = Arc::<Deliveries>::default();
        let mut body = Delivered::new(Body::from(Bytes::from_static(b"data")), Arc::clone(&all));
        assert!(!is_stuck(&all).await, "nobody has asked for it yet");
        assert!(body.frame().await.is_some());
        assert!(is_stuck(&all).await);
        assert!(body.frame().await.is_none());
        assert!(!is_stuck(&all).await, "it is over");
        let mut other = Delivered::new(Body::from(Bytes::from_static(b"data")), Arc::clone(&all));
        assert!(other.frame().await.is_some());
        drop(other);
        assert!(!is_stuck(&all).await, "it is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_goes_on_speaks_for_all() {
        let all = Arc::<Deliveries>::default();
        let mut waits = Delivered::new(Body::from(Bytes::from_static(b"data")), Arc::clone(&all));
        assert!(waits.frame().await.is_some());
        let mut look = Look::new(Arc::clone(&all), PACE);
        for _ in 0..5 {
            let mut moves = Delivered::new(Body::from(Bytes::from_static(b"data")), Arc::clone(&all));
            assert!(moves.frame().await.is_some());
            assert!(timeout(PACE, poll_fn(|cx| look.poll_stuck(cx))).await.is_err());
        }
        assert!(timeout(3 * PACE, poll_fn(|cx| look.poll_stuck(cx))).await.is_ok());
    }
}
