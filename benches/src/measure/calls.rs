//! Time per call while all callers call all the time.

use std::time::Duration;

use tokio::runtime::Runtime;

use super::calibrate::calibrate;
use super::pair::{Far, Pair};
use super::weight::Weight;
use super::{Round, Subject, runtime};
use crate::rows::{Payload, Row};
use crate::transport::Dialer;
use crate::workload::{Workload, run};

/// Calls that each caller makes in a round at the least: starting it is no part of a call.
const LEAST: u64 = 4;
/// Beside a body of so many bytes it is nothing.
const LARGE: Payload = Payload::Echo(1 << 20);

/// A row of this kind, started.
pub struct Calls<W> {
    pair: Pair<W>,
    callers: usize,
    per_round: u64,
    weight: Option<Weight>,
    runtime: Runtime,
}

impl<W: Workload> Calls<W> {
    /// Starts both ends.
    ///
    /// # Errors
    ///
    /// A setting is unusable, or a call failed.
    pub fn start(row: &Row, round: Duration) -> anyhow::Result<Self> {
        let runtime = runtime(row)?;
        let pair = Pair::start(&runtime, row, None)?;
        Self::opened(row, round, runtime, pair)
    }

    /// Starts the clients of a server elsewhere.
    ///
    /// # Errors
    ///
    /// A setting is unusable, or a call failed.
    pub fn start_near(row: &Row, round: Duration, dialer: &Dialer, far: Box<dyn Far>) -> anyhow::Result<Self> {
        let runtime = runtime(row)?;
        let pair = Pair::connect(row, dialer, None, far)?;
        Self::opened(row, round, runtime, pair)
    }

    fn opened(row: &Row, round: Duration, runtime: Runtime, mut pair: Pair<W>) -> anyhow::Result<Self> {
        let mut weight = Weight::before(row, &mut *pair.far)?;
        runtime.block_on(pair.open())?;
        if let Some(weight) = &mut weight {
            weight.opened(&mut *pair.far)?;
        }
        let run_some = |count| runtime.block_on(run(&pair.clients, row.callers, count));
        let least = if row.payload < LARGE { LEAST } else { 1 };
        let per_round = calibrate(round, row.callers as u64 * least, run_some)?;
        Ok(Self { pair, callers: row.callers, per_round, weight, runtime })
    }
}

impl<W: Workload> Subject for Calls<W> {
    fn round(&mut self) -> anyhow::Result<Round> {
        let before = self.pair.mark()?;
        let took = self.runtime.block_on(run(&self.pair.clients, self.callers, self.per_round))?;
        let (cpu_ns, traffic) = self.pair.mark()?.per_call(before, self.per_round);
        let memory = self.weight.as_ref().map(|weight| weight.after(&mut *self.pair.far)).transpose()?;
        Ok(Round {
            ns: took.as_secs_f64() * 1e9 / self.per_round as f64,
            cpu_ns: Some(cpu_ns),
            calls: self.per_round,
            traffic: Some(traffic),
            memory,
            ..Round::default()
        })
    }
}
