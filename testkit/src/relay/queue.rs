//! What is under way in one direction: when each byte arrives, decided without a socket or a clock.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Leg;

/// Arrivals are counted in these steps, so that bytes that trickle in take no memory but their own.
const STEP: Duration = Duration::from_micros(250);
/// Bytes that pass the narrow part together.
const PIECE: usize = 4 * 1024;

/// The bytes of one direction.
///
/// Each waits for those before it to pass the narrow part, passes it, and arrives a delay later. So a second's worth of bytes
/// takes a second, however they came.
#[derive(Debug)]
pub struct Queue {
    leg: Leg,
    bytes: VecDeque<u8>,
    /// When so many more of them arrive, in order.
    arrivals: VecDeque<(Instant, usize)>,
    begun: Instant,
    /// When the narrow part is free again.
    free: Instant,
    /// When the end arrives.
    end: Option<Instant>,
}

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Popped {
    /// These have arrived, and more may have.
    Bytes(Vec<u8>),
    /// Nothing before then.
    Wait(Instant),
    /// Nothing is under way.
    Empty,
    /// Everything has arrived, and the end.
    End,
}

impl Queue {
    /// An empty one.
    #[must_use]
    pub fn new(leg: Leg, now: Instant) -> Self {
        Self { leg, bytes: VecDeque::new(), arrivals: VecDeque::new(), begun: now, free: now, end: None }
    }

    /// Bytes that may be pushed.
    #[must_use]
    pub fn room(&self) -> usize {
        self.leg.queue.saturating_sub(self.bytes.len())
    }

    /// Puts bytes on their way.
    ///
    /// # Panics
    ///
    /// When there is no room for them, or behind the end.
    pub fn push(&mut self, now: Instant, bytes: &[u8]) {
        assert!(bytes.len() <= self.room() && self.end.is_none(), "{} bytes are pushed past the end", bytes.len());
        self.bytes.extend(bytes);
        for piece in bytes.chunks(PIECE) {
            let passed = self.pass(now, piece.len());
            let arrival = self.in_steps(passed + self.leg.delay);
            match self.arrivals.back_mut() {
                Some((last, length)) if *last >= arrival => *length += piece.len(),
                _ => self.arrivals.push_back((arrival, piece.len())),
            }
        }
    }

    /// Puts the end on its way: it arrives behind all bytes, and not before its own delay.
    pub fn end(&mut self, now: Instant) {
        let passed = self.pass(now, 0);
        self.end = Some(self.in_steps(passed + self.leg.delay));
    }

    /// Takes the next of what has arrived, `most` bytes at the most.
    pub fn pop(&mut self, now: Instant, most: usize) -> Popped {
        let mut ready = 0;
        while let Some((arrival, length)) = self.arrivals.front_mut()
            && *arrival <= now
            && ready < most
        {
            let taken = (*length).min(most - ready);
            (ready, *length) = (ready + taken, *length - taken);
            if *length == 0 {
                self.arrivals.pop_front();
            }
        }
        if ready > 0 {
            return Popped::Bytes(self.bytes.drain(..ready).collect());
        }
        match (self.arrivals.front(), self.end) {
            (Some((arrival, _)), _) => Popped::Wait(*arrival),
            (None, Some(end)) if end <= now => Popped::End,
            (None, Some(end)) => Popped::Wait(end),
            (None, None) => Popped::Empty,
        }
    }

    /// When so many bytes more have passed the narrow part.
    fn pass(&mut self, now: Instant, length: usize) -> Instant {
        self.free = self.free.max(now);
        if let Some(rate) = self.leg.rate {
            self.free += Duration::from_secs_f64(length as f64 / rate.max(1) as f64);
        }
        self.free
    }

    /// The next step at or behind `at`.
    fn in_steps(&self, at: Instant) -> Instant {
        let since = (at - self.begun).as_nanos().div_ceil(STEP.as_nanos());
        self.begun + STEP * u32::try_from(since).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn queue(delay: Duration, rate: Option<u64>) -> (Queue, Instant) {
        let now = Instant::now();
        (Queue::new(Leg { delay, rate, queue: 100_000 }, now), now)
    }

    #[test]
    fn bytes_arrive_whole_and_in_order_a_delay_later() {
        let (mut queue, start) = queue(75 * MS, None);
        assert_eq!(queue.pop(start, 100), Popped::Empty);
        queue.push(start, b"one ");
        queue.push(start + MS, b"two");
        assert_eq!(queue.pop(start, 100), Popped::Wait(start + 75 * MS));
        assert_eq!(queue.pop(start + 75 * MS, 3), Popped::Bytes(b"one".to_vec()), "no more than asked for");
        assert_eq!(queue.pop(start + 75 * MS, 100), Popped::Bytes(b" ".to_vec()));
        assert_eq!(queue.pop(start + 75 * MS, 100), Popped::Wait(start + 76 * MS));
        assert_eq!(queue.pop(start + 90 * MS, 100), Popped::Bytes(b"two".to_vec()));
        assert_eq!(queue.pop(start + 90 * MS, 100), Popped::Empty);
    }

    #[test]
    fn a_narrow_part_lets_so_many_through_and_no_more() {
        // A byte a microsecond, asked once a millisecond.
        let (mut queue, start) = queue(10 * MS, Some(1_000_000));
        queue.push(start, &[7; 50_000]);
        let arrived: Vec<usize> = (0..80)
            .map(|ms| match queue.pop(start + ms * MS, usize::MAX) {
                Popped::Bytes(bytes) => bytes.len(),
                _ => 0,
            })
            .collect();
        let until = |ms: usize| arrived[..=ms].iter().sum::<usize>();
        assert_eq!((until(10), until(79)), (0, 50_000));
        assert!((10..=60).all(|ms| until(ms) <= (ms - 10) * 1000), "{arrived:?}");
        assert!((15..=60).all(|ms| until(ms) + PIECE + 1000 >= (ms - 10) * 1000), "{arrived:?}");
    }

    #[test]
    fn what_waited_is_not_made_up_for() {
        let (mut queue, start) = queue(Duration::ZERO, Some(1_000_000));
        queue.push(start, &[1; 1000]);
        // Nothing came for a second; that second's room is gone.
        queue.push(start + 1000 * MS, &[2; 2000]);
        assert!(matches!(queue.pop(start + 1000 * MS, usize::MAX), Popped::Bytes(bytes) if bytes == [1; 1000]));
        assert_eq!(queue.pop(start + 1001 * MS, usize::MAX), Popped::Wait(start + 1002 * MS));
    }

    #[test]
    fn the_end_comes_last_and_late_like_the_rest() {
        let (mut queue, start) = queue(5 * MS, Some(1_000_000));
        queue.push(start, &[1; 10_000]);
        queue.end(start);
        let all = queue.pop(start + 15 * MS, usize::MAX);
        assert!(matches!(all, Popped::Bytes(bytes) if bytes.len() == 10_000));
        assert_eq!(queue.pop(start + 15 * MS, 1), Popped::End);

        let mut idle = Queue::new(Leg { delay: 5 * MS, ..Leg::default() }, start);
        idle.end(start + MS);
        assert_eq!(idle.pop(start + MS, 1), Popped::Wait(start + 6 * MS));
    }

    #[test]
    fn it_holds_no_more_than_it_may_and_little_beside() {
        let (mut queue, start) = queue(10 * MS, None);
        for _ in 0..100_000 {
            queue.push(start, &[0]);
        }
        assert_eq!((queue.room(), queue.arrivals.len()), (0, 1), "bytes that arrive together are counted together");
        assert!(matches!(queue.pop(start + 10 * MS, 30), Popped::Bytes(_)));
        assert_eq!(queue.room(), 30);
    }
}
