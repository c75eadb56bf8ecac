//! Counters that a caller can read at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

macro_rules! counters {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// What a client or a server has done so far, summed over its connections.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])+ pub $name: u64,)+
            /// Batches by the messages in them: calls of a client, replies of a server. Those that hold none, but pieces of
            /// bodies, are not among them.
            pub batch_messages: Histogram,
            /// All batches, by their bytes before compression.
            pub batch_bytes: Histogram,
            /// Batches with messages, by the microseconds that they waited for company or for the batch delay, from when the
            /// connection's task saw the first of them.
            pub batch_wait_micros: Histogram,
            /// Calls that wait for their reply now (client), or handlers that run now (server).
            pub pending: u64,
        }

        impl std::ops::Add for Stats {
            type Output = Self;

            fn add(self, other: Self) -> Self {
                Self {
                    $($name: self.$name + other.$name,)+
                    batch_messages: self.batch_messages + other.batch_messages,
                    batch_bytes: self.batch_bytes + other.batch_bytes,
                    batch_wait_micros: self.batch_wait_micros + other.batch_wait_micros,
                    pending: self.pending + other.pending,
                }
            }
        }

        /// The live counters; drivers add to them once a turn, not once a call.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)+
            batch_messages: Buckets,
            batch_bytes: Buckets,
            batch_wait_micros: Buckets,
        }

        impl Counters {
            pub(crate) fn snapshot(&self, pending: usize) -> Stats {
                Stats {
                    $($name: self.$name.load(Relaxed),)+
                    batch_messages: self.batch_messages.load(),
                    batch_bytes: self.batch_bytes.load(),
                    batch_wait_micros: self.batch_wait_micros.load(),
                    pending: pending as u64,
                }
            }
        }
    };
}

counters! {
    /// Calls made (client) or received (server), fire-and-forget included.
    calls,
    /// Calls that ended with a reply; on a server, handlers that ended with one.
    replies,
    /// Calls that failed: by the connection, a limit or the codec (client); by a panic or the codec (server).
    errors,
    /// Calls whose deadline passed.
    timeouts,
    /// Calls refused at a limit, or by a server that is shutting down.
    overloads,
    /// Replies that came for a call that was no longer awaited, or never made.
    late_replies,
    /// Message bytes read, after decompression.
    bytes_in,
    /// Message bytes written, before compression.
    bytes_out,
    /// Bytes read from connections, as compressed.
    wire_bytes_in,
    /// Bytes written to connections, as compressed.
    wire_bytes_out,
    /// Batches written.
    batches,
    /// Nanoseconds spent compressing, one way or the other, by estimate: every seventeenth piece of work is timed, and counts
    /// for all of them.
    compress_nanos,
    /// Nanoseconds spent decompressing, by the same estimate.
    decompress_nanos,
    /// Connections opened.
    connections,
    /// Those of them that have ended, however they did.
    connections_ended,
    /// Connections opened after an earlier one of the same place in the pool had ended.
    reconnects,
    /// Connections that could not be opened: refused, timed out, or wrong in the opening exchange.
    connect_errors,
    /// Connections that ended with an error.
    connection_errors,
    /// Connections that could not be accepted for want of something on this side, file descriptors for instance.
    accept_errors,
}

/// How many values there were of each size, by powers of four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; Self::BUCKETS],
    sum: u64,
}

impl Histogram {
    /// Buckets, the last of which has no bound.
    const BUCKETS: usize = 13;

    /// The buckets, each with the largest value that falls into it, from 1 to 4^11; `None` is the last one's, which has no
    /// bound. A value is in one of them only.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bound = |index: usize| (index + 1 < Self::BUCKETS).then(|| 1 << (2 * index));
        self.counts.iter().enumerate().map(move |(index, count)| (bound(index), *count))
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The bucket of a value.
    fn index(value: u64) -> usize {
        let bits = u64::BITS - value.saturating_sub(1).leading_zeros();
        (bits.div_ceil(2) as usize).min(Self::BUCKETS - 1)
    }
}

impl std::ops::Add for Histogram {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        Self { sum: self.sum + other.sum, ..self }
    }
}

/// A histogram that is being filled.
#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; Histogram::BUCKETS],
    sum: AtomicU64,
}

impl Buckets {
    fn add(&self, value: u64) {
        add(&self.counts[Histogram::index(value)], 1);
        add(&self.sum, value);
    }

    fn load(&self) -> Histogram {
        Histogram { counts: std::array::from_fn(|index| self.counts[index].load(Relaxed)), sum: self.sum.load(Relaxed) }
    }
}

/// A batch that leaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchOf {
    /// Messages in it.
    pub(crate) messages: usize,
    /// How long they waited to be one.
    pub(crate) waited: Duration,
}

impl Counters {
    /// One more batch, of so many bytes before compression.
    pub(crate) fn batch(&self, of: BatchOf, bytes: usize) {
        add(&self.batches, 1);
        self.batch_bytes.add(bytes as u64);
        if of.messages > 0 {
            self.batch_messages.add(of.messages as u64);
            self.batch_wait_micros.add(u64::try_from(of.waited.as_micros()).unwrap_or(u64::MAX));
        }
    }
}

/// A connection that is open: counted, and as ended once it is dropped.
#[derive(Debug)]
pub(crate) struct Open(Arc<Counters>);

impl Open {
    pub(crate) fn new(counters: &Arc<Counters>) -> Self {
        add(&counters.connections, 1);
        Self(counters.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        add(&self.0.connections_ended, 1);
    }
}

/// How often a piece of work is timed: a prime, so that work which comes in turns is seen in all its turns.
const STRIDE: u8 = 17;

/// Times now and then what is done often.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch(u8);

impl Stopwatch {
    /// Does the work; adds the nanoseconds that it takes, by estimate, to the counter.
    pub(crate) fn time<T>(&mut self, counter: &AtomicU64, work: impl FnOnce() -> T) -> T {
        self.0 = (self.0 + 1) % STRIDE;
        if self.0 != 0 {
            return work();
        }
        let begun = Instant::now();
        let done = work();
        let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        add(counter, took.saturating_mul(STRIDE.into()));
        done
    }
}

/// Adds without making a line of each call site.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    if n > 0 {
        counter.fetch_add(n, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_powers_of_four() {
        let buckets = Buckets::default();
        for value in [0, 1, 2, 4, 5, 16, 1 << 22, (1 << 22) + 1, u64::MAX / 8] {
            buckets.add(value);
        }
        let histogram = buckets.load();
        let filled: Vec<_> = histogram.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(Some(1), 2), (Some(4), 2), (Some(16), 2), (Some(1 << 22), 1), (None, 2)]);
        assert_eq!((histogram.count(), (histogram + histogram).count()), (9, 18));
        assert_eq!(histogram.sum(), 28 + (1 << 22) + (1 << 22) + 1 + u64::MAX / 8);
    }

    #[test]
    fn what_is_timed_now_and_then_counts_for_all() {
        let (mut watch, nanos) = (Stopwatch::default(), AtomicU64::new(0));
        for _ in 0..STRIDE - 1 {
            watch.time(&nanos, || ());
        }
        assert_eq!(nanos.load(Relaxed), 0);
        let begun = Instant::now();
        watch.time(&nanos, || while begun.elapsed() < Duration::from_millis(1) {});
        assert!(nanos.load(Relaxed) > 16_000_000, "{nanos:?}");
    }

    #[test]
    fn a_connection_is_open_until_it_is_dropped() {
        let counters = Arc::<Counters>::default();
        let open = Open::new(&counters);
        assert_eq!((counters.snapshot(0).connections, counters.snapshot(0).connections_ended), (1, 0));
        drop(open);
        assert_eq!((counters.snapshot(0).connections, counters.snapshot(0).connections_ended), (1, 1));
    }
}
