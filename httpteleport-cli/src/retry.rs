//! Requests that are made again: those that never left for nothing, those that did out of a budget.

use std::time::Duration;

use http::Method;
use tokio::time::Instant;

/// The requests of so long count for the budget.
const WINDOW: Duration = Duration::from_secs(10);

/// What may be sent again, and how often.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// Upstreams that one request is tried on at most, whether it left or not. Default: 8.
    pub(crate) attempts: u32,
    /// How often one request that may have left is sent again: each time it may take down another upstream. Default: 1.
    pub(crate) repeats: u32,
    /// Such repeats over a while, in percent of all requests; 0 for none. Default: 20.
    pub(crate) percent: u32,
    /// So many are allowed at once where requests are few, and one more each second. Default: 10.
    pub(crate) reserve: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options { attempts: 8, repeats: 1, percent: 20, reserve: 10 }
    }
}

/// Whether it does no harm to make a request of this method twice (RFC 9110, section 9.2.2).
pub(crate) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE)
}

/// How many repeats there may be: a token bucket that requests fill. It learns of them when a repeat is asked for, so
/// that requests that go well cost it nothing.
#[derive(Debug)]
pub(crate) struct Budget {
    tokens: f64,
    /// Requests of the last [`WINDOW`], about.
    recent: f64,
    at: Instant,
    /// How many there had been then.
    requests: u64,
}

impl Budget {
    /// A budget that has its reserve.
    pub(crate) fn new(options: &Options, now: Instant) -> Budget {
        Budget { tokens: f64::from(options.reserve), recent: 0.0, at: now, requests: 0 }
    }

    /// Takes leave for one repeat, with so many `requests` since the beginning.
    pub(crate) fn take(&mut self, now: Instant, requests: u64, options: &Options) -> bool {
        if options.percent == 0 {
            return false;
        }
        self.fill(now, requests, options);
        let has = self.tokens >= 1.0;
        if has {
            self.tokens -= 1.0;
        }
        has
    }

    fn fill(&mut self, now: Instant, requests: u64, options: &Options) {
        let passed = now.saturating_duration_since(self.at);
        let part = passed.as_secs_f64() / WINDOW.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a budget is no matter of single requests")]
        let new = requests.saturating_sub(self.requests) as f64;
        self.recent = if part < 1.0 { self.recent * (1.0 - part) + new } else { new / part };
        let percent = f64::from(options.percent) / 100.0;
        let reserve = f64::from(options.reserve);
        let slowly = if options.reserve > 0 { passed.as_secs_f64() } else { 0.0 };
        self.tokens = (self.tokens + new * percent + slowly).min(reserve + self.recent * percent);
        (self.at, self.requests) = (now, requests);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many of the repeats asked for in this second are granted.
    fn granted(budget: &mut Budget, now: Instant, requests: u64, asked: u32) -> u32 {
        let options = Options::default();
        (0..asked).map(|_| u32::from(budget.take(now, requests, &options))).sum()
    }

    #[test]
    fn a_fifth_of_the_requests_may_be_repeated() {
        let (options, start) = (Options::default(), Instant::now());
        let mut budget = Budget::new(&options, start);
        let (mut requests, mut repeats) = (0, 0);
        for second in 1..=100 {
            requests += 1000;
            repeats += granted(&mut budget, start + SECOND * second, requests, 1000);
        }
        // And the reserve, and what trickles in.
        assert!((20_000..=20_110).contains(&repeats), "{repeats}");
    }

    #[test]
    fn where_requests_are_few_there_is_a_reserve() {
        let (options, start) = (Options::default(), Instant::now());
        let mut budget = Budget::new(&options, start);
        assert_eq!(granted(&mut budget, start, 1, 100), 10);
        assert_eq!(granted(&mut budget, start + SECOND, 1, 100), 1);
        assert_eq!(granted(&mut budget, start + 1000 * SECOND, 1, 100), 10);
    }

    #[test]
    fn what_was_saved_long_ago_is_gone() {
        let (options, start) = (Options::default(), Instant::now());
        let mut budget = Budget::new(&options, start);
        // A day of a thousand a second: of that, ten seconds count.
        let day = SECOND * 86_400;
        let repeats = granted(&mut budget, start + day, 86_400_000, 100_000);
        assert!((2_000..=2_011).contains(&repeats), "{repeats}");
        let off = Options { percent: 0, ..options };
        assert!(!budget.take(start + day * 2, 200_000_000, &off));
    }

    #[test]
    fn what_may_be_made_twice() {
        for (method, may) in
            [("GET", true), ("PUT", true), ("DELETE", true), ("POST", false), ("PATCH", false), ("X", false)]
        {
            assert_eq!(is_idempotent(&method.parse().expect("a method")), may, "{method}");
        }
    }
}
