//! What came of the rounds: medians with the least and the most, and the ratio to the baseline of the same rounds.

use serde_json::{Value, json};

use super::rounds::Round;
use crate::spread::Spread;

/// As JSON, in so many parts of a unit.
fn json_of(spread: Spread, per_unit: f64) -> Value {
    let round = |value: f64| (value * per_unit).round() / per_unit;
    json!({"median": round(spread.median), "min": round(spread.min), "max": round(spread.max)})
}

/// Of the rounds, of which there is one at the least.
fn spread(values: impl Iterator<Item = f64>) -> Spread {
    Spread::of(values).expect("a row has a round")
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
        let of = |value: fn(&Round) -> f64| spread(rounds.iter().map(value));
        Self {
            name: name.to_owned(),
            cpu_us: of(|round| round.cpu_us),
            ratio: spread(rounds.iter().zip(baseline).map(|(own, base)| own.cpu_us / base.cpu_us)),
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
            "cpu_us_per_request": json_of(self.cpu_us, 100.0),
            "ratio_to_haproxy": json_of(self.ratio, 1000.0),
            "requests_per_s": json_of(self.rate, 1.0),
            "p50_ms": json_of(self.p50_ms, 1000.0),
            "p99_ms": json_of(self.p99_ms, 1000.0),
        })
        .to_string()
    }

    /// One line of the table under [`heading`].
    #[must_use]
    pub fn line(&self) -> String {
        let Self { name, cpu_us, ratio, rate, p50_ms, p99_ms } = self;
        let begin = begin(name, *cpu_us, *ratio);
        let (rate_range, p99_range) = (rate.range(0), p99_ms.range(2));
        format!(
            "{begin} {:>7.0} {rate_range:>13} {:>7.2} {:>7.2} {p99_range:>11}",
            rate.median, p50_ms.median, p99_ms.median
        )
    }
}

/// The columns that every line has.
fn begin(name: &str, cpu_us: Spread, ratio: Spread) -> String {
    let (range, ratio_range) = (cpu_us.range(1), ratio.range(2));
    format!("{name:<26} {:>7.1} {range:>11} {:>6.2} {ratio_range:>10}", cpu_us.median, ratio.median)
}

/// The headings over [`Measured::line`] and [`Cited::line`].
#[must_use]
pub fn heading() -> String {
    let names = ["row", "CPU us", "min-max", "ratio", "min-max", "rps", "min-max", "p50 ms", "p99 ms", "min-max"];
    let [row, cpu, range, ratio, ratio_range, rate, rate_range, p50, p99, p99_range] = names;
    format!(
        "{row:<26} {cpu:>7} {range:>11} {ratio:>6} {ratio_range:>10} {rate:>7} {rate_range:>13} {p50:>7} {p99:>7} \
         {p99_range:>11}"
    )
}

/// The day of what is cited.
const CITED_ON: &str = "2026-11-22";

/// Where the cited figures come from, for below the table.
#[must_use]
pub fn cited_from() -> String {
    format!(
        "cited/: the Go original's httptp, measured on {CITED_ON} on 2 cores of a virtual Intel Xeon (Sapphire Rapids), Go \
         1.23, two rounds; haproxy took {CITED_BASELINE_US} us there. Compare their ratios alone."
    )
}

/// A figure of the Go original, from another day and machine: two rounds, where the baseline of the same rounds needed 22
/// to 23 us. Only the ratio can be compared with a ratio of today.
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
    fn cpu_us(&self) -> Spread {
        spread([self.cpu_us.0, self.cpu_us.1].into_iter())
    }

    fn ratio(&self) -> Spread {
        spread([self.cpu_us.0, self.cpu_us.1].into_iter().map(|us| us / CITED_BASELINE_US))
    }

    fn name(&self) -> String {
        format!("cited/{}", self.name)
    }

    /// One JSON object on one line, marked as cited, with its day.
    #[must_use]
    pub fn json(&self) -> String {
        json!({
            "name": self.name(),
            "cited": CITED_ON,
            "cpu_us_per_request": json_of(self.cpu_us(), 100.0),
            "ratio_to_haproxy": json_of(self.ratio(), 1000.0),
        })
        .to_string()
    }

    /// One line of the table under [`heading`].
    #[must_use]
    pub fn line(&self) -> String {
        begin(&self.name(), self.cpu_us(), self.ratio())
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
        assert_eq!(measured.cpu_us, Spread { median: 30.0, min: 10.0, max: 40.0 });
        assert_eq!(measured.ratio, Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert!(measured.json().contains("\"name\":\"a\""));
        assert!(CITED[2].json().contains("\"cited\":\"2026-11-22\""));
        assert!(CITED[2].line().contains("3.22"));
    }
}
