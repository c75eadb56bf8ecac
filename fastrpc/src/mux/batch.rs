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
    /// The callers that replies have just woken.
    pub wave: Wave,
}

/// The callers that replies have woken since the last batch. They are about to run, here or on another thread, and then
/// perhaps to call again: when the last of them has run, the batch is complete.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wave {
    coming: usize,
    woken: bool,
}

impl Wave {
    /// So many callers were woken.
    pub fn woken(&mut self, callers: usize) {
        self.coming += callers;
        self.woken |= callers > 0;
    }

    /// One of them has run. A straggler of an earlier wave counts as one too: the batch goes a little early.
    pub fn arrived(&mut self) {
        self.coming = self.coming.saturating_sub(1);
    }
}

/// How often a batch waits for the rest of a wave. Some of it may never run: a future can be kept and not polled.
const PATIENCE: u32 = 4;

/// The policy and its memory of the batch that forms now.
#[derive(Debug)]
pub struct Batcher {
    delay: Duration,
    full: usize,
    due: Option<Instant>,
    /// How often the batch that forms was put off.
    yields: u32,
    /// When the first message of the batch that forms was seen.
    since: Option<Instant>,
    /// How long the batch that goes has waited.
    waited: Duration,
}

impl Batcher {
    /// Batches wait for `delay` after their first message, or until they hold `full` bytes.
    #[must_use]
    pub fn new(delay: Duration, full: usize) -> Self {
        Self { delay, full, due: None, yields: 0, since: None, waited: Duration::ZERO }
    }

    /// Decides about the load of this moment. After [`Flush::Now`] the driver takes the batch and calls
    /// [`Batcher::flushed`].
    pub fn decide(&mut self, load: Load, now: Instant) -> Flush {
        if load.bytes == 0 {
            self.flushed(); // What began to wait was taken back.
            return Flush::Idle;
        }
        let since = *self.since.get_or_insert(now);
        let decision = self.decide_for(load, now);
        if decision == Flush::Now {
            self.waited = now.saturating_duration_since(since);
        }
        decision
    }

    fn decide_for(&mut self, load: Load, now: Instant) -> Flush {
        if load.bytes >= self.full {
            return Flush::Now;
        }
        if !self.delay.is_zero() {
            // The first message starts the clock; later ones do not extend it.
            let due = *self.due.get_or_insert(now + self.delay);
            return if now >= due { Flush::Now } else { Flush::At(due) };
        }
        let patience = match load.wave {
            Wave { woken: true, coming: 0 } => 0,
            Wave { woken: true, .. } => PATIENCE,
            Wave { woken: false, .. } => u32::from(load.messages > 1 || load.company),
        };
        if self.yields >= patience {
            return Flush::Now;
        }
        self.yields += 1;
        Flush::Yield
    }

    /// The batch was taken.
    pub fn flushed(&mut self) {
        self.due = None;
        self.yields = 0;
        self.since = None;
    }

    /// How long the batch that was last decided to go has waited; told once.
    pub fn take_wait(&mut self) -> Duration {
        std::mem::take(&mut self.waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_WAVE: Wave = Wave { coming: 0, woken: false };
    const ONE: Load = Load { bytes: 10, messages: 1, company: false, wave: NO_WAVE };
    const MANY: Load = Load { bytes: 100, messages: 5, company: true, wave: NO_WAVE };

    #[test]
    fn a_lone_call_goes_at_once_and_company_is_waited_for_once() {
        let now = Instant::now();
        let mut batcher = Batcher::new(Duration::ZERO, 1000);
        assert_eq!(batcher.decide(Load { bytes: 0, messages: 0, ..MANY }, now), Flush::Idle);
        assert_eq!(batcher.decide(ONE, now), Flush::Now);
        batcher.flushed();
        assert_eq!(batcher.decide(MANY, now), Flush::Yield);
        assert_eq!(batcher.decide(MANY, now), Flush::Now);
        batcher.flushed();
        assert_eq!(batcher.decide(MANY, now), Flush::Yield, "each batch yields anew");
    }

    #[test]
    fn a_wave_that_is_complete_goes_at_once_and_one_that_never_completes_goes_soon() {
        let now = Instant::now();
        let mut batcher = Batcher::new(Duration::ZERO, 1000);
        let mut wave = Wave::default();
        wave.woken(2);
        wave.arrived();
        assert_eq!(batcher.decide(Load { wave, ..ONE }, now), Flush::Yield, "another is to run");
        wave.arrived();
        assert_eq!(batcher.decide(Load { wave, ..MANY }, now), Flush::Now, "all have run");
        batcher.flushed();

        wave.woken(1);
        for _ in 0..PATIENCE {
            assert_eq!(batcher.decide(Load { wave, ..MANY }, now), Flush::Yield);
        }
        assert_eq!(batcher.decide(Load { wave, ..MANY }, now), Flush::Now, "it is not waited for for ever");
    }

    #[test]
    fn a_straggler_of_an_earlier_wave_does_no_harm() {
        let mut wave = Wave::default();
        wave.arrived();
        assert_eq!((wave.coming, wave.woken), (0, false));
        wave.woken(0);
        assert!(!wave.woken, "nobody was woken");
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
