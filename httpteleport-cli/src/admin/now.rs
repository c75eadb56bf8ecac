//! The numbers of the page.

use std::cmp::Reverse;

use httpteleport::Histogram;
use serde_json::{Value, json};

use crate::metrics::failures::KINDS;
use crate::metrics::process::unix;
use crate::metrics::{InputSeen, Seen};
use crate::outbound::Snapshot;

/// All of them at one moment. Totals count from the start: the page makes rates of them.
pub(super) fn json(seen: &Seen, price_per_gb: Option<f64>) -> Value {
    let teleport = seen.teleport();
    let failed: u64 = seen.groups.iter().flat_map(|group| group.failed).sum();
    let refused: u64 = seen.refusals.iter().map(|(_, count)| count).sum();
    let groups = seen.groups.iter();
    let upstreams = groups.flat_map(|group| group.upstreams.iter().map(|one| upstream(&group.name, one)));
    let troubles = seen.troubles.iter().map(|trouble| {
        json!({
            "what": trouble.what,
            "count": trouble.count,
            "first": unix(trouble.first),
            "last": unix(trouble.last),
        })
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "at": unix(seen.at),
        "started": unix(seen.started),
        "draining": seen.draining,
        "running": seen.running,
        "requests": seen.inputs.iter().map(|input| input.requests).sum::<u64>(),
        "failed": failed,
        "refused": refused,
        "reasons": reasons(seen),
        "plain_bytes": teleport.bytes_in + teleport.bytes_out,
        "wire_bytes": teleport.wire_bytes_in + teleport.wire_bytes_out,
        "compress_seconds": (teleport.compress_nanos + teleport.decompress_nanos) as f64 / 1e9,
        "context_bytes": seen.contexts,
        "price_per_gb": price_per_gb,
        "batch_messages": histogram(&teleport.batch_messages),
        "batch_wait_micros": histogram(&teleport.batch_wait_micros),
        "inputs": seen.inputs.iter().map(input).collect::<Vec<_>>(),
        "upstreams": upstreams.collect::<Vec<_>>(),
        "cpu_seconds": seen.process.cpu.as_secs_f64(),
        "resident_bytes": seen.process.resident,
        "troubles": troubles.collect::<Vec<_>>(),
    })
}

/// Why requests and connections were not served, the most frequent first; none that has not happened.
fn reasons(seen: &Seen) -> Vec<(&'static str, u64)> {
    let failed =
        KINDS.iter().enumerate().map(|(kind, name)| (*name, seen.groups.iter().map(|group| group.failed[kind]).sum()));
    let mut reasons: Vec<_> = seen.refusals.iter().copied().chain(failed).filter(|(_, count)| *count > 0).collect();
    reasons.sort_by_key(|(_, count)| Reverse(*count));
    reasons
}

fn input(input: &InputSeen) -> Value {
    json!({
        "name": input.name,
        "requests": input.requests,
        "open": input.open,
        "accepted": input.accepted,
        "read_bytes": input.bytes.read,
        "written_bytes": input.bytes.written,
    })
}

fn upstream(group: &str, upstream: &Snapshot) -> Value {
    json!({
        "group": group,
        "name": upstream.name,
        "state": upstream.state,
        "weight": upstream.weight,
        "effective_weight": upstream.effective_weight,
        "pending": upstream.pending,
        "latency_seconds": upstream.latency.as_secs_f64(),
        "requests": upstream.requests,
        "failures": upstream.failures,
        "ejections": upstream.ejections,
        "retries": upstream.retries,
        "connections": upstream.connections,
    })
}

/// Bounds and counts of the buckets, `null` for the bound of the last.
fn histogram(of: &Histogram) -> Value {
    json!({ "count": of.count(), "sum": of.sum(), "buckets": of.buckets().collect::<Vec<_>>() })
}
