//! What costs its receiver and brings nothing has a budget.

use std::time::Duration;

use tokio::time::Instant;

use super::receive::Violation;
use crate::wire::framed::frame::CloseCode;

/// A budget that is spent one by one, and refills with time and with honest traffic.
#[derive(Debug)]
struct Budget {
    what: &'static str,
    left: u32,
    most: u32,
    /// Time that refills one.
    refill: Duration,
    refilled: Instant,
}

impl Budget {
    fn new(what: &'static str, most: u32, refill: Duration, now: Instant) -> Self {
        Self { what, left: most, most, refill, refilled: now }
    }

    fn spend(&mut self, now: Instant) -> Result<(), Violation> {
        let since = now.saturating_duration_since(self.refilled);
        let earned = since.as_nanos() / self.refill.as_nanos().max(1);
        if earned > 0 {
            self.refilled = now;
            self.earn(u32::try_from(earned).unwrap_or(u32::MAX));
        }
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return Err(Violation { code: CloseCode::Flood, text: format!("too many {}", self.what).into() }),
        }
        Ok(())
    }

    fn earn(&mut self, earned: u32) {
        self.left = self.left.saturating_add(earned).min(self.most);
    }
}

/// All budgets of a connection.
#[derive(Debug)]
pub(super) struct Floods {
    resets: Budget,
    refusals: Budget,
    pings: Budget,
    empty: Budget,
    credits: Budget,
    interims: Budget,
    late: Budget,
    /// Calls of the connection when a late frame was last seen.
    calls: u32,
}

/// What may come honestly for a call when it is over: its reply or its end, a reset, and credit that had been granted.
const LATE: u32 = 8;
/// Late frames that a peer may send before it has any call.
const LATE_AT_FIRST: u32 = 10_000;
/// What a connection may have of calls at a time, as far as budgets go by that.
const FEW_CALLS: u32 = 1000;
const MANY_CALLS: u32 = 1 << 20;

/// Credit below this is hardly worth its frame.
pub(super) const TINY: u32 = 64;

impl Floods {
    /// For a peer that was told the least time between two pings, on a connection of so many calls at a time. Those may honestly be
    /// given up together, by many clients that wait for the same thing: what a call may cost at its end is there for each of them,
    /// and again after ten seconds.
    pub(super) fn new(ping_ms: u32, calls: u32, now: Instant) -> Self {
        let ms = Duration::from_millis;
        let calls = calls.clamp(FEW_CALLS, MANY_CALLS);
        let again = Duration::from_secs(10) / calls;
        Self {
            resets: Budget::new("resets", calls, again, now),
            refusals: Budget::new("calls that have to be refused", FEW_CALLS, ms(10), now),
            pings: Budget::new("pings", 10, ms(u64::from(ping_ms).max(1)), now),
            empty: Budget::new("empty frames", 100, ms(100), now),
            credits: Budget::new("tiny credits", 100, ms(100), now),
            interims: Budget::new("interim heads", calls, again, now),
            late: Budget {
                left: LATE_AT_FIRST,
                ..Budget::new("frames that change nothing", LATE * calls + LATE_AT_FIRST, ms(1), now)
            },
            calls: 0,
        }
    }

    /// A call was broken off while it cost something.
    pub(super) fn reset(&mut self, now: Instant) -> Result<(), Violation> {
        self.resets.spend(now)
    }

    /// A call was such that it had to be broken off.
    pub(super) fn refusal(&mut self, now: Instant) -> Result<(), Violation> {
        self.refusals.spend(now)
    }

    pub(super) fn ping(&mut self, now: Instant) -> Result<(), Violation> {
        self.pings.spend(now)
    }

    /// A piece of a body of no bytes, and no end either.
    pub(super) fn empty(&mut self, now: Instant) -> Result<(), Violation> {
        self.empty.spend(now)
    }

    pub(super) fn credit(&mut self, now: Instant) -> Result<(), Violation> {
        self.credits.spend(now)
    }

    pub(super) fn interim(&mut self, now: Instant) -> Result<(), Violation> {
        self.interims.spend(now)
    }

    /// A frame changes nothing, as its call is over or it was said before; so many calls were opened on the connection until now.
    pub(super) fn late(&mut self, now: Instant, calls: u32) -> Result<(), Violation> {
        let new = calls.saturating_sub(std::mem::replace(&mut self.calls, calls));
        self.late.earn(new.saturating_mul(LATE));
        self.late.spend(now)
    }

    /// So many calls came to their end as calls should.
    pub(super) fn honest(&mut self, calls: u32) {
        self.resets.earn(calls);
        self.refusals.earn(calls);
        self.interims.earn(calls);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_and_earned() {
        let start = Instant::now();
        let mut floods = Floods::new(500, 1000, start);
        for _ in 0..10 {
            floods.ping(start).unwrap();
        }
        let Violation { code, text } = floods.ping(start).unwrap_err();
        assert_eq!((code, &*text), (CloseCode::Flood, "too many pings"));
        floods.ping(start + Duration::from_millis(499)).unwrap_err();
        floods.ping(start + Duration::from_millis(500)).unwrap();
        floods.ping(start + Duration::from_millis(500)).unwrap_err();
        let refilled = (0..20).take_while(|_| floods.ping(start + Duration::from_secs(60)).is_ok()).count();
        assert_eq!(refilled, 10, "never more than at first");
    }

    #[test]
    fn each_call_makes_up_for_what_may_come_late_for_it() {
        let start = Instant::now();
        let mut floods = Floods::new(500, 1000, start);
        for call in 1..=5000 {
            (0..LATE).for_each(|_| floods.late(start, call).unwrap());
        }
        let spent = (0..20_000).take_while(|_| floods.late(start, 5000).is_ok()).count();
        assert_eq!(spent, LATE_AT_FIRST as usize);
        floods.late(start + Duration::from_millis(1), 5000).unwrap();
        // A thousand calls are over at once.
        (0..LATE * 1000).for_each(|_| floods.late(start, 6000).unwrap());
    }

    #[test]
    fn honest_traffic_makes_up_for_resets() {
        let start = Instant::now();
        let mut floods = Floods::new(500, 1000, start);
        for _ in 0..5000 {
            floods.reset(start).unwrap();
            floods.honest(1);
        }
        let spent = (0..2000).take_while(|_| floods.reset(start).is_ok()).count();
        assert_eq!(spent, 1000);
        let refilled = (0..2000).take_while(|_| floods.reset(start + Duration::from_secs(3600)).is_ok()).count();
        assert_eq!(refilled, 1000, "never more than at first");
    }
}
