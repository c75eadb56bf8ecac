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

/// What a client knows of its peer. Cheap to ask for every call.
#[derive(Debug)]
pub struct Route {
    fixed: Wire,
    known: Arc<AtomicU8>,
}

impl Route {
    /// For a client of this setting.
    #[must_use]
    pub fn new(wire: Wire) -> Self {
        Self { fixed: wire, known: Arc::default() }
    }

    /// Whether the next call goes by the framed wire.
    #[inline]
    #[must_use]
    pub fn is_framed(&self) -> bool {
        match self.fixed {
            Wire::Classic => false,
            Wire::Framed => true,
            Wire::Auto => match self.known.load(Ordering::Relaxed) {
                FRAMED => true,
                CLASSIC => false,
                // One call asks; meanwhile others go on as before.
                _ => self.known.compare_exchange(DUE, CLASSIC, Ordering::Relaxed, Ordering::Relaxed).is_ok(),
            },
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

    /// Whoever asked has learnt nothing: the next call asks again.
    pub fn learnt_nothing(&self) {
        let _ = self.known.compare_exchange(CLASSIC, DUE, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The peer showed that it speaks the classic wire alone. It is asked again after 10 minutes. Needs a runtime.
    pub fn went_classic(&self) {
        self.known.store(CLASSIC, Ordering::Relaxed);
        let known = Arc::downgrade(&self.known);
        tokio::spawn(async move {
            sleep(REMEMBERED).await;
            if let Some(known) = known.upgrade() {
                let _ = known.compare_exchange(CLASSIC, DUE, Ordering::Relaxed, Ordering::Relaxed);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_classic_peer_is_asked_again_after_ten_minutes_by_one_call() {
        let route = Route::new(Wire::Auto);
        assert!(route.is_framed());
        route.went_classic();
        sleep(REMEMBERED - Duration::from_millis(2)).await;
        assert!(!route.is_framed());
        sleep(Duration::from_millis(4)).await;
        assert_eq!([route.is_framed(), route.is_framed(), route.is_framed()], [true, false, false]);
        route.learnt_nothing();
        assert_eq!([route.is_framed(), route.is_framed()], [true, false]);
        route.went_framed();
        assert!(route.is_framed() && route.is_framed());
    }

    #[test]
    fn a_fixed_wire_stays() {
        assert!(Route::new(Wire::Framed).is_framed() && !Route::new(Wire::Classic).is_framed());
        assert!(!Route::new(Wire::Framed).may_fall_back());
    }
}
