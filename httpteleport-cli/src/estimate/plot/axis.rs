//! Where the ticks of an axis are.

/// Ticks from zero to at most `most`, about as many as wanted, at multiples of 1, 2 or 5 times a power of ten.
#[must_use]
pub fn linear(most: f64, wanted: usize) -> Vec<f64> {
    if most.is_nan() || most <= 0.0 || wanted == 0 {
        return vec![0.0];
    }
    let step = round_up(most / wanted as f64);
    // A hair more, so that the last tick is not lost to rounding.
    (0u32..).map(|n| f64::from(n) * step).take_while(|tick| *tick <= most * 1.000_001).collect()
}

/// The least of 1, 2, 5, 10, 20, 50.. and their fractions that is not below `value`.
#[must_use]
pub fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let of = |digit: f64| digit * power;
    [1.0, 2.0, 5.0].map(of).into_iter().find(|round| *round >= value * 0.999_999).unwrap_or(10.0 * power)
}

/// The greatest of them that is not above `value`.
#[must_use]
pub fn round_down(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let of = |digit: f64| digit * power;
    [5.0, 2.0, 1.0].map(of).into_iter().find(|round| *round <= value * 1.000_001).unwrap_or(power)
}

/// How many times a round number may be off the values for a scale to end there.
const NEAR: f64 = 1.75;
/// How many times the values a scale ends otherwise.
const BEYOND: f64 = 1.15;

/// A logarithmic scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// Its two ends.
    pub range: (f64, f64),
    /// Its ticks.
    pub ticks: Vec<f64>,
}

impl Log {
    /// A scale that holds all of `values` (those above zero) and ends at round numbers, if some are near.
    #[must_use]
    pub fn over(values: impl IntoIterator<Item = f64>) -> Self {
        let (least, most) = bounds(values);
        let range = (end(least, round_down(least)), end(most, round_up(most)));
        let range = if range.0 < range.1 { range } else { (round_down(least / 2.0), round_up(most * 2.0)) };
        let decades = (range.1 / range.0).log10();
        let digits: &[f64] = if decades <= 2.4 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let mut ticks = Vec::new();
        let mut power = 10f64.powf(range.0.log10().floor());
        while power <= range.1 * 1.000_001 {
            let inside = |tick: &f64| *tick >= range.0 * 0.999_999 && *tick <= range.1 * 1.000_001;
            ticks.extend(digits.iter().map(|digit| digit * power).filter(inside));
            power *= 10.0;
        }
        Self { range, ticks }
    }

    /// A scale whose ticks are the values themselves, when they are few: 1, 4, 16 and 64 are read best as what they are.
    #[must_use]
    pub fn at(values: impl IntoIterator<Item = f64>) -> Self {
        let mut ticks: Vec<f64> = values.into_iter().filter(|value| *value > 0.0).collect();
        ticks.sort_by(f64::total_cmp);
        ticks.dedup();
        match (ticks.first(), ticks.last()) {
            (Some(least), Some(most)) if ticks.len() <= 8 && least < most => Self { range: (*least, *most), ticks },
            _ => Self::over(ticks),
        }
    }

    /// Where `value` lies: 0 at the lower end, 1 at the upper.
    #[must_use]
    pub fn place(&self, value: f64) -> f64 {
        let (least, most) = self.range;
        (value / least).ln() / (most / least).ln()
    }
}

/// The end of a scale: the round number, or where much room would be left empty, a little beyond the value.
fn end(value: f64, round: f64) -> f64 {
    let beyond = round / value;
    match beyond {
        _ if (1.0 / NEAR..=NEAR).contains(&beyond) => round,
        _ if beyond > 1.0 => value * BEYOND,
        _ => value / BEYOND,
    }
}

fn bounds(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let mut bounds: Option<(f64, f64)> = None;
    for value in values.into_iter().filter(|value| value.is_finite() && *value > 0.0) {
        let (least, most) = bounds.unwrap_or((value, value));
        bounds = Some((least.min(value), most.max(value)));
    }
    bounds.unwrap_or((1.0, 10.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_ticks_are_round_and_stay_inside() {
        assert_eq!(linear(6560.0, 5), [0.0, 2000.0, 4000.0, 6000.0]);
        assert_eq!(linear(100.0, 5), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(linear(0.7, 7).len(), 8);
        assert_eq!(linear(0.0, 5), [0.0]);
    }

    #[test]
    fn rounding_goes_to_one_two_or_five() {
        assert_eq!([round_up(3.0), round_up(20.0), round_up(51.0), round_up(0.011)], [5.0, 20.0, 100.0, 0.02]);
        assert_eq!([round_down(3.0), round_down(20.0), round_down(99.0)], [2.0, 20.0, 50.0]);
    }

    #[test]
    fn a_log_scale_holds_its_values_between_round_ends() {
        let scale = Log::over([231.0, 5781.0, 0.0, f64::NAN]);
        assert_eq!(scale.range, (200.0, 10_000.0));
        assert_eq!(scale.ticks, [200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0]);
        assert_eq!((scale.place(200.0), scale.place(10_000.0)), (0.0, 1.0));
        assert_eq!(Log::over([1.0, 100_000.0]).ticks, [1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0]);
        assert_eq!(Log::over([10.0, 102.0]).ticks, [10.0, 20.0, 50.0, 100.0], "no empty room up to 200");
        let one = Log::over([100.0]);
        assert!(one.range.0 < 100.0 && one.range.1 > 100.0);
    }

    #[test]
    fn few_values_are_their_own_ticks() {
        assert_eq!(Log::at([64.0, 1.0, 16.0, 4.0, 4.0]).ticks, [1.0, 4.0, 16.0, 64.0]);
        assert_eq!(Log::at([5.0]).ticks, Log::over([5.0]).ticks);
    }
}
