//! The end of a connection whose last frame has been written. Much of what was written may still lie in this side's kernel: were
//! the stream closed now, a credit that the peer sends meanwhile would have the kernel throw that away. So the peer gets the time
//! to read it all and end the connection itself.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::RecordLink;
use crate::error::Error;

/// Reads in a turn, after which others run.
const READS_PER_TURN: usize = 16;

pub(super) struct Goodbye {
    outcome: Result<(), Error>,
    /// Nothing more was sent for certain.
    shut: bool,
    /// The peer may say nothing for so long.
    patience: Duration,
    /// Nor may it take longer than this in all.
    last: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Goodbye {
    pub(super) fn new(outcome: Result<(), Error>, patience: Duration, most: Duration) -> Self {
        let now = Instant::now();
        let timer = Box::pin(sleep_until(now + patience.min(most)));
        Self { outcome, shut: false, patience, last: now + most, timer }
    }

    /// What the connection came to, once the peer has ended it too or has had its time.
    pub(super) fn poll(&mut self, link: &mut RecordLink, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.shut {
            self.shut = link.poll_shutdown(cx).is_ready();
        }
        for _ in 0..READS_PER_TURN {
            match link.poll_discard(cx) {
                Poll::Ready(true) => self.heard(),
                Poll::Ready(false) => return Poll::Ready(self.outcome.clone()),
                Poll::Pending => return self.timer.as_mut().poll(cx).map(|()| self.outcome.clone()),
            }
        }
        cx.waker().wake_by_ref();
        self.timer.as_mut().poll(cx).map(|()| self.outcome.clone())
    }

    /// It reads, and grants more credit.
    fn heard(&mut self) {
        self.timer.as_mut().reset((Instant::now() + self.patience).min(self.last));
    }
}
