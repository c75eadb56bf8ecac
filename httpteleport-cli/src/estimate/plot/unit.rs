//! How values are written.

use super::axis::linear;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Time, in nanoseconds.
    Time,
    /// Bytes.
    Bytes,
    /// Percent.
    Percent,
    /// A plain number.
    Count,
}

impl Unit {
    /// A value as its label says it, with three digits that matter.
    #[must_use]
    pub fn label(self, value: f64) -> String {
        let (scale, suffix) = self.scale(value);
        let digits = match self {
            // No one asks for tenths of a byte or of a percent that is more than ten.
            Self::Bytes if scale == 1.0 => format!("{value:.0}"),
            _ => three_digits(value / scale),
        };
        format!("{digits}{suffix}")
    }

    /// Ticks from zero to at most `most`, round in the unit they are written in.
    #[must_use]
    pub fn axis(self, most: f64) -> Vec<f64> {
        let (scale, _) = self.scale(most);
        linear(most / scale, 6).into_iter().map(|tick| tick * scale).collect()
    }

    /// Labels of an axis' ticks: all in the unit of the largest, with as many digits as are needed.
    #[must_use]
    pub fn ticks(self, ticks: &[f64]) -> Vec<String> {
        let (scale, suffix) = self.scale(ticks.iter().copied().fold(0.0, f64::max));
        ticks.iter().map(|tick| format!("{}{suffix}", short(tick / scale))).collect()
    }

    /// The label of a tick by itself, on an axis over many orders of magnitude.
    #[must_use]
    pub fn tick(self, value: f64) -> String {
        let (scale, suffix) = match self {
            Self::Bytes if (1024.0..10.0 * 1024.0).contains(&value) => (1024.0, " KiB"),
            _ => self.scale(value),
        };
        format!("{}{suffix}", short(value / scale))
    }

    fn scale(self, value: f64) -> (f64, &'static str) {
        // What would be rounded to 1000 belongs to the next unit.
        let least = value.abs() * 1.000_5;
        match self {
            Self::Time if least >= 1e9 => (1e9, " s"),
            Self::Time if least >= 1e6 => (1e6, " ms"),
            Self::Time if least >= 1e3 => (1e3, " µs"),
            Self::Time => (1.0, " ns"),
            Self::Bytes if least >= 1024.0 * 1024.0 * 1024.0 => (1024.0 * 1024.0 * 1024.0, " GiB"),
            Self::Bytes if least >= 1024.0 * 1024.0 => (1024.0 * 1024.0, " MiB"),
            // A few kilobytes are told apart by their bytes.
            Self::Bytes if least >= 10.0 * 1024.0 => (1024.0, " KiB"),
            Self::Bytes => (1.0, " B"),
            Self::Percent => (1.0, " %"),
            Self::Count if least >= 1e6 => (1e6, "M"),
            Self::Count if least >= 1e3 => (1e3, "k"),
            Self::Count => (1.0, ""),
        }
    }
}

fn three_digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Without digits that say nothing.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_three_digits_and_the_unit_that_fits() {
        let time = |ns| Unit::Time.label(ns);
        assert_eq!([time(231.4), time(999.6), time(5781.0)], ["231 ns", "1.00 µs", "5.78 µs"]);
        assert_eq!([time(19_718.0), time(123_456.0), time(2.5e6)], ["19.7 µs", "123 µs", "2.50 ms"]);
        assert_eq!([Unit::Bytes.label(588.4), Unit::Bytes.label(3326.7)], ["588 B", "3327 B"]);
        assert_eq!(Unit::Bytes.label(5.5 * 1024.0 * 1024.0), "5.50 MiB");
        assert_eq!([Unit::Percent.label(17.66), Unit::Percent.label(100.0)], ["17.7 %", "100 %"]);
    }

    #[test]
    fn ticks_share_a_unit_and_have_no_idle_digits() {
        assert_eq!(Unit::Time.ticks(&[0.0, 500.0, 1000.0, 1500.0]), ["0 µs", "0.5 µs", "1 µs", "1.5 µs"]);
        assert_eq!(Unit::Percent.ticks(&[0.0, 20.0]), ["0 %", "20 %"]);
        assert_eq!([1.0, 100.0, 10_000.0].map(|n| Unit::Count.tick(n)), ["1", "100", "10k"]);
        assert_eq!([Unit::Time.tick(2000.0), Unit::Bytes.tick(1024.0)], ["2 µs", "1 KiB"]);
        let kib = Unit::Bytes.axis(870_000.0);
        assert_eq!(Unit::Bytes.ticks(&kib)[..3], ["0 KiB", "200 KiB", "400 KiB"]);
    }
}
