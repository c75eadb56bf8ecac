//! How long after the batch delay a batch is written: one caller, a delay at the client, none at the server.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::runtime::Runtime;

use super::latency::Times;
use super::pair::Pair;
use super::{Round, Subject, runtime};
use crate::rows::Row;
use crate::transport::Watch;
use crate::workload::{IDLE, Workload};

/// A row of this kind, started.
pub(super) struct Flush<W> {
    pair: Pair<W>,
    written: Watch,
    delay: Duration,
    calls: u32,
    runtime: Runtime,
}

impl<W: Workload> Flush<W> {
    pub(super) fn start(row: &Row, round: Duration) -> anyhow::Result<Self> {
        let runtime = runtime(row)?;
        let written = Watch::default();
        let pair: Pair<W> = Pair::start(&runtime, row, Some(written.clone()))?;
        runtime.block_on(pair.open())?;
        let fits = round.as_nanos() / row.client_delay.as_nanos().max(1);
        let calls = u32::try_from(fits).context("a round is too long for its delay: give fewer milliseconds")?.max(4);
        Ok(Self { pair, written, delay: row.client_delay, calls, runtime })
    }
}

impl<W: Workload> Subject for Flush<W> {
    fn round(&mut self) -> anyhow::Result<Round> {
        let times = Times::new();
        let client = self.pair.clients.first().context("a row has a client")?.clone();
        let (delay, calls, written) = (self.delay, self.calls, self.written.clone());
        let calling = async {
            let mut early = 0;
            for _ in 0..calls {
                let _ = written.take_first_write(); // What was written before this call is not its batch.
                let begun = Instant::now();
                client.call(tokio::time::Instant::now() + IDLE).await?;
                let at = written.take_first_write().context("a reply came to what was not written")?;
                let late = at.checked_duration_since(begun + delay);
                early += u64::from(late.is_none());
                times.add(late.unwrap_or_default());
            }
            anyhow::Ok(early)
        };
        let early = self.runtime.block_on(calling)?;
        let (ns, mut tail, calls) = times.take();
        tail.early = early;
        Ok(Round { ns, calls, tail: Some(tail), ..Round::default() })
    }
}
