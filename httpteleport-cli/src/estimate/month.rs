//! What a month comes to.

use super::EstimateArgs;

/// A month has 730 hours, as those count who bill for traffic.
const SECONDS: f64 = 730.0 * 3600.0;
/// Bytes of a gigabyte, as they count it.
const GIGABYTE: f64 = 1e9;

/// The rate and the price that were given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Month {
    /// Exchanges a second, all the time.
    pub(super) rate: f64,
    /// What 10^9 bytes cost.
    pub(super) price: Option<f64>,
}

impl Month {
    pub(super) const HOURS: f64 = SECONDS / 3600.0;

    /// The month that the options speak of, if they do.
    pub(super) fn asked_for(options: &EstimateArgs) -> Option<Month> {
        options.requests_per_second.map(|rate| Month { rate, price: options.price_per_gb })
    }

    /// How many exchanges it has.
    pub(super) fn exchanges(self) -> f64 {
        self.rate * SECONDS
    }

    /// Its bytes, of so many an exchange.
    pub(super) fn bytes(self, each: f64) -> f64 {
        self.exchanges() * each
    }

    /// What these cost, if there is a price.
    pub(super) fn cost(self, each: f64) -> Option<f64> {
        self.price.map(|price| self.bytes(each) / GIGABYTE * price)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_of_a_thousand_requests_a_second() {
        let month = Month { rate: 1000.0, price: Some(0.05) };
        assert_eq!(month.exchanges(), 2_628_000_000.0);
        assert_eq!(month.bytes(1000.0), 2.628e12);
        assert!((month.cost(1000.0).expect("a price") - 131.4).abs() < 1e-9);
        assert_eq!(Month { price: None, ..month }.cost(1.0), None);
    }
}
