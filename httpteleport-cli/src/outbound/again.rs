//! A request that an upstream has not taken, sent there again.

use std::time::Duration;

use http::Extensions;
use tokio::time::{Instant, sleep_until};

use super::Failure;
use super::untaken::Untaken;
use crate::request::Outgoing;

/// So often one request is sent at most, wherever it goes; where connections end at their time it is one of many that wait for their turn.
const MOST: u32 = 128;
/// So often if it was in vain: who has too much to do must not get more of it.
const MOST_IN_VAIN: u32 = 12;
/// After so many in vain in a row another upstream has a chance.
const IN_VAIN_HERE: u32 = 3;
/// So often it is sent without a pause: any connection may be at its end.
const AT_ONCE: u32 = 2;
/// Then there are pauses, which double from the first of these: to the second where others are taken, to the third where it was in vain.
const PAUSES: [Duration; 3] = [Duration::from_millis(1), Duration::from_millis(32), Duration::from_millis(400)];

/// How often one request was not taken, by whomever. It goes along in the extensions.
#[derive(Clone, Copy, Default)]
struct Past {
    untaken: u32,
    /// Those that were in vain.
    in_vain: u32,
}

/// Has one request count as often not taken as the one that was sent in its stead.
pub(super) fn pass_on(from: &Extensions, to: &mut Extensions) {
    if let Some(past) = from.get::<Past>() {
        to.insert(*past);
    }
}

/// What an upstream has not taken is sent there again.
pub(super) struct Again {
    until: Instant,
    spreads: bool,
    /// How often it was in vain here.
    in_vain: u32,
}

impl Again {
    /// Of a request that has so long: half of that is for one upstream.
    pub(super) fn new(deadline: Instant) -> Again {
        let now = Instant::now();
        let until = now + deadline.saturating_duration_since(now) / 2;
        Again { until, spreads: false, in_vain: 0 }
    }

    /// Whether it should go over whichever connection has least to do: what the usual ones take has turned out to be little.
    pub(super) fn spreads(&self) -> bool {
        self.spreads
    }

    /// Waits until the request may be sent once more that was not taken.
    ///
    /// # Errors
    ///
    /// The failure, as it may not be sent here, with what may become of it elsewhere, or was not unsent.
    pub(super) async fn after(&mut self, mut failure: Failure) -> Result<Outgoing, Failure> {
        let Failure { untaken: Some(untaken), unsent: Some(request), .. } = &mut failure else {
            return Err(failure);
        };
        let past = request.extensions_mut().get_or_insert_default();
        if !self.may(untaken, past).await {
            return Err(failure);
        }
        failure.unsent.take().ok_or(failure)
    }

    /// Waits until it is time for once more, here or elsewhere; `false` if not here.
    async fn may(&mut self, untaken: &mut Untaken, past: &mut Past) -> bool {
        past.untaken += 1;
        self.spreads = past.untaken >= AT_ONCE;
        if let Some(pause) = past.pause() {
            // Those that have met the same end need not come back together.
            sleep_until(self.until.min(Instant::now() + pause.mul_f64(fastrand::f64()))).await;
        }
        let is_refusal = untaken.is_refusal();
        let in_vain = u32::from(untaken.is_in_vain());
        past.in_vain += in_vain;
        self.in_vain += in_vain;
        untaken.costs = is_refusal && past.untaken >= AT_ONCE;
        untaken.spent = past.in_vain >= MOST_IN_VAIN || past.untaken >= MOST;
        // What costs is for whoever has the budget.
        let goes_elsewhere = is_refusal || self.in_vain >= IN_VAIN_HERE;
        !untaken.spent && !goes_elsewhere && Instant::now() < self.until
    }
}

impl Past {
    /// How long to wait at most before it is sent again.
    fn pause(self) -> Option<Duration> {
        let doublings = self.untaken.checked_sub(AT_ONCE)?;
        let longest = PAUSES[if self.in_vain > 0 { 2 } else { 1 }];
        Some(longest.min(PAUSES[0] * (1 << doublings.min(10))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::outbound::greeting::untold;
    use crate::outbound::untaken::Streams;

    const HOUR: Duration = Duration::from_secs(3600);

    fn streams() -> Arc<Streams> {
        Streams::new(100, untold())
    }

    /// Of a connection that ends, which has taken so many others.
    fn ended(others: usize) -> Untaken {
        let streams = streams();
        (0..others).for_each(|_| drop(streams.give()));
        streams.give().untaken(false)
    }

    fn refused() -> Untaken {
        streams().give().untaken(true)
    }

    #[tokio::test(start_paused = true)]
    async fn where_others_are_taken_it_goes_on_with_pauses_and_has_an_end() {
        let start = Instant::now();
        let (mut again, mut past) = (Again::new(start + HOUR), Past::default());
        for untaken in 1..MOST {
            assert!(again.may(&mut ended(1), &mut past).await);
            assert_eq!((again.spreads(), start.elapsed().is_zero()), (untaken >= AT_ONCE, untaken < AT_ONCE));
        }
        let mut last = ended(1);
        assert!(!again.may(&mut last, &mut past).await);
        assert!(last.spent && !last.costs);
        assert!(start.elapsed() < PAUSES[1] * MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_is_taken_others_have_a_chance_and_all_in_all_it_is_a_dozen_times() {
        let start = Instant::now();
        let mut past = Past::default();
        for sent in (0..MOST_IN_VAIN).step_by(3) {
            let mut again = Again::new(start + HOUR);
            assert!(again.may(&mut ended(0), &mut past).await, "{sent}");
            assert!(again.may(&mut ended(0), &mut past).await, "{sent}");
            let mut third = ended(0);
            assert!(!again.may(&mut third, &mut past).await, "{sent}");
            assert_eq!((third.spent, third.costs), (sent + 3 == MOST_IN_VAIN, false), "{sent}");
        }
        assert!(start.elapsed() > PAUSES[1], "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_for_whoever_has_the_budget() {
        let mut past = Past::default();
        for sent in 1..=MOST_IN_VAIN {
            let mut refused = refused();
            assert!(!Again::new(Instant::now() + HOUR).may(&mut refused, &mut past).await, "{sent}");
            assert_eq!((refused.costs, refused.spent), (sent >= AT_ONCE, sent == MOST_IN_VAIN), "{sent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_too_many_for_a_new_connection_is_not_refused() {
        let (mut again, mut past) = (Again::new(Instant::now() + HOUR), Past::default());
        for _ in 0..20 {
            let streams = streams();
            let given = streams.give();
            streams.set_room(8);
            let mut untaken = given.untaken(true);
            assert!(again.may(&mut untaken, &mut past).await);
            assert!(!untaken.costs);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_the_time_is_left_for_others() {
        let start = Instant::now();
        let (mut again, mut past) = (Again::new(start + Duration::from_millis(100)), Past::default());
        while again.may(&mut ended(1), &mut past).await {}
        assert!((50..=52).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    }
}
