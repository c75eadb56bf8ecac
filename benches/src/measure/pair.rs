//! The two ends of a row, joined.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::Traffic;
use crate::rows::Row;
use crate::system;
use crate::transport::{self, Dialer, Watch};
use crate::workload::{Counters, Tls, Workload};

/// Connections that are opened at the same time: no more than a listener lets wait.
const OPENED_AT_ONCE: usize = 256;
/// The longest that the first call of a connection may take.
const OPENING: Duration = Duration::from_secs(10);

/// The server's end of a row, wherever it runs.
pub trait Far {
    /// Batches written and CPU time used so far.
    ///
    /// # Errors
    ///
    /// It cannot be asked.
    fn usage(&mut self) -> anyhow::Result<Usage>;

    /// Bytes resident now and at most, if they are not those of this process.
    ///
    /// # Errors
    ///
    /// It cannot be asked.
    fn resident(&mut self) -> anyhow::Result<Option<Resident>>;
}

/// Memory of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resident {
    /// Bytes resident now.
    pub now: u64,
    /// The most ever.
    pub peak: u64,
}

/// What the server's end has used so far.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Batches written.
    pub batches: u64,
    /// CPU time, if it is not in that of this process.
    pub cpu: Duration,
}

/// A server in this process.
struct Here(Counters);

impl Far for Here {
    fn usage(&mut self) -> anyhow::Result<Usage> {
        Ok(Usage { batches: (self.0)().batches, cpu: Duration::ZERO })
    }

    fn resident(&mut self) -> anyhow::Result<Option<Resident>> {
        Ok(None)
    }
}

/// The clients of a row and their server.
pub struct Pair<W> {
    /// The clients, each with its connections.
    pub clients: Vec<W>,
    pub(super) far: Box<dyn Far>,
    /// Counts below TLS, where the clients see only what is in it.
    below_tls: Option<Watch>,
}

/// What both ends had done and used at one time.
#[derive(Clone, Copy, Default)]
pub(super) struct Mark {
    bytes_out: u64,
    bytes_in: u64,
    batches_out: u64,
    batches_in: u64,
    cpu: Duration,
}

impl<W: Workload> Pair<W> {
    /// Starts the server and makes the clients, on this runtime; their streams tell `watch` what they do.
    pub(super) fn start(runtime: &Runtime, row: &Row, watch: Option<Watch>) -> anyhow::Result<Self> {
        let _inside = runtime.enter();
        let (dialer, listening) = transport::join(row.setting.wire).context("no stream to be had")?;
        let watch = watch.or_else(|| row.tls.then(Watch::default));
        let dialer = watch.clone().map_or_else(|| dialer.clone(), |watch| dialer.clone().watched(watch));
        let tls = row.tls.then(Tls::new);
        let far = Box::new(Here(W::serve(row, listening, tls.as_ref())?));
        let pair = Self::connect(row, &dialer, tls.as_ref(), far)?;
        Ok(Self { below_tls: watch.filter(|_| row.tls), ..pair })
    }

    /// Makes the clients of a server that serves already.
    pub(super) fn connect(row: &Row, dialer: &Dialer, tls: Option<&Tls>, far: Box<dyn Far>) -> anyhow::Result<Self> {
        let clients = (0..row.clients).map(|_| W::connect(row, dialer.clone(), tls)).collect::<anyhow::Result<_>>()?;
        Ok(Self { clients, far, below_tls: None })
    }

    /// Opens a connection of each client, by a call.
    pub(super) async fn open(&self) -> anyhow::Result<()> {
        for some in self.clients.chunks(OPENED_AT_ONCE) {
            let deadline = Instant::now() + OPENING;
            try_join_all(some.iter().map(|client| client.call(deadline))).await.context("opening a connection")?;
        }
        Ok(())
    }

    pub(super) fn mark(&mut self) -> anyhow::Result<Mark> {
        let far = self.far.usage()?;
        let mut mark = Mark { batches_in: far.batches, cpu: system::cpu_time() + far.cpu, ..Mark::default() };
        for client in &self.clients {
            let stats = client.stats();
            mark.bytes_out += stats.wire_bytes_out;
            mark.bytes_in += stats.wire_bytes_in;
            mark.batches_out += stats.batches;
        }
        if let Some(watch) = &self.below_tls {
            (mark.bytes_out, mark.bytes_in) = watch.bytes();
        }
        Ok(mark)
    }
}

impl Mark {
    /// What was used since `before`, per call: CPU nanoseconds, and what crossed the wire.
    pub(super) fn per_call(self, before: Self, calls: u64) -> (f64, Traffic) {
        let per_call = |now: u64, before: u64| now.saturating_sub(before) as f64 / calls as f64;
        let traffic = Traffic {
            bytes_out: per_call(self.bytes_out, before.bytes_out),
            bytes_in: per_call(self.bytes_in, before.bytes_in),
            batches_out: per_call(self.batches_out, before.batches_out),
            batches_in: per_call(self.batches_in, before.batches_in),
        };
        ((self.cpu.saturating_sub(before.cpu)).as_secs_f64() * 1e9 / calls as f64, traffic)
    }
}
