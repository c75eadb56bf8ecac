//! Whether the peer lives, and how far away it is: a pure policy.

use std::time::Duration;

use tokio::time::Instant;

/// Pings when nothing has been heard for an interval, and gives up when nothing has been heard for another. One ping at a time
/// is unanswered: while it is, it asks on.
#[derive(Debug)]
pub struct Keepalive {
    /// `None`: silence is no sign of death.
    interval: Option<Duration>,
    heard: Instant,
    /// The ping that is not answered yet, and when it left.
    asked: Option<(u64, Instant)>,
    count: u64,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing before then, if ever.
    Wait(Option<Instant>),
    /// Send a ping with these bytes.
    Ping([u8; 8]),
    /// Nothing was heard for two intervals.
    Dead,
}

impl Keepalive {
    /// For a connection that has just been opened, whose peer takes no pings closer than `least`.
    #[must_use]
    pub fn new(interval: Option<Duration>, least: Duration, now: Instant) -> Self {
        Self { interval: interval.map(|interval| interval.max(least)), heard: now, asked: None, count: 0 }
    }

    /// Bytes came, whatever they say.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// A pong came: how long it took, if it answers the last ping.
    pub fn pong(&mut self, bytes: [u8; 8], now: Instant) -> Option<Duration> {
        let (_, asked) = self.asked.take_if(|(count, _)| count.to_le_bytes() == bytes)?;
        Some(now.saturating_duration_since(asked))
    }

    /// What to do now.
    pub fn decide(&mut self, now: Instant) -> Action {
        let first = self.count == 0; // Tells the distance.
        let Some(interval) = self.interval else { return if first { self.ping(now) } else { Action::Wait(None) } };
        let silence = now.saturating_duration_since(self.heard);
        if silence >= interval * 2 {
            return Action::Dead;
        }
        if first || (silence >= interval && self.asked.is_none()) {
            return self.ping(now);
        }
        Action::Wait(Some(self.heard + if silence >= interval { interval * 2 } else { interval }))
    }

    fn ping(&mut self, now: Instant) -> Action {
        self.count += 1;
        self.asked = Some((self.count, now));
        Action::Ping(self.count.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn ping(count: u64) -> Action {
        Action::Ping(count.to_le_bytes())
    }

    #[test]
    fn a_silent_peer_is_asked_once_and_given_up() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(Some(5 * S), S, start);
        assert_eq!(keepalive.decide(start), ping(1), "the first one measures");
        assert_eq!(keepalive.pong(1u64.to_le_bytes(), start + S), Some(S));
        keepalive.heard(start + S);
        assert_eq!(keepalive.decide(start + S), Action::Wait(Some(start + 6 * S)));
        assert_eq!(keepalive.decide(start + 6 * S), ping(2));
        assert_eq!(keepalive.decide(start + 7 * S), Action::Wait(Some(start + 11 * S)), "one is enough");
        assert_eq!(keepalive.decide(start + 11 * S), Action::Dead);
    }

    #[test]
    fn any_byte_is_a_sign_of_life() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(Some(5 * S), S, start);
        keepalive.decide(start);
        keepalive.pong(1u64.to_le_bytes(), start);
        assert_eq!(keepalive.decide(start + 5 * S), ping(2));
        keepalive.heard(start + 9 * S);
        assert_eq!(keepalive.decide(start + 10 * S), Action::Wait(Some(start + 14 * S)));
        assert_eq!(keepalive.pong(1u64.to_le_bytes(), start + 12 * S), None, "an answer to another measures nothing");
        assert_eq!(keepalive.pong(2u64.to_le_bytes(), start + 12 * S), Some(7 * S));
        assert_eq!(keepalive.decide(start + 14 * S), ping(3));
    }

    #[test]
    fn one_ping_at_a_time_is_unanswered() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(Some(5 * S), S, start);
        assert_eq!(keepalive.decide(start), ping(1));
        keepalive.heard(start + 2 * S);
        assert_eq!(keepalive.decide(start + 7 * S), Action::Wait(Some(start + 12 * S)), "the first one asks on");
        assert_eq!(keepalive.decide(start + 12 * S), Action::Dead);
    }

    #[test]
    fn a_peer_may_ask_for_patience_and_without_an_interval_there_is_one_ping_alone() {
        let start = Instant::now();
        let mut patient = Keepalive::new(Some(S), 4 * S, start);
        patient.decide(start);
        assert_eq!(patient.decide(start + S), Action::Wait(Some(start + 4 * S)));
        let mut off = Keepalive::new(None, S, start);
        assert_eq!((off.decide(start), off.decide(start + 1000 * S)), (ping(1), Action::Wait(None)));
    }
}
