//! Time per call of what no transport can do without.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use fastrpc::Listener as _;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::calibrate::calibrate;
use super::{Round, Subject, Traffic, runtime};
use crate::floor::{Batch, Floor};
use crate::rows::{BATCH, Row};
use crate::system;
use crate::transport::{self, Stream};

struct Echoed {
    bytes: (usize, usize),
    batches: u64,
    /// Before what it runs on: it takes its tasks with it.
    floor: Floor<Stream>,
    tasks: LocalSet,
    runtime: Runtime,
}

/// Starts the echo of what the row's carrier sends.
pub(super) fn start(row: &Row, round: Duration) -> anyhow::Result<Box<dyn Subject>> {
    let (request, reply) = row.carried.bytes();
    let (runtime, tasks) = (runtime(row)?, LocalSet::new());
    let opened = async {
        let (dialer, mut listening) = transport::join(row.setting.wire).context("no stream to be had")?;
        let (near, far) = tokio::try_join!(dialer.dial(), listening.accept()).context("the stream was not opened")?;
        anyhow::Ok(Floor::start(near, far.0, Batch { calls: BATCH, request, reply }))
    };
    let floor = runtime.block_on(tasks.run_until(opened))?;
    let mut echoed = Echoed { bytes: (request, reply), batches: 0, floor, tasks, runtime };
    echoed.batches = calibrate(round, 16, |batches| echoed.run(batches))?;
    Ok(Box::new(echoed))
}

impl Echoed {
    fn run(&mut self, batches: u64) -> anyhow::Result<Duration> {
        let floor = &mut self.floor;
        self.runtime.block_on(self.tasks.run_until(async {
            let begun = Instant::now();
            for _ in 0..batches {
                floor.batch().await.context("the stream broke")?;
            }
            Ok(begun.elapsed())
        }))
    }
}

impl Subject for Echoed {
    fn round(&mut self) -> anyhow::Result<Round> {
        let calls = self.batches * BATCH as u64;
        let before = system::cpu_time();
        let took = self.run(self.batches)?;
        let per_call = |time: Duration| time.as_secs_f64() * 1e9 / calls as f64;
        let (request, reply) = self.bytes;
        let batches = 1.0 / BATCH as f64;
        let traffic =
            Traffic { bytes_out: request as f64, bytes_in: reply as f64, batches_out: batches, batches_in: batches };
        let cpu_ns = Some(per_call(system::cpu_time().saturating_sub(before)));
        Ok(Round { ns: per_call(took), cpu_ns, calls, traffic: Some(traffic), ..Round::default() })
    }
}
