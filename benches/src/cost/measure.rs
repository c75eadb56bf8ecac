//! Measures a sample's rows in turn.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use super::pass::{Pass, Passed};
use super::sample::Sample;
use super::tcp::{Flights, Tcp};
use super::ways::Row;
use crate::measure::Effort;
use crate::spread::Spread;

/// What one row came to, for each exchange: a request and its reply.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The row.
    pub row: Row,
    /// Nanoseconds of CPU, both ends.
    pub ns: Spread,
    /// Bytes of requests and of replies, as given to the connection.
    pub payload: (f64, f64),
    /// The same with TCP and IP.
    pub with_tcp: (f64, f64),
    /// `with_tcp` in parts of what HTTP/1.1 takes.
    pub of_http1: f64,
    /// Messages a flight that really were, requests and replies.
    pub messages: (f64, f64),
}

impl Measured {
    /// One JSON object on one line.
    #[must_use]
    pub fn json(&self) -> String {
        let round = |value: f64| (value * 10.0).round() / 10.0;
        json!({
            "name": self.row.name,
            "ns_per_op": self.ns.median.round(),
            "ns_min": self.ns.min.round(),
            "ns_max": self.ns.max.round(),
            "payload_bytes_per_op": round(self.payload.0 + self.payload.1),
            "tcp_bytes_per_op": round(self.with_tcp.0 + self.with_tcp.1),
            "tcp_bytes_up": round(self.with_tcp.0),
            "tcp_bytes_down": round(self.with_tcp.1),
            "of_http1": (self.of_http1 * 1e4).round() / 1e4,
            "messages_up": round(self.messages.0),
            "messages_down": round(self.messages.1),
        })
        .to_string()
    }
}

/// Measures `rows`, whose first is what the others are compared with. Every pass sends the same bytes over a new connection.
///
/// # Errors
///
/// Which row failed, and why.
pub fn measure(sample: &Sample, rows: &[Row], tcp: Tcp, effort: Effort) -> Result<Vec<Measured>> {
    let mut running = rows.iter().map(|row| Running::start(row, sample, tcp, effort)).collect::<Result<Vec<_>>>()?;
    for _ in 0..effort.rounds {
        for row in &mut running {
            row.round(sample, tcp)?;
        }
    }
    let baseline = running.first().map_or(1.0, |row| row.bytes(tcp));
    Ok(running.into_iter().map(|row| row.end(sample, tcp, baseline)).collect())
}

/// A row whose rounds are not over.
struct Running {
    row: Row,
    /// Of the first pass; its time is not used, it warms everything up.
    first: Passed,
    passes: u32,
    /// Nanoseconds of CPU per exchange, by round.
    ns: Vec<f64>,
}

impl Running {
    fn start(row: &Row, sample: &Sample, tcp: Tcp, effort: Effort) -> Result<Self> {
        let (first, cpu) = timed(row, sample, tcp)?;
        let passes = effort.round.as_nanos().div_ceil(cpu.as_nanos().max(1));
        let passes = u32::try_from(passes).unwrap_or(u32::MAX);
        Ok(Self { row: row.clone(), first, passes, ns: Vec::new() })
    }

    fn round(&mut self, sample: &Sample, tcp: Tcp) -> Result<()> {
        let mut seconds = 0.0;
        for _ in 0..self.passes {
            seconds += timed(&self.row, sample, tcp)?.1.as_secs_f64();
        }
        self.ns.push(seconds * 1e9 / (f64::from(self.passes) * sample.exchanges.len() as f64));
        Ok(())
    }

    fn bytes(&self, tcp: Tcp) -> f64 {
        self.first.with_tcp(tcp) as f64
    }

    fn end(self, sample: &Sample, tcp: Tcp, baseline: f64) -> Measured {
        let count = sample.exchanges.len() as f64;
        let Passed { up, down, .. } = self.first;
        let messages = |flights: Flights| count / flights.count.max(1) as f64;
        Measured {
            ns: Spread::of(self.ns.iter().copied()).expect("a row has a round"),
            payload: (up.payload as f64 / count, down.payload as f64 / count),
            with_tcp: (tcp.bytes(&up) as f64 / count, tcp.bytes(&down) as f64 / count),
            of_http1: self.bytes(tcp) / baseline,
            messages: (messages(up), messages(down)),
            row: self.row,
        }
    }
}

/// One pass and the CPU time of both its ends: connecting, codecs, compression, the mux. No kernel, the pipe is in memory.
fn timed(row: &Row, sample: &Sample, tcp: Tcp) -> Result<(Passed, Duration)> {
    let pass = Pass::new(row, sample).with_context(|| row.name.clone())?;
    let begun = cpu_time();
    let passed = pass.carry(tcp).with_context(|| row.name.clone())?;
    Ok((passed, cpu_time() - begun))
}

/// CPU time of this thread, which runs both ends: what other programs do meanwhile is not in it.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("a thread has run for no negative time")
}
