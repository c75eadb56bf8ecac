//! When a batch goes out: a pure policy, asked by the driver whenever something changed.

use std::time::Duration;

use tokio::time::Instant;

/// What the driver should do with the messages that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Write them.
    Now,
    /// Let every other ready task run once, then ask again: a batch forms without a timer.
    Yield,
    /// Ask again at this time.
    At(Instant),
    /// Nothing waits.
    Idle,
}

/// What waits to be written.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Bytes encoded.
    pub bytes: usize,
    /// Messages encoded.
    pub messages: usize,
    /// Whether more messages may be about to come: other calls are in progress.
    pub company: bool,
}

/// The policy and its memory of the batch that forms now.
#[derive(Debug)]
pub struct Batcher {
    delay: Duration,
    full: usize,
    due: Option<Instant>,
    yielded: bool,
}

impl Batcher {
    /// Batches wait for `delay` after their first message, or until they hold `full` bytes.
    #[must_use]
    pub fn new(delay: Duration, full: usize) -> Self {
        Self { delay, full, due: None, yielded: false }
    }

    /// Decides about the load of this moment. After [`Flush::Now`] the driver takes the batch and calls
    /// [`Batcher::flushed`].
    pub fn decide(&mut self, load: Load, now: Instant) -> Flush {
        if load.bytes == 0 {
            self.flushed(); // What began to wait was taken back.
            return Flush::Idle;
        }
        if load.bytes >= self.full {
            return Flush::Now;
        }
        if !self.delay.is_zero() {
            // The first message starts the clock; later ones do not extend it.
            let due = *self.due.get_or_insert(now + self.delay);
            return if now >= due { Flush::Now } else { Flush::At(due) };
        }
        if self.yielded || (load.messages <= 1 && !load.company) {
            return Flush::Now;
        }
        self.yielded = true;
        Flush::Yield
    }

    /// The batch was taken.
    pub fn flushed(&mut self) {
        self.due = None;
        self.yielded = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Load = Load { bytes: 10, messages: 1, company: false };
    const MANY: Load = Load { bytes: 100, messages: 5, company: true };

    #[test]
    fn a_lone_call_goes_at_once_and_company_is_waited_for_once() {
        let now = Instant::now();
        let mut batcher = Batcher::new(Duration::ZERO, 1000);
        assert_eq!(batcher.decide(Load { bytes: 0, messages: 0, company: true }, now), Flush::Idle);
        assert_eq!(batcher.decide(ONE, now), Flush::Now);
        batcher.flushed();
        assert_eq!(batcher.decide(MANY, now), Flush::Yield);
        assert_eq!(batcher.decide(MANY, now), Flush::Now);
        batcher.flushed();
        assert_eq!(batcher.decide(MANY, now), Flush::Yield, "each batch yields anew");
    }

    #[test]
    fn a_delay_counts_from_the_first_message_and_a_full_batch_does_not_wait() {
        let now = Instant::now();
        let delay = Duration::from_millis(10);
        let mut batcher = Batcher::new(delay, 1000);
        assert_eq!(batcher.decide(ONE, now), Flush::At(now + delay));
        assert_eq!(batcher.decide(MANY, now + delay / 2), Flush::At(now + delay));
        assert_eq!(batcher.decide(Load { bytes: 1000, ..MANY }, now + delay / 2), Flush::Now);
        assert_eq!(batcher.decide(MANY, now + delay), Flush::Now);
        batcher.flushed();
        assert_eq!(batcher.decide(ONE, now + delay), Flush::At(now + delay * 2));
    }
}
