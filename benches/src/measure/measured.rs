//! What the rounds of a row came to together.

use super::{Memory, Round, Tail, Traffic};
use crate::rows::{Figure, Payload, Row};
use crate::spread::Spread;

/// What one row came to.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The row's name.
    pub name: String,
    /// What `ns` is.
    pub figure: Figure,
    /// The name of the floor under it.
    pub floor: String,
    /// Nanoseconds: the time per call, or the median of latencies.
    pub ns: Spread,
    /// CPU nanoseconds per call, all threads of both ends.
    pub cpu_ns: Option<Spread>,
    /// Heap allocations per call, both ends, where they were counted.
    pub allocs: Option<f64>,
    /// Calls a second that were reached, where they were to have a fixed rate.
    pub rate: Option<f64>,
    /// What crossed the wire per call.
    pub traffic: Option<Traffic>,
    /// The rest of the distribution: medians of the rounds.
    pub tail: Option<Tail>,
    /// Memory as it was in the last round.
    pub memory: Option<Memory>,
    /// Body bytes that each call carries, both directions, where the row is about them.
    pub body: Option<usize>,
}

impl Measured {
    /// Puts the rounds of `row` together.
    ///
    /// # Panics
    ///
    /// There is no round.
    #[must_use]
    pub fn new(row: &Row, rounds: &[Round]) -> Self {
        let traffic: Vec<_> = rounds.iter().filter_map(|round| round.traffic).collect();
        let tails: Vec<_> = rounds.iter().filter_map(|round| round.tail).collect();
        Self {
            name: row.name.clone(),
            figure: row.figure,
            floor: row.floor(),
            ns: Spread::of(rounds.iter().map(|round| round.ns)).expect("a row has a round"),
            cpu_ns: Spread::of(rounds.iter().filter_map(|round| round.cpu_ns)),
            allocs: None,
            rate: median(rounds, |round| round.rate),
            traffic: (!traffic.is_empty()).then(|| Traffic {
                bytes_out: mean(&traffic, |of| of.bytes_out),
                bytes_in: mean(&traffic, |of| of.bytes_in),
                batches_out: mean(&traffic, |of| of.batches_out),
                batches_in: mean(&traffic, |of| of.batches_in),
            }),
            tail: (!tails.is_empty()).then(|| Tail {
                p99: median(&tails, |of| Some(of.p99)).unwrap_or_default(),
                p999: median(&tails, |of| of.p999),
                max: median(&tails, |of| Some(of.max)).unwrap_or_default(),
                early: tails.iter().map(|of| of.early).sum(),
            }),
            memory: rounds.last().and_then(|round| round.memory),
            body: match row.payload {
                Payload::Small => None,
                Payload::Echo(bytes) => Some(2 * bytes),
                Payload::Down(bytes) => Some(bytes),
            },
        }
    }
}

fn median<T>(of: &[T], value: impl Fn(&T) -> Option<f64>) -> Option<f64> {
    Spread::of(of.iter().filter_map(value)).map(|spread| spread.median)
}

fn mean<T>(of: &[T], value: impl Fn(&T) -> f64) -> f64 {
    of.iter().map(value).sum::<f64>() / of.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Carried;

    #[test]
    fn parts_that_no_round_has_are_left_out_and_others_summed_up() {
        let tail = |p99, early| Some(Tail { p99, early, ..Tail::default() });
        let traffic = |bytes_in| Some(Traffic { bytes_in, ..Traffic::default() });
        let rounds = [
            Round { ns: 5.0, tail: tail(8.0, 1), traffic: traffic(10.0), ..Round::default() },
            Round { ns: 7.0, tail: tail(9.0, 2), traffic: traffic(20.0), ..Round::default() },
            Round { ns: 6.0, tail: tail(7.0, 0), traffic: traffic(30.0), ..Round::default() },
        ];
        let measured = Measured::new(&Row::new(Carried::Http, "x", 1), &rounds);
        assert_eq!(measured.tail, tail(8.0, 3));
        assert_eq!(measured.traffic, traffic(20.0));
        assert!(measured.cpu_ns.is_none() && measured.rate.is_none() && measured.memory.is_none());
        assert_eq!((measured.name.as_str(), measured.floor.as_str()), ("http/x", "floor/http/100"));
    }
}
