//! What this process counts, and where it is read: by Prometheus, in the names of Go's `httptp`, and by the admin page.
//!
//! Requests add to counters of their thread ([`sharded`]); whoever reads them sums up. What a part of the program counts anyway, as
//! fastrpc and the balancer do, is read there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use httpteleport::{ContextMemory, Stats};

use self::process::Process;
use self::recent::{Recent, Trouble};
use self::servers::Servers;
use self::traffic::{BytesSeen, CLASSES, Input};
use crate::access_log::AccessLog;
use crate::balance::Slots;
use crate::counters::Counters;
use crate::interims::Interims;
use crate::outbound::Snapshot;
use crate::proxy::Proxy;
use crate::shutdown::Shutdown;

pub(crate) mod counted;
pub(crate) mod failures;
pub(crate) mod go;
pub(crate) mod latency;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod recent;
pub(crate) mod servers;
mod sharded;
pub(crate) mod traffic;

/// Where everything is counted.
pub(crate) struct Metrics {
    started: SystemTime,
    sources: ArcSwap<Sources>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) interims: Interims,
    pub(crate) counters: Arc<Counters>,
    pub(crate) recent: Arc<Recent>,
    pub(crate) access_log: Option<Arc<AccessLog>>,
    pub(crate) shutdown: Shutdown,
    /// How often the metrics were read in the names of Go's.
    pub(crate) go_reads: AtomicU64,
}

/// What there is now.
#[derive(Default)]
pub(crate) struct Sources {
    pub(crate) inputs: Vec<InputSource>,
    pub(crate) groups: Vec<GroupSource>,
}

/// An input.
pub(crate) struct InputSource {
    /// Its URL, with the port that it really has.
    pub(crate) name: String,
    pub(crate) traffic: Arc<Input>,
    pub(crate) servers: Arc<Servers>,
}

/// A group of upstreams.
pub(crate) struct GroupSource {
    pub(crate) name: String,
    pub(crate) proxy: Arc<Proxy>,
}

/// All of it at one moment.
pub(crate) struct Seen {
    pub(crate) at: SystemTime,
    pub(crate) started: SystemTime,
    pub(crate) draining: bool,
    /// Requests that run.
    pub(crate) running: u64,
    /// Interim replies of upstreams that ended here.
    pub(crate) interims: u64,
    /// Connections and requests that were refused or broken off, by the reason.
    pub(crate) refusals: Vec<(&'static str, u64)>,
    pub(crate) inputs: Vec<InputSeen>,
    pub(crate) groups: Vec<GroupSeen>,
    /// Bytes that compression contexts may take.
    pub(crate) contexts: u64,
    pub(crate) process: Process,
    pub(crate) troubles: Vec<Trouble>,
    /// Lines of the access log that were dropped.
    pub(crate) unlogged: u64,
    pub(crate) go_reads: u64,
}

/// An input at one moment.
pub(crate) struct InputSeen {
    pub(crate) name: String,
    pub(crate) accepted: u64,
    pub(crate) accept_errors: u64,
    pub(crate) open: u64,
    pub(crate) requests: u64,
    pub(crate) replies: [u64; CLASSES.len()],
    pub(crate) bytes: BytesSeen,
    pub(crate) teleport: Option<Stats>,
}

/// A group at one moment.
pub(crate) struct GroupSeen {
    pub(crate) name: String,
    /// Requests that got no reply of an upstream, in the order of [`failures::KINDS`].
    pub(crate) failed: [u64; failures::KINDS.len()],
    pub(crate) upstreams: Vec<Snapshot>,
}

impl Metrics {
    /// Nothing counted so far, at most so many requests at a time.
    pub(crate) fn new(
        concurrency: usize,
        recent: Arc<Recent>,
        access_log: Option<Arc<AccessLog>>,
        shutdown: Shutdown,
    ) -> Metrics {
        Metrics {
            started: SystemTime::now(),
            sources: ArcSwap::default(),
            slots: Arc::new(Slots::new(concurrency)),
            interims: Interims::default(),
            counters: Arc::default(),
            recent,
            access_log,
            shutdown,
            go_reads: AtomicU64::new(0),
        }
    }

    /// From now on there are these.
    pub(crate) fn follow(&self, sources: Sources) {
        self.sources.store(Arc::new(sources));
    }

    /// Sums up.
    pub(crate) fn seen(&self) -> Seen {
        let sources = self.sources.load();
        Seen {
            at: SystemTime::now(),
            started: self.started,
            draining: self.shutdown.has_begun(),
            running: self.slots.taken() as u64,
            interims: self.interims.count(),
            refusals: self.counters.each().into_iter().filter(|(name, _)| *name != "accepted").collect(),
            inputs: sources.inputs.iter().map(InputSource::seen).collect(),
            groups: sources.groups.iter().map(GroupSource::seen).collect(),
            contexts: ContextMemory::process().used() as u64,
            process: Process::now(),
            troubles: self.recent.all(),
            unlogged: self.access_log.as_ref().map_or(0, |log| log.dropped()),
            go_reads: self.go_reads.load(Relaxed),
        }
    }
}

impl InputSource {
    fn seen(&self) -> InputSeen {
        let (accepted, open) = self.traffic.connections();
        InputSeen {
            name: self.name.clone(),
            accepted,
            accept_errors: self.traffic.accept_errors.get(),
            open,
            requests: self.traffic.requests.count(),
            replies: self.traffic.requests.replies(),
            bytes: self.traffic.bytes.seen(),
            teleport: self.servers.stats(),
        }
    }
}

impl GroupSource {
    fn seen(&self) -> GroupSeen {
        GroupSeen {
            name: self.name.clone(),
            failed: self.proxy.failures().counts(),
            upstreams: self.proxy.upstreams().snapshot(),
        }
    }
}

impl Seen {
    /// What all teleport connections have carried, of inputs and of outputs.
    pub(crate) fn teleport(&self) -> Stats {
        let inputs = self.inputs.iter().filter_map(|input| input.teleport);
        let outputs = self.upstreams().filter_map(|upstream| upstream.teleport);
        inputs.chain(outputs).fold(Stats::default(), |sum, stats| sum + stats)
    }

    /// Those of all groups.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Snapshot> {
        self.groups.iter().flat_map(|group| &group.upstreams)
    }
}
