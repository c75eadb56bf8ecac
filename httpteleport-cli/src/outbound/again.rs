//! A request that an upstream has not taken, sent there again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Failure;
use crate::request::Outgoing;

/// So often it is sent to one upstream; after that another one has a chance.
const MOST: u32 = 64;
/// So often it is sent without a pause: any connection may be at its end.
const AT_ONCE: u32 = 2;
/// Then there are pauses, which double from the first to the second of these: who takes nothing may have too much to do.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(32));

/// How often a request was sent to an upstream.
pub(super) struct Again {
    sent: u32,
    until: Instant,
}

impl Again {
    /// Of a request that has so long: half of that is for one upstream.
    pub(super) fn new(deadline: Instant) -> Again {
        let now = Instant::now();
        Again { sent: 1, until: now + deadline.saturating_duration_since(now) / 2 }
    }

    /// Whether it should go over whichever connection has least to do: what the usual ones take has turned out to be little.
    pub(super) fn spreads(&self) -> bool {
        self.sent > AT_ONCE
    }

    /// Waits until the request may be sent once more that was not taken.
    ///
    /// # Errors
    ///
    /// The failure, as it may not, or was not unsent.
    pub(super) async fn after(&mut self, mut failure: Failure) -> Result<Outgoing, Failure> {
        if failure.unsent.is_none() || !self.may().await {
            return Err(failure);
        }
        failure.unsent.take().ok_or(failure)
    }

    /// Waits until it is time for once more; `false` if it never is.
    async fn may(&mut self) -> bool {
        if self.sent >= MOST || Instant::now() >= self.until {
            return false;
        }
        if let Some(doublings) = self.sent.checked_sub(AT_ONCE) {
            let pause = PAUSES.1.min(PAUSES.0 * (1 << doublings.min(10)));
            // Those that have met the same end need not come back together.
            sleep(pause.mul_f64(fastrand::f64())).await;
        }
        self.sent += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_with_pauses_and_has_an_end() {
        let start = Instant::now();
        let mut again = Again::new(start + Duration::from_secs(3600));
        for sent in 2..=MOST {
            assert!(again.may().await);
            assert_eq!((again.spreads(), start.elapsed().is_zero()), (sent > AT_ONCE, sent <= AT_ONCE), "{sent}");
        }
        assert!(!again.may().await);
        assert!(start.elapsed() < PAUSES.1 * MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_the_time_is_left_for_others() {
        let start = Instant::now();
        let mut again = Again::new(start + Duration::from_millis(100));
        while again.may().await {}
        assert!((50..=82).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    }
}
