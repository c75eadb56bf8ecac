//! How many calls fill a round.

use std::time::Duration;

/// Finds how many of what `run` does fill `round`, `least` at the least, and warms everything up on the way.
///
/// # Errors
///
/// Those of `run`.
pub(super) fn calibrate(
    round: Duration,
    least: u64,
    mut run: impl FnMut(u64) -> anyhow::Result<Duration>,
) -> anyhow::Result<u64> {
    let mut count = least;
    loop {
        let took = run(count)?;
        if took * 5 >= round {
            let fits = u128::from(count) * round.as_nanos() / took.as_nanos().max(1);
            return Ok(u64::try_from(fits).unwrap_or(u64::MAX).max(least));
        }
        count = count.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_fit_and_never_less_than_the_least() {
        let each = |micros| move |count| Ok(Duration::from_micros(micros) * u32::try_from(count).unwrap_or(u32::MAX));
        assert_eq!(calibrate(Duration::from_millis(10), 1, each(10)).ok(), Some(1000));
        assert_eq!(calibrate(Duration::from_millis(10), 4, each(100_000)).ok(), Some(4));
    }
}
