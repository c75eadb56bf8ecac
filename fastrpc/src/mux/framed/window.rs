//! Credit, both ways: how many body bytes may be under way.

use std::time::Duration;

use tokio::time::Instant;

use crate::wire::framed::settings::MAX_CREDIT;

/// What the peer lets this side send.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendCredit(u32);

impl SendCredit {
    /// Begins with what the peer's settings say.
    pub(super) fn new(initial: u32) -> Self {
        Self(initial.min(MAX_CREDIT))
    }

    /// Bytes that may be sent now.
    pub(super) fn available(self) -> usize {
        self.0 as usize
    }

    /// These are sent.
    ///
    /// # Panics
    ///
    /// When they are more than available.
    pub(super) fn take(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).expect("no more is taken than is available");
        self.0 = self.0.checked_sub(bytes).expect("no more is taken than is available");
    }

    /// The peer grants more, or bytes that were taken were not sent after all. False when that passes [`MAX_CREDIT`].
    #[must_use]
    pub(super) fn grant(&mut self, bytes: u32) -> bool {
        match self.0.checked_add(bytes).filter(|sum| *sum <= MAX_CREDIT) {
            Some(sum) => self.0 = sum,
            None => return false,
        }
        true
    }
}

/// What this side lets the peer send: so much that what is under way and what lies unread stay within a target. Of a
/// connection it is what is under way alone, as long as both stay within what it may grow to: one stream's reader that lags
/// takes no room from others.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecvWindow {
    target: u32,
    /// What is under way and what lies unread may be together, of a connection.
    shared: Option<u32>,
    /// What the peer may still send.
    open: u32,
    /// What it sent and nobody has read.
    held: u32,
    /// When it was last granted more.
    granted: Option<Instant>,
}

impl RecvWindow {
    /// The least target: a window of a reader that lags falls to it.
    const LEAST: u32 = 16 * 1024;

    /// Begins with what this side's settings say.
    pub(super) fn new(initial: u32) -> Self {
        Self { target: initial, shared: None, open: initial, held: 0, granted: None }
    }

    /// That of a connection, for which there are `most` bytes of memory.
    pub(super) fn of_connection(initial: u32, most: u32) -> Self {
        Self { shared: Some(most), ..Self::new(initial) }
    }

    /// What it aims at.
    pub(super) fn target(&self) -> u32 {
        self.target
    }

    /// Aims at so much, if that is more.
    pub(super) fn grow_to(&mut self, target: u32) {
        self.target = self.target.max(target);
    }

    /// Bytes that arrived and were not read.
    pub(super) fn held(&self) -> u32 {
        self.held
    }

    /// What the peer may still send.
    pub(super) fn open(&self) -> u32 {
        self.open
    }

    /// Bytes arrived. False when they are more than was granted.
    #[must_use]
    pub(super) fn receive(&mut self, bytes: usize) -> bool {
        let Some(bytes) = u32::try_from(bytes).ok().filter(|bytes| *bytes <= self.open) else { return false };
        self.open -= bytes;
        self.held += bytes;
        true
    }

    /// Bytes that had arrived were read, or thrown away.
    ///
    /// # Panics
    ///
    /// When they are more than are held.
    pub(super) fn consume(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).expect("no more is read than arrived");
        self.held = self.held.checked_sub(bytes).expect("no more is read than arrived");
    }

    /// Whether so much may be granted that a frame is worth it: half the target.
    pub(super) fn is_due(&self) -> bool {
        let grant = self.grantable();
        grant > 0 && grant >= self.target / 2
    }

    /// Grants what may be granted.
    ///
    /// The target doubles, up to `most`, when the half of it was used up within two round trips: the peer waited for credit
    /// then, and the reader did not. That of a stream halves when that took sixteen and much lies unread.
    pub(super) fn grant(&mut self, now: Instant, round_trip: Option<Duration>, most: u32) -> u32 {
        let used_in = self.granted.replace(now).map(|granted| now.saturating_duration_since(granted));
        if let (Some(used_in), Some(round_trip)) = (used_in, round_trip) {
            if used_in < round_trip * 2 && self.held <= self.target / 2 {
                self.target = self.target.saturating_mul(2).min(most).max(self.target);
            } else if self.shared.is_none() && used_in > round_trip * 16 && self.held > self.target / 4 {
                self.target = (self.target / 2).max(Self::LEAST).min(self.target);
            }
        }
        let grant = self.grantable();
        self.open += grant;
        grant
    }

    fn grantable(&self) -> u32 {
        let room = self.shared.map_or(self.target, |most| most.max(self.target));
        let unread = room.saturating_sub(self.open.saturating_add(self.held));
        unread.min(self.target.saturating_sub(self.open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn credit_is_spent_and_granted_and_never_passes_its_limit() {
        let mut credit = SendCredit::new(10);
        credit.take(10);
        assert_eq!(credit.available(), 0);
        assert!(credit.grant(MAX_CREDIT) && !credit.grant(1));
        assert_eq!(credit.available(), MAX_CREDIT as usize);
    }

    #[test]
    fn a_window_grants_what_was_read_once_it_is_half() {
        let mut window = RecvWindow::new(100);
        let now = Instant::now();
        assert!(!window.is_due() && window.receive(60) && !window.receive(41));
        window.consume(49);
        assert!(!window.is_due(), "49 of 100 is not worth a frame");
        window.consume(1);
        assert!(window.is_due());
        assert_eq!((window.grant(now, None, 100), window.grant(now, None, 100), window.held()), (50, 0, 10));
        assert!(window.receive(90) && !window.receive(1) && window.open() == 0);
    }

    /// Half the target arrives, is read, and is granted anew after `took`; gives the target.
    fn round(window: &mut RecvWindow, now: &mut Instant, took: Duration, most: u32) -> u32 {
        let half = (window.target / 2) as usize;
        assert!(window.receive(half));
        window.consume(half);
        *now += took;
        assert!(window.grant(*now, Some(10 * MS), most) > 0);
        window.target
    }

    #[test]
    fn a_window_that_holds_its_peer_up_grows_as_far_as_it_may() {
        let mut window = RecvWindow::new(1000);
        let mut now = Instant::now();
        assert_eq!(round(&mut window, &mut now, 10 * MS, 3000), 1000, "nothing to compare with");
        assert_eq!(round(&mut window, &mut now, 20 * MS, 3000), 1000, "it lasted for two round trips");
        assert_eq!(round(&mut window, &mut now, 19 * MS, 3000), 2000);
        assert_eq!(round(&mut window, &mut now, MS, 3000), 3000);
        assert_eq!(round(&mut window, &mut now, MS, 500), 3000, "a lower bound takes nothing back");
        assert!(window.receive(3000), "all of it was granted");
    }

    #[test]
    fn a_window_whose_reader_lags_shrinks_and_grants_nothing_until_enough_is_read() {
        let mut window = RecvWindow::new(64 * 1024);
        let mut now = Instant::now();
        assert!(window.receive(64 * 1024));
        window.consume(32 * 1024);
        assert_eq!(window.grant(now, Some(10 * MS), MAX_CREDIT), 32 * 1024);
        assert!(window.receive(32 * 1024));
        window.consume(32 * 1024);
        now += 161 * MS;
        assert_eq!((window.is_due(), window.grant(now, Some(10 * MS), MAX_CREDIT)), (true, 0));
        assert_eq!((window.target, window.held), (32 * 1024, 32 * 1024));
        window.consume(15 * 1024);
        assert!(!window.is_due());
        window.consume(1024);
        assert!(window.is_due());
    }
}
