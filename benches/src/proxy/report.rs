//! What came of the rounds: medians with the least and the most, and the ratio to the baseline of the same rounds.

use serde_json::{Value, json};

use super::rounds::Round;

/// Median, least and most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one; of an even number the upper of the two.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Of at least one value.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        Self { median: values[values.len() / 2], least: values[0], most: values[values.len() - 1] }
    }

    fn json(self, per_unit: f64) -> Value {
        let round = |value: f64| (value * per_unit).round() / per_unit;
        json!({"median": round(self.median), "min": round(self.least), "max": round(self.most)})
    }
}

/// One row, measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The route's name.
    pub name: String,
    /// Microseconds of CPU per request.
    pub cpu_us: Spread,
    /// The same as a multiple of the baseline's, round by round.
    pub ratio: Spread,
    /// Requests per second.
    pub rate: Spread,
    /// Milliseconds.
    pub p50_ms: Spread,
    /// Milliseconds.
    pub p99_ms: Spread,
}

impl Measured {
    /// Sums up `rounds`, at least one; `baseline` are the same rounds of the row to compare with.
    #[must_use]
    pub fn new(name: &str, rounds: &[Round], baseline: &[Round]) -> Self {
        let of = |value: fn(&Round) -> f64| Spread::of(rounds.iter().map(value));
        Self {
            name: name.to_owned(),
            cpu_us: of(|round| round.cpu_us),
            ratio: Spread::of(rounds.iter().zip(baseline).map(|(own, base)| own.cpu_us / base.cpu_us)),
            rate: of(|round| round.load.rate),
            p50_ms: of(|round| round.load.p50.as_secs_f64() * 1e3),
            p99_ms: of(|round| round.load.p99.as_secs_f64() * 1e3),
        }
    }

    /// One JSON object on one line.
    #[must_use]
    pub fn json(&self) -> String {
        json!({
            "name": self.name,
            "cpu_us_per_request": self.cpu_us.json(100.0),
            "ratio_to_haproxy": self.ratio.json(1000.0),
            "requests_per_s": self.rate.json(1.0),
            "p50_ms": self.p50_ms.json(1000.0),
            "p99_ms": self.p99_ms.json(1000.0),
        })
        .to_string()
    }

    /// One line of the table under [`HEADING`].
    #[must_use]
    pub fn line(&self) -> String {
        let Self { name, cpu_us, ratio, rate, p50_ms, p99_ms } = self;
        let range = format!("{:.1}-{:.1}", cpu_us.least, cpu_us.most);
        let ratio_range = format!("{:.2}-{:.2}", ratio.least, ratio.most);
        format!(
            "{name:<26} {:>8.1} {range:>13} {:>6.2} {ratio_range:>11} {:>8.0} {:>8.2} {:>8.2}",
            cpu_us.median, ratio.median, rate.median, p50_ms.median, p99_ms.median
        )
    }
}

/// The columns of [`Measured::line`] and [`Cited::line`].
pub const HEADING: &str =
    "row                          CPU us       min-max  ratio     min-max     rps   p50 ms   p99 ms";

/// A figure of the Go original, from another day: two rounds on a machine of the same kind, where the baseline of the
/// same rounds needed 22 to 23 us. Only the ratio can be compared with a ratio of today.
#[derive(Clone, Copy, Debug)]
pub struct Cited {
    /// The row, named as ours.
    pub name: &'static str,
    /// Microseconds of CPU per request, the two rounds.
    pub cpu_us: (f64, f64),
}

/// The baseline of the rounds that are cited.
const CITED_BASELINE_US: f64 = 22.5;

/// What is cited.
pub const CITED: [Cited; 4] = [
    Cited { name: "go-httptp/http", cpu_us: (22.0, 36.0) },
    Cited { name: "go-httptp/pair/none", cpu_us: (49.0, 60.0) },
    Cited { name: "go-httptp/pair/flate", cpu_us: (63.0, 82.0) },
    Cited { name: "go-httptp/pair/snappy", cpu_us: (56.0, 69.0) },
];

impl Cited {
    fn median(&self) -> f64 {
        f64::midpoint(self.cpu_us.0, self.cpu_us.1)
    }

    fn ratio(&self) -> (f64, f64, f64) {
        let of = |us: f64| us / CITED_BASELINE_US;
        (of(self.median()), of(self.cpu_us.0), of(self.cpu_us.1))
    }

    /// One JSON object on one line, marked as cited.
    #[must_use]
    pub fn json(&self) -> String {
        let spread = |(median, least, most)| Spread { median, least, most };
        json!({
            "name": format!("cited/{}", self.name),
            "cited": true,
            "cpu_us_per_request": spread((self.median(), self.cpu_us.0, self.cpu_us.1)).json(100.0),
            "ratio_to_haproxy": spread(self.ratio()).json(1000.0),
        })
        .to_string()
    }

    /// One line of the table under [`HEADING`].
    #[must_use]
    pub fn line(&self) -> String {
        let (median, least, most) = self.ratio();
        let range = format!("{:.1}-{:.1}", self.cpu_us.0, self.cpu_us.1);
        let ratio_range = format!("{least:.2}-{most:.2}");
        let name = format!("cited/{}", self.name);
        format!("{name:<26} {:>8.1} {range:>13} {median:>6.2} {ratio_range:>11}", self.median())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proxy::wrk::Load;

    fn round(cpu_us: f64) -> Round {
        let (p50, p99) = (Duration::from_millis(1), Duration::from_millis(2));
        Round { cpu_us, load: Load { requests: 10.0, rate: 100.0, p50, p99 } }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let measured =
            Measured::new("a", &[round(10.0), round(40.0), round(30.0)], &[round(10.0), round(20.0), round(10.0)]);
        assert_eq!(measured.cpu_us, Spread { median: 30.0, least: 10.0, most: 40.0 });
        assert_eq!(measured.ratio, Spread { median: 2.0, least: 1.0, most: 3.0 });
        assert!(measured.json().contains("\"name\":\"a\""));
        assert!(CITED[2].json().contains("\"cited\":true"));
        assert!(CITED[2].line().contains("3.22"));
    }
}
