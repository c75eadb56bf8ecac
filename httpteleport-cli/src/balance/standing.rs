//! Whether an upstream is left alone for a while: a state machine without a clock.

use std::time::Duration;

use tokio::time::Instant;

use super::Eject;
use super::node::Change;

/// How long an upstream is avoided after its first failure to connect; doubles with each further one.
const FIRST_REST: Duration = Duration::from_millis(100);
/// It is never avoided for longer than this, give or take the jitter. So long, too, others wait for the one request that finds out whether
/// it can be reached again.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// The part of failures is taken of so long.
const WINDOW: Duration = Duration::from_secs(10);

/// What speaks against an upstream. The default is nothing.
#[derive(Debug, Default)]
pub(super) struct Standing {
    out: Option<Out>,
    /// Failures to connect in a row.
    unreachable: u32,
    ejected: Ejected,
    window: Option<Window>,
}

/// How it was ejected so far.
#[derive(Debug, Default)]
struct Ejected {
    /// How often, without being well for long in between.
    times: u32,
    /// How long the last time was.
    length: Duration,
    /// When it was well again after that.
    well_since: Option<Instant>,
}

/// It gets no requests.
#[derive(Clone, Copy, Debug)]
struct Out {
    why: Why,
    until: Instant,
    /// One request is on its way there all the same.
    tried: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Unreachable,
    Failing,
}

/// Where the counts stood when a window began.
#[derive(Clone, Copy, Debug)]
struct Window {
    began: Instant,
    counts: Counts,
}

/// What an upstream was sent so far, and what of that failed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) failures: u64,
    /// Failures since the last success.
    pub(super) in_a_row: u32,
}

impl Standing {
    /// Until when it gets no requests, if so.
    pub(super) fn out_until(&self, now: Instant) -> Option<Instant> {
        self.out.map(|out| out.until).filter(|until| *until > now)
    }

    /// Whether it is that it could not be connected to.
    pub(super) fn is_unreachable(&self) -> bool {
        self.out.is_some_and(|out| out.why == Why::Unreachable)
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_clear(&self) -> bool {
        self.out.is_none()
    }

    /// A request goes there. If the rest of one that could not be reached is over, others wait for what comes of it: where connecting takes
    /// long it is one that has to be patient, and not many.
    pub(super) fn try_again(&mut self, now: Instant) {
        if let Some(out) = &mut self.out
            && out.why == Why::Unreachable
            && out.until <= now
        {
            (out.until, out.tried) = (now + LONGEST_REST, true);
        }
    }

    /// It could not be connected to. `jitter` stretches the rest, so that many proxies do not come back at the same moment.
    pub(super) fn unreachable(&mut self, now: Instant, jitter: f64) -> Option<Change> {
        if self.out.is_some_and(|out| out.until > now && !out.tried) {
            // Calls that began together fail together: one failure, not many.
            return None;
        }
        let rest = FIRST_REST.saturating_mul(1 << self.unreachable.min(16)).min(LONGEST_REST).mul_f64(jitter);
        self.unreachable = self.unreachable.saturating_add(1);
        self.out = Some(Out { why: Why::Unreachable, until: now + rest, tried: false });
        (self.unreachable == 1).then_some(Change::Unreachable)
    }

    /// It failed a request. It is ejected if that is too much, and if there is `room` for it among those that are out.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        counts: Counts,
        options: &Eject,
        jitter: f64,
        room: impl FnOnce() -> bool,
    ) -> Option<Change> {
        if let Some(out) = self.out.as_mut().filter(|out| out.tried) {
            // It was reached: what it did with the request is another matter.
            (out.until, out.tried) = (now, false);
        }
        if self.out_until(now).is_some() {
            return None;
        }
        // One that is back and fails its first request has learnt nothing.
        let back = self.out.is_some_and(|out| out.why == Why::Failing);
        let in_a_row = options.failures > 0 && counts.in_a_row >= options.failures;
        let often = self.fails_often(now, counts, options);
        if !(back || in_a_row || often) || !room() {
            return None;
        }
        let rest = self.ejected.again(now, options).mul_f64(jitter);
        self.out = Some(Out { why: Why::Failing, until: now + rest, tried: false });
        self.window = None;
        Some(Change::Ejected(rest))
    }

    fn fails_often(&mut self, now: Instant, counts: Counts, options: &Eject) -> bool {
        let fresh = Window { began: now, counts: Counts { failures: counts.failures.saturating_sub(1), ..counts } };
        let window = self.window.get_or_insert(fresh);
        if now.saturating_duration_since(window.began) > WINDOW {
            *window = fresh;
        }
        let requests = counts.requests.saturating_sub(window.counts.requests);
        let failures = counts.failures.saturating_sub(window.counts.failures);
        options.percent > 0
            && requests >= options.requests
            && failures.saturating_mul(100) >= requests.saturating_mul(u64::from(options.percent))
    }

    /// It answered well.
    pub(super) fn succeeded(&mut self, now: Instant) -> Option<Change> {
        let out = self.out?;
        if out.why == Why::Failing && out.until > now {
            // It was sent before that.
            return None;
        }
        self.ejected.well_since = Some(now);
        self.out = None;
        self.unreachable = 0;
        Some(Change::Back)
    }
}

impl Ejected {
    /// How long it is this time: longer than the last, unless it has been well for as long as that was.
    fn again(&mut self, now: Instant, options: &Eject) -> Duration {
        let well = self.well_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if self.well_since.take().is_some() && well >= self.length {
            self.times = 0;
        }
        self.length = options.first.saturating_mul(1 << self.times.min(16)).min(options.longest);
        self.times = self.times.saturating_add(1);
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// So many failures in a row, all it was ever sent.
    fn in_a_row(failures: u32) -> Counts {
        Counts { requests: failures.into(), failures: failures.into(), in_a_row: failures }
    }

    fn fail(standing: &mut Standing, now: Instant, counts: Counts) -> Option<Change> {
        standing.failed(now, counts, &Eject::default(), 1.0, || true)
    }

    #[test]
    fn one_that_cannot_be_reached_rests_longer_each_time() {
        let (mut standing, start) = (Standing::default(), Instant::now());
        assert_eq!(standing.unreachable(start, 1.0), Some(Change::Unreachable));
        assert_eq!(standing.unreachable(start, 1.0), None, "the same failure");
        assert_eq!(standing.out_until(start), Some(start + FIRST_REST));
        let mut now = start;
        let mut rests = Vec::new();
        for _ in 0..7 {
            now = standing.out_until(now).expect("it rests");
            assert_eq!(standing.unreachable(now, 1.0), None, "no news");
            rests.push((standing.out_until(now).expect("it rests") - now).as_millis());
        }
        assert_eq!(rests, [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(standing.succeeded(now), Some(Change::Back), "a connection works, whenever it was asked for");
        assert_eq!((standing.out_until(now), standing.succeeded(now)), (None, None));
        assert_eq!(standing.unreachable(now, 1.5), Some(Change::Unreachable));
        assert_eq!(standing.out_until(now), Some(now + FIRST_REST.mul_f64(1.5)), "from the beginning");
    }

    #[test]
    fn one_request_at_a_time_finds_out_whether_it_can_be_reached_again() {
        let (mut standing, start) = (Standing::default(), Instant::now());
        standing.try_again(start);
        assert!(standing.is_clear(), "nothing speaks against it");
        standing.unreachable(start, 1.0);
        let out_until = |standing: &Standing, now| standing.out_until(now).map(|until| until - now);
        let mut now = start + FIRST_REST;
        assert_eq!(out_until(&standing, now), None);
        standing.try_again(now);
        assert_eq!(out_until(&standing, now), Some(LONGEST_REST), "others wait for it");
        assert_eq!(standing.unreachable(now, 1.0), None, "no news");
        assert_eq!(out_until(&standing, now), Some(FIRST_REST * 2));
        // One whose client goes away tells nothing: another one is sent.
        now += FIRST_REST * 2;
        standing.try_again(now);
        now += LONGEST_REST;
        assert_eq!(out_until(&standing, now), None);
        // One that is reached and answers badly is not avoided for that.
        standing.try_again(now);
        assert_eq!(fail(&mut standing, now, in_a_row(1)), None);
        assert_eq!(out_until(&standing, now), None);
        standing.try_again(now);
        assert_eq!(standing.succeeded(now), Some(Change::Back));
        assert!(standing.is_clear());
    }

    #[test]
    fn who_was_ejected_unreachable_and_then_well_for_long_begins_anew() {
        let (mut standing, mut now) = (Standing::default(), Instant::now());
        for _ in 0..3 {
            // It is killed: its requests break off, and then there is nobody.
            assert_eq!(fail(&mut standing, now, in_a_row(5)), Some(Change::Ejected(5 * SECOND)));
            now += 5 * SECOND;
            assert_eq!(standing.unreachable(now, 1.0), Some(Change::Unreachable));
            now += SECOND;
            assert_eq!(standing.succeeded(now), Some(Change::Back));
            now += 5 * SECOND;
        }
    }

    #[test]
    fn failures_in_a_row_eject_for_longer_each_time_until_it_is_well_for_as_long() {
        let (mut standing, mut now) = (Standing::default(), Instant::now());
        for failures in 1..5 {
            assert_eq!(fail(&mut standing, now, in_a_row(failures)), None);
        }
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            let rest = SECOND * seconds;
            assert_eq!(fail(&mut standing, now, in_a_row(5)), Some(Change::Ejected(rest)));
            assert_eq!(fail(&mut standing, now, in_a_row(6)), None, "it is out already");
            assert_eq!(standing.succeeded(now + rest / 2), None, "sent before it was ejected");
            now += rest;
            assert_eq!(standing.out_until(now), None);
        }
        assert_eq!(fail(&mut standing, now, in_a_row(1)), Some(Change::Ejected(300 * SECOND)), "back, and no better");
        now += 300 * SECOND;
        assert_eq!(standing.succeeded(now), Some(Change::Back));
        now += 299 * SECOND;
        assert_eq!(fail(&mut standing, now, in_a_row(5)), Some(Change::Ejected(300 * SECOND)), "not well for long");
        now += 300 * SECOND;
        assert_eq!(standing.succeeded(now), Some(Change::Back));
        now += 300 * SECOND;
        assert_eq!(fail(&mut standing, now, in_a_row(5)), Some(Change::Ejected(5 * SECOND)));
    }

    #[test]
    fn too_large_a_part_of_failures_ejects() {
        let often = |percent: u64, requests: u64, seconds: u32| {
            let (mut standing, start) = (Standing::default(), Instant::now());
            // A long good past changes nothing.
            let (mut counts, mut out) = (Counts { requests: 100_000, failures: 7, in_a_row: 0 }, None);
            for n in 0..requests {
                counts.requests += 1;
                if n * percent / 100 != (n + 1) * percent / 100 {
                    counts.failures += 1;
                    let now = start
                        + SECOND * seconds * u32::try_from(n).expect("few") / u32::try_from(requests).expect("few");
                    out = out.or(fail(&mut standing, now, Counts { in_a_row: 1, ..counts }));
                }
            }
            out.is_some()
        };
        assert!(often(60, 100, 5));
        assert!(!often(40, 1000, 5));
        assert!(!often(60, 40, 5), "too few to tell");
        assert!(!often(60, 200, 100), "too few at a time");
    }

    #[test]
    fn nobody_is_ejected_without_room_or_if_that_is_off() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        assert_eq!(standing.failed(now, in_a_row(500), &Eject::default(), 1.0, || false), None);
        let off = Eject { failures: 0, percent: 0, ..Eject::default() };
        assert_eq!(standing.failed(now, in_a_row(500), &off, 1.0, || panic!("nobody asks")), None);
        assert!(standing.is_clear());
    }
}
