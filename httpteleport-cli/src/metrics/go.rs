//! The metrics under the names that Go's `httptp` gave them.

use std::iter::once;

use prometheus::TextEncoder;
use serde_json::{Map, Value, json};

use super::failures::KINDS;
use super::prometheus::{Families, Kind};
use super::traffic::BytesSeen;
use super::{InputSeen, Seen};

/// `/prometheus`: the counters alone.
///
/// # Errors
///
/// The encoder refuses what was made here.
pub(crate) fn text(seen: &Seen) -> anyhow::Result<String> {
    let mut families = Families::default();
    for (name, value) in counters(seen) {
        let kind = if name.ends_with("Conns") { Kind::Gauge } else { Kind::Counter };
        families.add(name, "As Go's httptp counts it.", kind, &[], value as f64);
    }
    Ok(TextEncoder::new().encode_to_string(&families.into_vec())?)
}

/// `/expvar`: one JSON object, with the command line and what is known of memory beside them.
pub(crate) fn json(seen: &Seen, cmdline: impl Iterator<Item = String>) -> Value {
    let counters = counters(seen).map(|(name, value)| (name.to_owned(), json!(value)));
    let others = [
        ("cmdline".to_owned(), cmdline.collect()),
        // There is no garbage collector to tell more.
        ("memstats".to_owned(), json!({ "Alloc": seen.process.resident, "Sys": seen.process.address_space })),
    ];
    Value::Object(others.into_iter().chain(counters).collect::<Map<_, _>>())
}

/// All of Go's.
fn counters(seen: &Seen) -> impl Iterator<Item = (&'static str, u64)> + use<> {
    let inputs = |of: fn(&InputSeen) -> u64| seen.inputs.iter().map(of).sum::<u64>();
    let in_bytes = sum(seen.inputs.iter().map(|input| input.bytes));
    let out_bytes = sum(seen.upstreams().map(|upstream| upstream.bytes));
    let failed = |kind: &str| {
        let index = KINDS.iter().position(|known| *known == kind);
        index.map_or(0, |index| seen.groups.iter().map(|group| group.failed[index]).sum::<u64>())
    };
    let all_failed: u64 = seen.groups.iter().flat_map(|group| group.failed).sum();
    let replies = |from: usize| seen.inputs.iter().flat_map(|input| &input.replies[from..]).sum::<u64>();
    [
        ("inConns", inputs(|input| input.open)),
        ("inAcceptSuccess", inputs(|input| input.accepted)),
        ("inAcceptError", inputs(|input| input.accept_errors)),
        ("outConns", seen.upstreams().map(|upstream| upstream.connections).sum()),
        ("outDialSuccess", seen.upstreams().map(|upstream| upstream.dials).sum()),
        ("outDialError", seen.upstreams().map(|upstream| upstream.dial_errors).sum()),
        ("inRequestStart", inputs(|input| input.requests)),
        ("inRequestSuccess", replies(0).saturating_sub(all_failed)),
        ("inRequestNon200", replies(1)),
        ("inRequestTimeoutError", failed("timeout")),
        ("inRequestOtherError", all_failed - failed("timeout")),
    ]
    .into_iter()
    .chain(of_bytes(&IN, in_bytes))
    .chain(of_bytes(&OUT, out_bytes))
    .chain(once(("prometheusHandlerCalls", seen.go_reads)))
}

/// Names in the order of [`of_bytes`].
const IN: [&str; 6] = ["inBytesRead", "inReadCalls", "inReadError", "inBytesWritten", "inWriteCalls", "inWriteError"];
const OUT: [&str; 6] =
    ["outBytesRead", "outReadCalls", "outReadError", "outBytesWritten", "outWriteCalls", "outWriteError"];

fn of_bytes(names: &'static [&'static str; 6], bytes: BytesSeen) -> impl Iterator<Item = (&'static str, u64)> {
    let BytesSeen { read, reads, read_errors, written, writes, write_errors } = bytes;
    names.iter().copied().zip([read, reads, read_errors, written, writes, write_errors])
}

fn sum(all: impl Iterator<Item = BytesSeen>) -> BytesSeen {
    all.fold(BytesSeen::default(), |sum, more| BytesSeen {
        read: sum.read + more.read,
        reads: sum.reads + more.reads,
        read_errors: sum.read_errors + more.read_errors,
        written: sum.written + more.written,
        writes: sum.writes + more.writes,
        write_errors: sum.write_errors + more.write_errors,
    })
}
