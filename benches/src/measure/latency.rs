//! How long each call takes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::calibrate::calibrate;
use super::pair::Pair;
use super::{Round, Subject, Tail, runtime};
use crate::rows::Row;
use crate::workload::{Caller, Workload, run};

/// The longest time that is told from longer ones, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;
/// Calls that a fixed rate may have under way. Past it the next ones begin late, which their latency shows.
const UNDER_WAY: u32 = 1 << 14;

/// Of fewer calls, the one in a thousand is the greatest, which says nothing about the others.
const LEAST_FOR_P999: u64 = 1000;

/// Times of one round, to be shared.
#[derive(Clone)]
pub(super) struct Times(Arc<Mutex<Histogram<u64>>>);

impl Times {
    pub(super) fn new() -> Self {
        let times = Histogram::new_with_bounds(1, LONGEST, 3).expect("bounds in order, three digits");
        Self(Arc::new(Mutex::new(times)))
    }

    pub(super) fn add(&self, time: Duration) {
        self.lock().saturating_record(u64::try_from(time.as_nanos()).unwrap_or(LONGEST));
    }

    /// The median, the rest, and how many there were; begins anew.
    pub(super) fn take(&self) -> (f64, Tail, u64) {
        let mut times = self.lock();
        let at = |quantile| times.value_at_quantile(quantile) as f64;
        let p999 = (times.len() >= LEAST_FOR_P999).then(|| at(0.999));
        let tail = Tail { p99: at(0.99), p999, max: times.max() as f64, early: 0 };
        let taken = (at(0.5), tail, times.len());
        times.reset();
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller whose calls are timed.
#[derive(Clone)]
struct Timed<C> {
    caller: C,
    times: Times,
}

impl<C: Caller> Caller for Timed<C> {
    async fn call(&self, deadline: Instant) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.caller.call(deadline).await?;
        self.times.add(begun.elapsed());
        Ok(())
    }
}

/// All callers call all the time.
pub(super) struct Closed<W> {
    pair: Pair<W>,
    clients: Vec<Timed<W>>,
    times: Times,
    callers: usize,
    per_round: u64,
    runtime: Runtime,
}

impl<W: Workload> Closed<W> {
    pub(super) fn start(row: &Row, round: Duration) -> anyhow::Result<Self> {
        let runtime = runtime(row)?;
        let pair: Pair<W> = Pair::start(&runtime, row, None)?;
        let times = Times::new();
        let timed = |caller: &W| Timed { caller: caller.clone(), times: times.clone() };
        let clients: Vec<_> = pair.clients.iter().map(timed).collect();
        let run_some = |count| runtime.block_on(run(&clients, row.callers, count));
        let per_round = calibrate(round, 4 * row.callers as u64, run_some)?;
        times.take();
        Ok(Self { pair, clients, times, callers: row.callers, per_round, runtime })
    }
}

impl<W: Workload> Subject for Closed<W> {
    fn round(&mut self) -> anyhow::Result<Round> {
        let before = self.pair.mark()?;
        self.runtime.block_on(run(&self.clients, self.callers, self.per_round))?;
        let (cpu_ns, traffic) = self.pair.mark()?.per_call(before, self.per_round);
        let (ns, tail, calls) = self.times.take();
        let (cpu_ns, traffic) = (Some(cpu_ns), Some(traffic));
        Ok(Round { ns, cpu_ns, calls, traffic, tail: Some(tail), ..Round::default() })
    }
}

/// Calls begin at a fixed rate, whatever became of those before.
pub(super) struct Open<W> {
    pair: Pair<W>,
    times: Times,
    rate: u32,
    calls: u32,
    runtime: Runtime,
}

impl<W: Workload> Open<W> {
    pub(super) fn start(row: &Row, round: Duration, rate: u32) -> anyhow::Result<Self> {
        let runtime = runtime(row)?;
        let pair: Pair<W> = Pair::start(&runtime, row, None)?;
        let calls = (u128::from(rate) * round.as_micros() / 1_000_000).max(1);
        let calls = u32::try_from(calls).context("a round is too long for its rate: give fewer milliseconds")?;
        let mut open = Self { pair, times: Times::new(), rate, calls, runtime };
        open.run(calls / 5)?;
        open.times.take();
        Ok(open)
    }

    fn run(&mut self, calls: u32) -> anyhow::Result<Duration> {
        self.runtime.block_on(open_loop(&self.pair.clients, self.rate, calls, &self.times))
    }
}

impl<W: Workload> Subject for Open<W> {
    fn round(&mut self) -> anyhow::Result<Round> {
        let before = self.pair.mark()?;
        let took = self.run(self.calls)?;
        let (_, traffic) = self.pair.mark()?.per_call(before, self.calls.into());
        let (ns, tail, calls) = self.times.take();
        let rate = Some(calls as f64 / took.as_secs_f64());
        Ok(Round { ns, calls, rate, traffic: Some(traffic), tail: Some(tail), ..Round::default() })
    }
}

/// Begins `calls` calls, each at its time; the time of each counts from there, also where it began later.
///
/// What waits for the next time lets all others run and looks at the clock again: the runtime's timer has steps of a
/// millisecond, which is a hundred calls.
async fn open_loop<C: Caller>(clients: &[C], rate: u32, calls: u32, times: &Times) -> anyhow::Result<Duration> {
    let under_way = Arc::new(Semaphore::new(UNDER_WAY as usize));
    let failed = Arc::new(Mutex::new(None));
    let begun = Instant::now();
    let deadline = begun + crate::workload::IDLE;
    for index in 0..calls {
        let due = begun + Duration::from_secs(1) * index / rate;
        while Instant::now() < due {
            tokio::task::yield_now().await;
        }
        let permit = under_way.clone().acquire_owned().await.context("closed")?;
        let (client, times, failed) = (clients[index as usize % clients.len()].clone(), times.clone(), failed.clone());
        tokio::spawn(async move {
            match client.call(deadline).await {
                Ok(()) => times.add(due.elapsed()),
                Err(error) => *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
            }
            drop(permit);
        });
    }
    // All permits are back when all calls have ended.
    let _all = under_way.acquire_many(UNDER_WAY).await.context("closed")?;
    let took = begun.elapsed();
    let failure = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
    failure.map_or(Ok(took), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_once() {
        let times = Times::new();
        for micros in 1..=1000 {
            times.add(Duration::from_micros(micros));
        }
        let (median, tail, count) = times.take();
        let near = |found: f64, micros: f64| (found / 1000.0 / micros - 1.0).abs() < 0.002;
        assert!(
            near(median, 500.0)
                && near(tail.p99, 990.0)
                && tail.p999.is_some_and(|p999| near(p999, 999.0))
                && near(tail.max, 1000.0)
        );
        assert_eq!((count, times.take().2), (1000, 0));
        times.add(Duration::from_micros(1));
        assert_eq!(times.take().1.p999, None);
    }

    /// Takes so long for its first call, and no time for the others.
    #[derive(Clone)]
    struct Stalls(Duration, Arc<Mutex<bool>>);

    impl Caller for Stalls {
        async fn call(&self, _: Instant) -> anyhow::Result<()> {
            if !std::mem::replace(&mut *self.1.lock().expect("no panic"), true) {
                // It keeps the only thread: nothing begins meanwhile.
                let end = Instant::now() + self.0;
                while Instant::now() < end {}
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_stall_counts_for_every_call_that_was_to_begin_in_it() {
        let (times, stall) = (Times::new(), Duration::from_millis(20));
        open_loop(&[Stalls(stall, Arc::default())], 10_000, 400, &times).await.expect("it runs");
        let late = times.lock().count_between(1_000_000, LONGEST);
        // 200 calls were to begin in those 20 ms, 190 of them more than 1 ms before its end.
        assert!(late >= 180, "{late} calls show the stall");
        assert_eq!(times.take().2, 400);
    }
}
