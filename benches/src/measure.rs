//! Measures rows: rounds of equal length, the rows taking turns, so that what disturbs the machine meets all of them.

use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::rows::{Carried, Figure, Row};
use crate::workload::{HttpCalls, LazyCalls, TlvCalls, Workload};

mod calibrate;
mod calls;
mod floor;
mod flush;
mod latency;
mod measured;
mod pair;
mod weight;

pub use self::calls::Calls;
pub use self::measured::Measured;
pub use self::pair::{Far, Pair, Resident, Usage};

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds per row.
    pub rounds: usize,
    /// Length of each.
    pub round: Duration,
}

impl Effort {
    /// At least one round of a millisecond.
    #[must_use]
    pub fn new(rounds: usize, round_ms: u64) -> Self {
        Self { rounds: rounds.max(1), round: Duration::from_millis(round_ms.max(1)) }
    }
}

/// What one round of a row came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The row's figure in nanoseconds: the time per call, or the median of latencies.
    pub ns: f64,
    /// CPU nanoseconds per call, all threads of both ends; not known of rows that wait by turning.
    pub cpu_ns: Option<f64>,
    /// Calls made.
    pub calls: u64,
    /// Calls a second that were reached, where they were to have a fixed rate.
    pub rate: Option<f64>,
    /// What crossed the wire.
    pub traffic: Option<Traffic>,
    /// The rest of the distribution, of rows whose figure is a median.
    pub tail: Option<Tail>,
    /// Memory, of rows that look at it.
    pub memory: Option<Memory>,
}

/// What crossed the wire per call, as the client saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes that the client wrote.
    pub bytes_out: f64,
    /// Bytes that it read.
    pub bytes_in: f64,
    /// Batches that it wrote.
    pub batches_out: f64,
    /// Batches that the server wrote.
    pub batches_in: f64,
}

/// A distribution beyond its median, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// 99 of 100 are not above.
    pub p99: f64,
    /// 999 of 1000 are not above; not known of fewer than 1000.
    pub p999: Option<f64>,
    /// The greatest.
    pub max: f64,
    /// How many came before their time, which nothing should.
    pub early: u64,
}

/// Memory of the processes of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The most bytes resident at once, all processes.
    pub peak: f64,
    /// Those of each connection, of rows that are about them.
    pub each: Option<PerConnection>,
}

/// Bytes that each connection holds, both ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PerConnection {
    /// When it had made a call and did nothing since.
    pub idle: f64,
    /// After rounds of calls on all connections at once.
    pub active: f64,
    /// Of `idle`, those of the client's end, where it has a process of its own.
    pub idle_client: Option<f64>,
}

/// A row that has been started.
pub trait Subject {
    /// Runs one round.
    ///
    /// # Errors
    ///
    /// A call failed, or what runs it.
    fn round(&mut self) -> anyhow::Result<Round>;
}

/// Starts a row and finds out how many calls fill a round.
///
/// # Errors
///
/// The row has an unusable setting, or its first calls failed.
pub fn start(row: &Row, round: Duration) -> anyhow::Result<Box<dyn Subject>> {
    let started = match row.carried {
        _ if row.figure == Figure::Floor => floor::start(row, round),
        Carried::Tlv => start_figure::<TlvCalls>(row, round),
        Carried::Http => start_figure::<HttpCalls>(row, round),
        Carried::Lazy => start_figure::<LazyCalls>(row, round),
    };
    started.with_context(|| format!("row {}", row.name))
}

fn start_figure<W: Workload>(row: &Row, round: Duration) -> anyhow::Result<Box<dyn Subject>> {
    Ok(match row.figure {
        Figure::Latency => Box::new(latency::Closed::<W>::start(row, round)?),
        Figure::OpenLatency { rate } => Box::new(latency::Open::<W>::start(row, round, rate)?),
        Figure::Flush => Box::new(flush::Flush::<W>::start(row, round)?),
        Figure::Calls | Figure::Floor => Box::new(Calls::<W>::start(row, round)?),
    })
}

/// Runs `rounds` rounds of each subject, round by round through all of them, and tells `progress` before each.
///
/// # Errors
///
/// Names the row that failed.
pub fn interleave(
    subjects: &mut [(Row, Box<dyn Subject>)],
    rounds: usize,
    mut progress: impl FnMut(usize, &Row),
) -> anyhow::Result<Vec<Measured>> {
    let mut done: Vec<Vec<Round>> = vec![Vec::new(); subjects.len()];
    for round in 0..rounds {
        for ((row, subject), done) in subjects.iter_mut().zip(&mut done) {
            progress(round, row);
            done.push(subject.round().with_context(|| format!("row {}, round {}", row.name, round + 1))?);
        }
    }
    Ok(subjects.iter().zip(&done).map(|((row, _), done)| Measured::new(row, done)).collect())
}

/// The runtime of a row.
pub(crate) fn runtime(row: &Row) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = match row.setting.workers {
        None => tokio::runtime::Builder::new_current_thread(),
        Some(workers) => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(workers);
            builder
        }
    };
    builder.enable_all().build().context("no runtime could be made")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::spread::Spread;

    struct Noted(&'static str, Rc<RefCell<String>>);

    impl Subject for Noted {
        fn round(&mut self) -> anyhow::Result<Round> {
            self.1.borrow_mut().push_str(self.0);
            anyhow::ensure!(self.0 != "x", "it is x");
            Ok(Round { ns: self.1.borrow().len() as f64, calls: 1, ..Round::default() })
        }
    }

    fn subjects(names: &[&'static str], log: &Rc<RefCell<String>>) -> Vec<(Row, Box<dyn Subject>)> {
        let subject = |name| Box::new(Noted(name, log.clone())) as Box<dyn Subject>;
        names.iter().map(|name| (Row::new(Carried::Tlv, name, 1), subject(name))).collect()
    }

    #[test]
    fn rows_take_turns_round_by_round() {
        let log = Rc::default();
        let mut progress = Vec::new();
        let mut subjects = subjects(&["a", "b"], &log);
        let measured = interleave(&mut subjects, 3, |round, row| progress.push((round, row.name.clone())));
        assert_eq!(*log.borrow(), "ababab");
        assert_eq!(progress[3], (1, "fastrpc/b".to_owned()));
        let measured = measured.expect("all went well");
        assert_eq!(measured[1].name, "fastrpc/b");
        assert_eq!(measured[1].ns, Spread { median: 4.0, min: 2.0, max: 6.0 });
    }

    #[test]
    fn a_failure_names_its_row_and_round() {
        let failed = interleave(&mut subjects(&["a", "x"], &Rc::default()), 2, |_, _| {}).expect_err("x fails");
        assert_eq!(format!("{failed:#}"), "row fastrpc/x, round 1: it is x");
    }

    #[test]
    fn bytes_are_counted_below_tls() {
        let bytes = |shape: &str| {
            let name = format!("fastrpc/{shape}/none");
            let row = crate::rows::all().into_iter().find(|row| row.name == name).expect("a row of the matrix");
            let round = start(&row, Duration::from_millis(5)).expect("it starts").round().expect("it runs");
            round.traffic.expect("counted").bytes_out
        };
        // A record of TLS adds some bytes to a batch, which many calls share.
        let (plain, encrypted) = (bytes("compress"), bytes("tls"));
        assert!(plain < encrypted && encrypted < 1.5 * plain, "{plain} {encrypted}");
    }

    #[test]
    fn each_figure_can_be_measured() {
        let rows = crate::rows::all();
        let quick = ["floor/http/100", "tcp/floor/fastrpc/100", "http/no_delay/10", "mt/tcp/fastrpc/tls/flate"];
        for name in [&quick[..], &["latency/http/1", "tcp/latency/fastrpc/open/20000", "flush/1ms"]].concat() {
            let row = rows.iter().find(|row| row.name == name).expect("a row of the matrix");
            let mut subject = start(row, Duration::from_millis(5)).expect("it starts");
            let round = subject.round().expect("it runs");
            assert!(round.ns > 0.0 && round.calls > 0, "{name}: {round:?}");
        }
    }
}
