//! Look-ups that have found something and go on: one family of addresses is late.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::timeout;

use super::Families;

/// So long what was found of one family waits for the other. RFC 8305 has 50 ms, where a person waits for one connection; here a start
/// waits, once, and whatever comes later is a new upstream.
pub(super) const GRACE: Duration = Duration::from_millis(300);

/// A part of a look-up, or all of it, that is not over.
pub(super) type Going<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The rest of a look-up.
pub(super) struct Late<T> {
    /// Whose addresses may still come.
    pub(super) families: Families,
    /// Comes to all of it, what was found before too.
    pub(super) rest: Going<T>,
}

impl<T: Send + 'static> Late<T> {
    /// The same, of what is made of it.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U + Send + 'static) -> Late<U> {
        let Late { families, rest } = self;
        Late { families, rest: Box::pin(async move { make(rest.await) }) }
    }
}

impl<T> fmt::Debug for Late<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Late").field("families", &self.families).finish_non_exhaustive()
    }
}

/// What two questions come to that are asked at the same time.
pub(super) enum Pair<T> {
    /// Both are answered.
    Both(T, T),
    /// The first is; the second one goes on.
    First(T, Going<T>),
    /// The other way round.
    Second(Going<T>, T),
}

/// Asks both. Where the answer to one is `enough` the other one has [`GRACE`] from then on; that tells whether it is the first one's.
pub(super) async fn pair<T>(mut first: Going<T>, mut second: Going<T>, enough: impl Fn(&T, bool) -> bool) -> Pair<T> {
    tokio::select! {
        one = &mut first => match wait(&mut second, enough(&one, true)).await {
            Some(other) => Pair::Both(one, other),
            None => Pair::First(one, second),
        },
        other = &mut second => match wait(&mut first, enough(&other, false)).await {
            Some(one) => Pair::Both(one, other),
            None => Pair::Second(first, other),
        },
    }
}

async fn wait<T>(going: &mut Going<T>, briefly: bool) -> Option<T> {
    if briefly { timeout(GRACE, going).await.ok() } else { Some(going.await) }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    fn after(ms: u64, answer: u32) -> Going<u32> {
        Box::pin(async move {
            sleep(Duration::from_millis(ms)).await;
            answer
        })
    }

    /// How long it took, and what was there then; an answer of 0 is not enough.
    async fn asked(first: Going<u32>, second: Going<u32>) -> (u128, [Option<u32>; 2]) {
        let start = Instant::now();
        let come = match pair(first, second, |answer, _| *answer > 0).await {
            Pair::Both(first, second) => [Some(first), Some(second)],
            Pair::First(first, rest) => {
                let come = [Some(first), None];
                let at = start.elapsed().as_millis();
                assert_eq!(rest.await, 2, "it goes on");
                return (at, come);
            }
            Pair::Second(rest, second) => {
                let come = [None, Some(second)];
                let at = start.elapsed().as_millis();
                assert_eq!(rest.await, 1, "it goes on");
                return (at, come);
            }
        };
        (start.elapsed().as_millis(), come)
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_late_comes_later_and_one_that_is_nearly_in_time_is_waited_for() {
        let both = [Some(1), Some(2)];
        for (first, second, at, come) in [
            (5, 5, 5, both),
            (5, 300, 300, both),
            (5, 4000, 305, [Some(1), None]),
            (4000, 5, 305, [None, Some(2)]),
            (2000, 2200, 2200, both),
        ] {
            assert_eq!(asked(after(first, 1), after(second, 2)).await, (at, come), "{first} {second}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_enough_waits_to_the_end() {
        assert_eq!(asked(after(5, 0), after(4000, 2)).await, (4000, [Some(0), Some(2)]));
        assert_eq!(asked(after(4000, 1), after(5, 0)).await, (4000, [Some(1), Some(0)]));
    }
}
