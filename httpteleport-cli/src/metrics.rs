//! What this process counts, and where it is read: by Prometheus, in the names of Go's `httptp`, and by the admin page.
//!
//! Requests add to counters of their thread ([`sharded`]); whoever reads them sums up. What a part of the program counts anyway, as
//! fastrpc and the balancer do, is read there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use httpteleport::{ContextMemory, Stats};

use self::certificates::Certificates;
use self::process::Process;
use self::recent::{Recent, Trouble};
use self::reloads::{Reloads, ReloadsSeen};
use self::servers::Servers;
use self::traffic::{BytesSeen, CLASSES, Input};
use crate::access_log::AccessLog;
use crate::acme::Tally;
use crate::balance::Slots;
use crate::config;
use crate::counters::Counters;
use crate::interims::Interims;
use crate::outbound::Snapshot;
use crate::proxy::Proxy;
use crate::seldom::Seldom;
use crate::shutdown::Shutdown;
use crate::spans::{Counts, Spans};

pub(crate) mod certificates;
pub(crate) mod counted;
pub(crate) mod failures;
pub(crate) mod go;
pub(crate) mod latency;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod recent;
mod reloads;
pub(crate) mod servers;
mod sharded;
pub(crate) mod traffic;

/// Where everything is counted.
pub(crate) struct Metrics {
    started: SystemTime,
    sources: ArcSwap<Sources>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) interims: Interims,
    /// What contexts of compression may take.
    pub(crate) contexts: ContextMemory,
    pub(crate) counters: Arc<Counters>,
    pub(crate) recent: Arc<Recent>,
    pub(crate) access_log: Option<Arc<AccessLog>>,
    /// Where spans of requests go.
    pub(crate) spans: Option<Arc<Spans>>,
    /// What has become of orders of certificates.
    pub(crate) orders: Arc<Tally>,
    pub(crate) shutdown: Shutdown,
    /// What has become of settings that were read again.
    pub(crate) reloads: Reloads,
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
    /// What it shows to clients.
    pub(crate) certificates: Certificates,
}

/// A group of upstreams.
pub(crate) struct GroupSource {
    pub(crate) name: String,
    pub(crate) proxy: Arc<Proxy>,
    /// What it shows to upstreams.
    pub(crate) certificates: Certificates,
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
    /// Orders of certificates that were done, that have failed, and that were not made.
    pub(crate) orders: [u64; 3],
    pub(crate) inputs: Vec<InputSeen>,
    pub(crate) groups: Vec<GroupSeen>,
    /// Bytes that compression contexts may take.
    pub(crate) contexts: u64,
    /// Teleport connections that compress less for want of that memory.
    pub(crate) reduced: u64,
    pub(crate) process: Process,
    pub(crate) troubles: Vec<Trouble>,
    /// Lines of the access log that were dropped.
    pub(crate) unlogged: u64,
    /// What has become of spans, if there are any.
    pub(crate) spans: Option<Counts>,
    pub(crate) reloads: ReloadsSeen,
    pub(crate) go_reads: u64,
}

/// An input at one moment.
pub(crate) struct InputSeen {
    pub(crate) name: String,
    pub(crate) accepted: u64,
    pub(crate) accept_errors: u64,
    pub(crate) full: u64,
    pub(crate) given_up: u64,
    pub(crate) open: u64,
    pub(crate) requests: u64,
    pub(crate) replies: [u64; CLASSES.len()],
    pub(crate) bytes: BytesSeen,
    pub(crate) teleport: Option<Stats>,
    /// Whom its certificates are for, and the seconds that are left of them.
    pub(crate) certificates: Vec<(String, f64)>,
}

/// A group at one moment.
pub(crate) struct GroupSeen {
    pub(crate) name: String,
    /// Requests that got no reply of an upstream, in the order of [`failures::KINDS`].
    pub(crate) failed: [u64; failures::KINDS.len()],
    pub(crate) upstreams: Vec<Snapshot>,
    /// Whom its certificates are for, and the seconds that are left of them.
    pub(crate) certificates: Vec<(String, f64)>,
}

impl Metrics {
    /// Nothing counted so far, within the limits of a process.
    pub(crate) fn new(
        limits: &config::Process,
        recent: Arc<Recent>,
        access_log: Option<Arc<AccessLog>>,
        spans: Option<Arc<Spans>>,
        shutdown: Shutdown,
    ) -> Metrics {
        let started = SystemTime::now();
        Metrics {
            started,
            reloads: Reloads::since(started),
            sources: ArcSwap::default(),
            slots: Arc::new(Slots::new(limits.concurrency)),
            contexts: context_memory(limits.compression_memory),
            interims: Interims::default(),
            counters: Arc::new(Counters::new(&recent)),
            recent,
            access_log,
            spans,
            orders: Arc::default(),
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
        let (sources, at) = (self.sources.load(), SystemTime::now());
        Seen {
            at,
            started: self.started,
            draining: self.shutdown.is_leaving(),
            running: self.slots.taken() as u64,
            interims: self.interims.count(),
            refusals: self.counters.each().into_iter().filter(|(name, _)| *name != "accepted").collect(),
            orders: [self.orders.done.get(), self.orders.failed.get(), self.orders.refused.get()],
            inputs: sources.inputs.iter().map(|input| input.seen(at)).collect(),
            groups: sources.groups.iter().map(|group| group.seen(at)).collect(),
            contexts: self.contexts.used() as u64,
            reduced: self.contexts.reduced() as u64,
            process: Process::now(),
            troubles: self.recent.all(),
            spans: self.spans.as_ref().map(|spans| spans.counts()),
            unlogged: self.access_log.as_ref().map_or(0, |log| log.dropped()),
            reloads: self.reloads.seen(),
            go_reads: self.go_reads.load(Relaxed),
        }
    }
}

/// So many bytes for contexts of compression. When they begin not to do, the log says so.
fn context_memory(bytes: usize) -> ContextMemory {
    let lines = Seldom::default();
    ContextMemory::new(bytes).on_reduced(move |connections| {
        if connections == 1 {
            lines.warn(format_args!(
                "a teleport connection compresses less, or not at all, as the {bytes} bytes of --compression-memory are taken: give more, or \
                 have fewer connections; httptp_teleport_reduced_connections tells how many there are"
            ));
        }
    })
}

impl InputSource {
    fn seen(&self, at: SystemTime) -> InputSeen {
        let (accepted, open) = self.traffic.connections();
        InputSeen {
            name: self.name.clone(),
            accepted,
            accept_errors: self.traffic.accept_errors.get(),
            full: self.traffic.full.get(),
            given_up: self.traffic.given_up.get(),
            open,
            requests: self.traffic.requests.count(),
            replies: self.traffic.requests.replies(),
            bytes: self.traffic.bytes.seen(),
            teleport: self.servers.stats(),
            certificates: self.certificates.left(at),
        }
    }
}

impl GroupSource {
    fn seen(&self, at: SystemTime) -> GroupSeen {
        GroupSeen {
            name: self.name.clone(),
            failed: self.proxy.failures().counts(),
            upstreams: self.proxy.upstreams().snapshot(),
            certificates: self.certificates.left(at),
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
