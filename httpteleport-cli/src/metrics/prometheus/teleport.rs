//! What teleport connections carry.

use httpteleport::Stats;

use super::family::{Families, Kind};
use super::{Seen, Source, histogram, ratio};

/// Nanoseconds of a second.
const NANOS: f64 = 1e9;

/// Adds those of every teleport input and output.
pub(super) fn add(families: &mut Families, seen: &Seen) {
    let inputs = seen.inputs.iter().filter_map(|input| Some(("in", input.name.as_str(), input.teleport?)));
    let outputs = seen.upstreams().filter_map(|upstream| Some(("out", upstream.name.as_str(), upstream.teleport?)));
    for source in inputs.chain(outputs) {
        bytes(families, source);
        batches(families, source);
        calls(families, source);
        connections(families, source);
    }
}

fn bytes(families: &mut Families, (side, peer, stats): Source<'_>) {
    let ways = [("received", stats.bytes_in, stats.wire_bytes_in), ("sent", stats.bytes_out, stats.wire_bytes_out)];
    for (direction, plain, wire) in ways {
        let labels = [("side", side), ("peer", peer), ("direction", direction)];
        let mut counter = |name, help, value: u64| families.add(name, help, Kind::Counter, &labels, value as f64);
        counter("httptp_teleport_plain_bytes_total", "Bytes of messages, before compression.", plain);
        counter("httptp_teleport_wire_bytes_total", "Bytes on the connection, after compression.", wire);
        families.add(
            "httptp_teleport_compression_ratio",
            "Bytes before compression for each one after it, since the start.",
            Kind::Gauge,
            &labels,
            ratio(plain, wire),
        );
    }
    let labels = [("side", side), ("peer", peer)];
    let mut counter = |name, help, nanos: u64| families.add(name, help, Kind::Counter, &labels, nanos as f64 / NANOS);
    counter(
        "httptp_teleport_compress_seconds_total",
        "Time that compressing took, estimated from every seventeenth batch.",
        stats.compress_nanos,
    );
    counter(
        "httptp_teleport_decompress_seconds_total",
        "Time that decompressing took, estimated from every seventeenth batch.",
        stats.decompress_nanos,
    );
}

fn batches(families: &mut Families, (side, peer, stats): Source<'_>) {
    let labels = [("side", side), ("peer", peer)];
    let help = "Batches written.";
    families.add("httptp_teleport_batches_total", help, Kind::Counter, &labels, stats.batches as f64);
    let messages = ("httptp_teleport_batch_messages", "Messages in a batch that has any: requests out, replies in.");
    histogram(families, messages, &labels, stats.batch_messages, 1.0);
    let bytes = ("httptp_teleport_batch_plain_bytes", "Bytes of a batch, before compression.");
    histogram(families, bytes, &labels, stats.batch_bytes, 1.0);
    let wait = ("httptp_teleport_batch_wait_seconds", "How long a batch waited for company, or for the batch delay.");
    histogram(families, wait, &labels, stats.batch_wait_micros, 1e-6);
}

fn calls(families: &mut Families, (side, peer, stats): Source<'_>) {
    let labels = [("side", side), ("peer", peer)];
    let mut counter = |name, help, value: u64| families.add(name, help, Kind::Counter, &labels, value as f64);
    let Stats { calls, replies, errors, timeouts, overloads, late_replies, .. } = stats;
    counter("httptp_teleport_calls_total", "Calls made by an output or received by an input.", calls);
    counter("httptp_teleport_replies_total", "Calls that ended with a reply.", replies);
    counter("httptp_teleport_errors_total", "Calls that failed.", errors);
    counter("httptp_teleport_timeouts_total", "Calls whose deadline passed.", timeouts);
    counter("httptp_teleport_overloads_total", "Calls refused at a limit, or while draining.", overloads);
    counter("httptp_teleport_late_replies_total", "Replies that nobody awaited any more.", late_replies);
}

fn connections(families: &mut Families, (side, peer, stats): Source<'_>) {
    let labels = [("side", side), ("peer", peer)];
    let Stats { connections, connections_ended, reconnects, connect_errors, connection_errors, .. } = stats;
    let open = connections.saturating_sub(connections_ended);
    let help = "Teleport connections that are open.";
    families.add("httptp_teleport_connections", help, Kind::Gauge, &labels, open as f64);
    let mut counter = |name, help, value: u64| families.add(name, help, Kind::Counter, &labels, value as f64);
    counter("httptp_teleport_connections_opened_total", "Connections opened.", connections);
    counter("httptp_teleport_reconnects_total", "Connections opened in place of one that had ended.", reconnects);
    counter("httptp_teleport_connect_errors_total", "Connections that could not be opened.", connect_errors);
    counter("httptp_teleport_connection_errors_total", "Connections that ended with an error.", connection_errors);
}
