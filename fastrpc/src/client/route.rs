//! Which wire the next call takes, where a client may speak both.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::config::Wire;

/// How long a peer is taken for one that speaks the classic wire alone.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The peer speaks the framed wire, as far as is known.
const FRAMED: u8 = 0;
/// It was seen to speak the classic one alone.
const CLASSIC: u8 = 1;
/// So it was, and it is time to ask again: the next call does.
const DUE: u8 = 2;
/// So it was, and one call asks again.
const ASKING: u8 = 3;

/// What a client knows of its peer. Cheap to ask for every call; clones know the same.
#[derive(Clone, Debug)]
pub struct Route {
    fixed: Wire,
    known: Arc<AtomicU8>,
}

/// A call that tries the framed wire. Keep it until the call is over: if that was to ask again, and has told nothing of the peer
/// until then, the next call asks.
#[derive(Debug)]
#[must_use]
pub struct Attempt(Option<Arc<AtomicU8>>);

impl Route {
    /// For a client of this setting.
    #[must_use]
    pub fn new(wire: Wire) -> Self {
        Self { fixed: wire, known: Arc::default() }
    }

    /// Whether the next call goes by the framed wire; otherwise by the classic one.
    #[inline]
    pub fn attempt(&self) -> Option<Attempt> {
        match self.fixed {
            Wire::Classic => None,
            Wire::Framed => Some(Attempt(None)),
            Wire::Auto => match self.known.load(Ordering::Relaxed) {
                FRAMED => Some(Attempt(None)),
                // One call asks; meanwhile others go on as before.
                DUE => {
                    let first = self.known.compare_exchange(DUE, ASKING, Ordering::Relaxed, Ordering::Relaxed);
                    first.ok().map(|_| Attempt(Some(self.known.clone())))
                }
                _ => None,
            },
        }
    }

    /// Whether [`Route::attempt`] would say yes now.
    #[inline]
    #[must_use]
    pub fn may_attempt(&self) -> bool {
        match self.fixed {
            Wire::Classic => false,
            Wire::Framed => true,
            Wire::Auto => matches!(self.known.load(Ordering::Relaxed), FRAMED | DUE),
        }
    }

    /// Whether the peer speaks the framed wire, as far as is known.
    #[must_use]
    pub fn is_framed(&self) -> bool {
        match self.fixed {
            Wire::Classic => false,
            Wire::Framed => true,
            Wire::Auto => self.known.load(Ordering::Relaxed) == FRAMED,
        }
    }

    /// Whether a call may take the classic wire if the framed one is not spoken.
    #[must_use]
    pub fn may_fall_back(&self) -> bool {
        self.fixed == Wire::Auto
    }

    /// A call reached the peer by the framed wire.
    #[inline]
    pub fn went_framed(&self) {
        if self.known.load(Ordering::Relaxed) != FRAMED {
            self.known.store(FRAMED, Ordering::Relaxed);
        }
    }

    /// The peer showed that it speaks the classic wire alone. It is asked again after 10 minutes. Needs a runtime.
    pub fn went_classic(&self) {
        if self.known.swap(CLASSIC, Ordering::Relaxed) == CLASSIC {
            return; // The clock runs since the first call that saw it.
        }
        let known = Arc::downgrade(&self.known);
        tokio::spawn(async move {
            sleep(REMEMBERED).await;
            if let Some(known) = known.upgrade() {
                let _ = known.compare_exchange(CLASSIC, DUE, Ordering::Relaxed, Ordering::Relaxed);
            }
        });
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(known) = &self.0 {
            let _ = known.compare_exchange(ASKING, DUE, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_classic_peer_is_asked_again_after_ten_minutes_by_one_call() {
        let route = Route::new(Wire::Auto);
        assert!(route.attempt().is_some());
        route.went_classic();
        sleep(REMEMBERED - Duration::from_millis(2)).await;
        assert!(route.attempt().is_none() && !route.may_attempt());
        sleep(Duration::from_millis(4)).await;
        assert!(route.may_attempt() && route.may_attempt(), "to look is not to ask");
        let asks = route.attempt();
        assert!(asks.is_some() && route.attempt().is_none() && !route.may_attempt());
        drop(asks);
        assert!(route.may_attempt(), "who asked has learnt nothing");
        let asks = route.attempt();
        route.went_framed();
        drop(asks);
        assert!(route.attempt().is_some() && route.attempt().is_some() && route.is_framed());
    }

    /// Many calls may wait for the dial that shows it.
    #[tokio::test(start_paused = true)]
    async fn who_sees_it_later_does_not_have_it_asked_twice() {
        let route = Route::new(Wire::Auto);
        route.went_classic();
        sleep(Duration::from_secs(1)).await;
        route.went_classic();
        sleep(REMEMBERED).await;
        let asks = route.attempt();
        route.went_classic();
        drop(asks);
        sleep(Duration::from_secs(2)).await;
        assert!(!route.may_attempt(), "it was asked just now");
    }

    #[test]
    fn a_fixed_wire_stays() {
        assert!(Route::new(Wire::Framed).is_framed() && !Route::new(Wire::Classic).is_framed());
        assert!(Route::new(Wire::Classic).attempt().is_none() && Route::new(Wire::Framed).attempt().is_some());
        assert!(!Route::new(Wire::Framed).may_fall_back());
    }
}
