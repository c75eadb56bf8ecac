//! The metrics in Prometheus' text format.

use httpteleport::{Histogram, Stats};
use prometheus::TextEncoder;

pub(super) use self::family::{Families, Kind};
use super::failures::KINDS;
use super::process::unix;
use super::traffic::CLASSES;
use super::{GroupSeen, InputSeen, Seen};
use crate::outbound::Snapshot;

mod family;
mod teleport;

/// All metrics.
///
/// # Errors
///
/// The encoder refuses what was made here.
pub(crate) fn text(seen: &Seen) -> anyhow::Result<String> {
    let mut families = Families::default();
    process(&mut families, seen);
    inputs(&mut families, &seen.inputs);
    for (reason, count) in &seen.refusals {
        let help = "Connections and requests that were refused or broken off.";
        families.add("httptp_refusals_total", help, Kind::Counter, &[("reason", reason)], *count as f64);
    }
    groups(&mut families, &seen.groups);
    certificates(&mut families, seen);
    teleport::add(&mut families, seen);
    Ok(TextEncoder::new().encode_to_string(&families.into_vec())?)
}

fn process(families: &mut Families, seen: &Seen) {
    let process = &seen.process;
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    families.add("httptp_build_info", "Which version this is.", Kind::Gauge, &version, 1.0);
    let mut gauge = |name, help, value| families.add(name, help, Kind::Gauge, &[], value);
    gauge(
        "httptp_draining",
        "1 from the signal on that ends the process, during --drain-delay too.",
        f64::from(seen.draining),
    );
    gauge("httptp_requests_running", "Requests that run, to the end of their replies.", seen.running as f64);
    gauge(
        "httptp_compression_memory_bytes",
        "What compression contexts of the framed wire may take of the process's budget.",
        seen.contexts as f64,
    );
    gauge(
        "httptp_teleport_reduced_connections",
        "Open connections of the framed wire that compress less, or not at all, as that budget is used up.",
        seen.reduced as f64,
    );
    gauge("process_resident_memory_bytes", "Resident memory size in bytes.", process.resident as f64);
    gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", process.address_space as f64);
    gauge("process_open_fds", "Number of open file descriptors.", process.open_files as f64);
    gauge("process_threads", "Number of OS threads in the process.", process.threads as f64);
    gauge("process_start_time_seconds", "When the process started, in seconds since 1970.", unix(seen.started));
    let reloads = seen.reloads;
    gauge(
        "httptp_last_reload_successful",
        "1 while what was read last of settings, certificates and the admin token holds; 0 if it could not be applied.",
        f64::from(reloads.holds),
    );
    let help = "When what holds was read, in seconds since 1970.";
    gauge("httptp_last_reload_success_timestamp_seconds", help, unix(reloads.last));
    for (result, count) in [("applied", reloads.applied), ("failed", reloads.failed)] {
        let help = "Readings of settings, certificates and the admin token after the start.";
        families.add("httptp_reloads_total", help, Kind::Counter, &[("result", result)], count as f64);
    }
    let mut counter = |name, help, value| families.add(name, help, Kind::Counter, &[], value);
    counter("process_cpu_seconds_total", "User and system CPU time in seconds.", process.cpu.as_secs_f64());
    counter(
        "httptp_interim_replies_dropped_total",
        "Interim replies of upstreams, such as 103, that ended here.",
        seen.interims as f64,
    );
    counter(
        "httptp_access_log_dropped_total",
        "Lines of the access log that were dropped, as the disk was too slow or took none.",
        seen.unlogged as f64,
    );
    let Some(spans) = seen.spans else { return };
    counter("httptp_spans_sent_total", "Spans of requests that the collector has taken.", spans.sent as f64);
    for (reason, count) in [("crowded", spans.crowded), ("refused", spans.refused)] {
        let help = "Spans that were dropped: too many waited, or the collector did not take them.";
        families.add("httptp_spans_dropped_total", help, Kind::Counter, &[("reason", reason)], count as f64);
    }
}

fn inputs(families: &mut Families, inputs: &[InputSeen]) {
    for input in inputs {
        let named = [("input", input.name.as_str())];
        let mut counter = |name, help, value: u64| families.add(name, help, Kind::Counter, &named, value as f64);
        counter("httptp_in_connections_accepted_total", "Connections that an input accepted.", input.accepted);
        counter("httptp_in_accept_errors_total", "Connections that could not be accepted.", input.accept_errors);
        let help = "Connections that came when as many as --concurrency, or the limit of open files, allows were open.";
        counter("httptp_in_full_total", help, input.full);
        let help = "Connections with no request under way that were closed to make room for others.";
        counter("httptp_in_given_up_total", help, input.given_up);
        counter("httptp_in_requests_total", "Requests that came.", input.requests);
        counter("httptp_in_read_bytes_total", "Bytes read from clients, as on the network.", input.bytes.read);
        counter("httptp_in_written_bytes_total", "Bytes written to clients, as on the network.", input.bytes.written);
        counter("httptp_in_read_errors_total", "Reads from clients that failed.", input.bytes.read_errors);
        counter("httptp_in_write_errors_total", "Writes to clients that failed.", input.bytes.write_errors);
        families.add(
            "httptp_in_connections",
            "Connections of an input that are open.",
            Kind::Gauge,
            &named,
            input.open as f64,
        );
        for (class, count) in CLASSES.iter().zip(input.replies) {
            let labels = [named[0], ("class", *class)];
            let help = "Replies by their status: 200, another success, 3xx, 4xx, 5xx.";
            families.add("httptp_in_replies_total", help, Kind::Counter, &labels, count as f64);
        }
    }
}

fn groups(families: &mut Families, groups: &[GroupSeen]) {
    for group in groups {
        for (kind, count) in KINDS.iter().zip(group.failed) {
            let labels = [("group", group.name.as_str()), ("kind", *kind)];
            let help = "Requests that no upstream has answered, by the last failure.";
            families.add("httptp_failed_requests_total", help, Kind::Counter, &labels, count as f64);
        }
        for upstream in &group.upstreams {
            add_upstream(families, &[("group", group.name.as_str()), ("upstream", upstream.name.as_str())], upstream);
        }
    }
}

fn certificates(families: &mut Families, seen: &Seen) {
    for (result, count) in ["done", "failed", "refused"].iter().zip(seen.orders) {
        let help = "Orders of certificates from an ACME authority.";
        families.add("httptp_acme_orders_total", help, Kind::Counter, &[("result", result)], count as f64);
    }
    let of_inputs = seen.inputs.iter().map(|input| (("input", &input.name), &input.certificates));
    let of_groups = seen.groups.iter().map(|group| (("group", &group.name), &group.certificates));
    for ((whose, owner), certificates) in of_inputs.chain(of_groups) {
        for (name, left) in certificates {
            let labels = [(whose, owner.as_str()), ("name", name.as_str())];
            let help = "Time that is left of a certificate that is shown; below zero if it is over.";
            families.add("httptp_certificate_expiry_seconds", help, Kind::Gauge, &labels, *left);
        }
    }
}

fn add_upstream(families: &mut Families, labels: &[(&str, &str)], upstream: &Snapshot) {
    let mut gauge = |name, help, value| families.add(name, help, Kind::Gauge, labels, value);
    let is_up = f64::from(upstream.state == "up");
    gauge(
        "httptp_upstream_up",
        "1 if it gets requests; 0 if it is unhealthy, ejected or unreachable, and gets some only where no other can.",
        is_up,
    );
    gauge("httptp_upstream_weight", "Its part of the requests, against those of others.", upstream.weight.into());
    gauge(
        "httptp_upstream_effective_weight",
        "The same as it is now: less in a slow start, 0 where httptp_upstream_up is.",
        upstream.effective_weight,
    );
    gauge("httptp_upstream_requests_pending", "Requests that run there.", upstream.pending as f64);
    gauge("httptp_upstream_connections", "Connections that are open.", upstream.connections as f64);
    gauge(
        "httptp_upstream_smoothed_latency_seconds",
        "Smoothed time to the head of a good reply, by which it is chosen.",
        upstream.latency.as_secs_f64(),
    );
    let mut counter = |name, help, value: u64| families.add(name, help, Kind::Counter, labels, value as f64);
    counter("httptp_upstream_requests_total", "Requests that it was sent, repeats among them.", upstream.requests);
    counter(
        "httptp_upstream_failures_total",
        "Requests that failed there: not reached, no reply, or 500, 502, 503, 504.",
        upstream.failures,
    );
    counter("httptp_upstream_ejections_total", "Times that it was left alone for its failures.", upstream.ejections);
    counter(
        "httptp_upstream_retries_total",
        "Requests that had been sent before, here or elsewhere.",
        upstream.retries,
    );
    counter("httptp_upstream_untaken_total", "Times that it did not take a request over HTTP/2.", upstream.untaken);
    counter("httptp_upstream_dials_total", "Connections that were opened.", upstream.dials);
    counter("httptp_upstream_dial_errors_total", "Connections that could not be opened.", upstream.dial_errors);
    counter("httptp_upstream_read_bytes_total", "Bytes read from it, as on the network.", upstream.bytes.read);
    counter("httptp_upstream_written_bytes_total", "Bytes written to it, as on the network.", upstream.bytes.written);
    let latencies = &upstream.latencies;
    families.histogram(
        "httptp_upstream_reply_seconds",
        "Time to the head of a reply, of requests whose bodies were at hand.",
        labels,
        latencies.cumulative(),
        (latencies.count(), latencies.seconds()),
    );
}

/// A histogram of fastrpc's, whose values are so much each.
fn histogram(families: &mut Families, (name, help): (&str, &str), labels: &[(&str, &str)], of: Histogram, unit: f64) {
    let mut sum = 0;
    let cumulative = of.buckets().filter_map(|(bound, count)| {
        sum += count;
        bound.map(|bound| (bound as f64 * unit, sum))
    });
    families.histogram(name, help, labels, cumulative, (of.count(), of.sum() as f64 * unit));
}

/// What compression makes of bytes; 1 where there were none.
pub(crate) fn ratio(plain: u64, wire: u64) -> f64 {
    if wire == 0 { 1.0 } else { plain as f64 / wire as f64 }
}

/// Where teleport statistics are from.
type Source<'a> = (&'a str, &'a str, Stats);
