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
    /// Since when `used` is counted.
    counted: Instant,
    /// What was read since then.
    used: u32,
}

impl RecvWindow {
    /// The least target: a window of a reader that lags falls to it.
    const LEAST: u32 = 16 * 1024;

    /// Begins with what this side's settings say.
    pub(super) fn new(initial: u32, now: Instant) -> Self {
        Self { target: initial, shared: None, open: initial, held: 0, counted: now, used: 0 }
    }

    /// That of a connection, for which there are `most` bytes of memory.
    pub(super) fn of_connection(initial: u32, most: u32, now: Instant) -> Self {
        Self { shared: Some(most), ..Self::new(initial, now) }
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
        self.used = self.used.saturating_add(bytes);
    }

    /// Whether so much may be granted that a frame is worth it: a quarter of the target, so that three quarters at least are
    /// always under way. Of a connection's an eighth of what is still open is enough: a sender that keeps a [reserve](super::reserve) waits
    /// while some is.
    pub(super) fn is_due(&self) -> bool {
        let grant = self.grantable();
        let enough = self.target / 4;
        let enough = if self.shared.is_some() { enough.min((self.open / 8).max(Self::LEAST)) } else { enough };
        grant > 0 && grant >= enough
    }

    /// Grants what may be granted.
    ///
    /// The target grows, up to `most`, when most of it would be used up in a round trip at the rate of the last half: the peer waits
    /// for credit then, and the reader does not. It doubles at the most, to 8/5 of what comes in a round trip at that rate: what the way takes, a quarter that is about to be granted,
    /// and a little to find out whether it takes more; all beyond that would only wait somewhere on the way, before other
    /// messages. The target of a stream halves when a part of it lasted for sixteen round trips and much lies unread.
    pub(super) fn grant(&mut self, now: Instant, round_trip: Option<Duration>, most: u32) -> u32 {
        let since = now.saturating_duration_since(self.counted);
        if let Some(round_trip) = round_trip.filter(|round_trip| since >= *round_trip / 2) {
            let per_trip = u128::from(self.used) * round_trip.as_nanos() / since.as_nanos().max(1);
            let per_trip = u32::try_from(per_trip).unwrap_or(u32::MAX);
            // A sender may keep a quarter of a connection's for bodies that begin.
            let most_of_it = if self.shared.is_some() { self.target / 8 * 5 } else { self.target / 4 * 3 };
            if per_trip >= most_of_it && self.held <= self.target / 2 {
                let wanted = per_trip.saturating_add(per_trip / 5 * 3);
                self.target = wanted.min(self.target.saturating_mul(2)).min(most).max(self.target);
            } else if self.shared.is_none() && since > round_trip * 16 && self.held > self.target / 4 {
                self.target = (self.target / 2).max(Self::LEAST).min(self.target);
            }
            (self.counted, self.used) = (now, 0);
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
    fn a_window_grants_what_was_read_once_it_is_a_quarter() {
        let now = Instant::now();
        let mut window = RecvWindow::new(100, now);
        assert!(!window.is_due() && window.receive(60) && !window.receive(41));
        window.consume(24);
        assert!(!window.is_due(), "24 of 100 is not worth a frame");
        window.consume(1);
        assert!(window.is_due());
        assert_eq!((window.grant(now, None, 100), window.grant(now, None, 100), window.held()), (25, 0, 35));
        assert!(window.receive(65) && !window.receive(1) && window.open() == 0);
    }

    /// A body that its reader reads at once, over a way of so many bytes a millisecond and so many milliseconds there and back.
    /// Gives the target at the end, and how much came in each of `trips` round trips.
    fn transfer(window: &mut RecvWindow, rate: u32, round_trip: u32, trips: u32, most: u32) -> (u32, Vec<u32>) {
        let start = Instant::now();
        let (mut credit, mut waits) = (window.open(), 0);
        let one_way = (round_trip / 2) as usize;
        let (mut there, mut back) = (vec![0; one_way], vec![0; one_way]);
        let mut came = Vec::new();
        for ms in 0..round_trip * trips {
            let slot = ms as usize % one_way;
            credit += std::mem::take(&mut back[slot]);
            waits += std::mem::take(&mut credit); // All of it lies before the narrow part at once.
            let arrives = std::mem::replace(&mut there[slot], waits.min(rate));
            waits -= waits.min(rate);
            assert!(window.receive(arrives as usize));
            window.consume(arrives as usize);
            if window.is_due() {
                back[slot] = window.grant(start + MS * ms, Some(MS * round_trip), most);
            }
            if ms % round_trip == 0 {
                came.push(0);
            }
            *came.last_mut().expect("the first was pushed") += arrives;
        }
        (window.target(), came)
    }

    #[test]
    fn a_window_grows_to_what_the_way_holds_and_little_more() {
        for (rate, round_trip) in [(25_000, 150), (1_250_000, 10), (12_500, 30), (1000, 300)] {
            let product = rate * round_trip;
            let mut window = RecvWindow::new(64 * 1024, Instant::now());
            let (target, came) = transfer(&mut window, rate, round_trip, 40, MAX_CREDIT / 4);
            let last = f64::from(*came.last().expect("many")) / f64::from(product);
            assert!(last > 0.98, "{rate} {round_trip}: {last:.3} of the way is used, with a window of {target}");
            let most = (f64::from(product) * 1.7).max(64.0 * 1024.0);
            assert!(f64::from(target) <= most, "{rate} {round_trip}: {target} is more than 1.7 of {product}");
        }
    }

    #[test]
    fn a_window_doubles_at_the_most_and_keeps_to_its_bound() {
        let mut window = RecvWindow::new(1000, Instant::now());
        let (target, _) = transfer(&mut window, 1_000_000, 10, 2, MAX_CREDIT);
        assert!(
            (1001..=8000).contains(&target),
            "{target} after four halves of a round trip, in the first of which nothing came"
        );
        let (target, _) = transfer(&mut window, 1_000_000, 10, 40, 50_000);
        assert_eq!(target, 50_000);
        let (target, _) = transfer(&mut window, 1_000_000, 10, 40, 500);
        assert_eq!(target, 50_000, "a lower bound takes nothing back");
    }

    #[test]
    fn a_window_whose_reader_lags_shrinks_and_grants_nothing_until_enough_is_read() {
        let mut now = Instant::now();
        let mut window = RecvWindow::new(64 * 1024, now);
        assert!(window.receive(64 * 1024));
        window.consume(32 * 1024);
        assert_eq!(window.grant(now, Some(10 * MS), MAX_CREDIT), 32 * 1024);
        assert!(window.receive(32 * 1024));
        window.consume(32 * 1024);
        now += 170 * MS;
        assert_eq!((window.is_due(), window.grant(now, Some(10 * MS), MAX_CREDIT)), (true, 0));
        assert_eq!((window.target, window.held), (32 * 1024, 32 * 1024));
        window.consume(7 * 1024);
        assert!(!window.is_due());
        window.consume(1024);
        assert!(window.is_due());
    }
}
