//! Carries a recording each way that is compared.

use anyhow::Context as _;

use super::cost::pass::{Pass, Passed};
use super::cost::sample::Sample;
use super::cost::tcp::Tcp;
use super::cost::ways::{self, Row, Way};
use super::progress::Progress;
use super::traffic::Recorded;

/// What TCP/IP adds: as most machines send it.
pub(super) const TCP: Tcp = Tcp::WITH_TIMESTAMPS;

/// The messages a flush of which a single figure speaks: as many as a busy link has.
pub(super) const FLUSH: usize = 16;

/// One recording, and what it came to each way.
pub(super) struct Carried {
    pub(super) recorded: Recorded,
    /// In the order in which tables show them. HTTP/1.1 is the first, which the others are compared with.
    pub(super) ways: Vec<WayCarried>,
}

/// One way, with each number of messages a flush.
pub(super) struct WayCarried {
    pub(super) way: Way,
    pub(super) flushes: Vec<Flush>,
}

/// What went over the connection, so many messages a flush.
pub(super) struct Flush {
    pub(super) messages: usize,
    pub(super) passed: Passed,
}

/// Carries it.
///
/// # Errors
///
/// One line that names the recording and the way.
pub(super) fn carry(recorded: Recorded) -> anyhow::Result<Carried> {
    let mut rows = ways::rows(&recorded.sample.name);
    rows.retain(|row| is_compared(row.way));
    rows.sort_by_key(|row| place(row.way));
    let progress = Progress::new();
    let mut ways: Vec<WayCarried> = Vec::new();
    for (done, row) in rows.iter().enumerate() {
        progress.say(&format!("{}: {} of {} ways: {}", recorded.sample.name, done + 1, rows.len(), row.way.title()));
        let flush = flush(row, &recorded.sample)?;
        match ways.last_mut() {
            Some(last) if last.way == row.way => last.flushes.push(flush),
            _ => ways.push(WayCarried { way: row.way, flushes: vec![flush] }),
        }
    }
    Ok(Carried { recorded, ways })
}

/// Who pays for bytes gzips bodies over HTTP/2.
fn is_compared(way: Way) -> bool {
    way != (Way::Http2 { gzip: false })
}

/// HTTP, then what `httptp` speaks with itself, then what it speaks with Go's.
fn place(way: Way) -> u8 {
    match way {
        Way::Http1 { .. } | Way::Http2 { .. } => 0,
        Way::Framed(_) => 1,
        Way::Teleport(_) => 2,
    }
}

fn flush(row: &Row, sample: &Sample) -> anyhow::Result<Flush> {
    let passed = Pass::new(row, sample).and_then(|pass| pass.carry(TCP));
    let named = || format!("{}: as {}, {} a flush", sample.name, row.way.title(), row.messages);
    Ok(Flush { messages: row.messages, passed: passed.with_context(named)? })
}

impl Carried {
    /// How many exchanges were carried.
    pub(super) fn count(&self) -> f64 {
        self.recorded.sample.exchanges.len() as f64
    }

    /// Bytes of an exchange as HTTP/1.1 on the wire.
    pub(super) fn http1(&self) -> f64 {
        self.ways.first().and_then(WayCarried::usual).map_or(1.0, |flush| self.with_tcp(flush))
    }

    /// Bytes of an exchange on the wire, both ways.
    pub(super) fn with_tcp(&self, flush: &Flush) -> f64 {
        flush.passed.with_tcp(TCP) as f64 / self.count()
    }

    /// Bytes of an exchange as the ends hand them to their connection, both ways.
    pub(super) fn payload(&self, flush: &Flush) -> f64 {
        (flush.passed.up.payload + flush.passed.down.payload) as f64 / self.count()
    }
}

impl WayCarried {
    /// The flush of which a single figure speaks; HTTP/1.1 has only one.
    pub(super) fn usual(&self) -> Option<&Flush> {
        self.flushes.iter().find(|flush| flush.messages == FLUSH).or(self.flushes.first())
    }
}
