//! Who is on the way to a connection: a client that drains lets those through that had begun, and nobody after them.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts calls that have begun and are on no connection yet.
#[derive(Debug, Default)]
pub(crate) struct Door {
    within: AtomicUsize,
    closed: AtomicBool,
    through: Notify,
}

/// What lies behind a door.
pub(crate) trait Behind {
    fn door(&self) -> &Door;

    /// The door is closed and the last one is through. It may be told so more than once.
    fn all_through(&self);
}

/// One that is on the way, until this is dropped.
pub(crate) struct Within<'a, B: Behind>(&'a B);

impl Door {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Waits until nobody is on the way.
    pub(crate) async fn empty(&self) {
        loop {
            let mut through = pin!(self.through.notified());
            through.as_mut().enable();
            if self.within.load(Ordering::SeqCst) == 0 {
                return;
            }
            through.await;
        }
    }
}

/// Lets nobody in any more.
pub(crate) fn close<B: Behind>(behind: &B) {
    behind.door().closed.store(true, Ordering::SeqCst);
    if behind.door().within.load(Ordering::SeqCst) == 0 {
        behind.all_through();
    }
}

impl<'a, B: Behind> Within<'a, B> {
    /// Goes in, unless the door is closed.
    pub(crate) fn enter(behind: &'a B) -> Option<Self> {
        behind.door().within.fetch_add(1, Ordering::SeqCst);
        let within = Self(behind);
        if behind.door().is_closed() { None } else { Some(within) }
    }

    /// Goes on counting without this value, until it is [taken up](Within::take_up) again.
    pub(crate) fn set_aside(self) {
        std::mem::forget(self);
    }

    /// Goes on for one that was [set aside](Within::set_aside).
    pub(crate) fn take_up(behind: &'a B) -> Self {
        Self(behind)
    }
}

impl<B: Behind> Drop for Within<'_, B> {
    fn drop(&mut self) {
        let door = self.0.door();
        if door.within.fetch_sub(1, Ordering::SeqCst) == 1 && door.is_closed() {
            self.0.all_through();
            door.through.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[derive(Default)]
    struct Room(Door, AtomicUsize);

    impl Behind for Room {
        fn door(&self) -> &Door {
            &self.0
        }

        fn all_through(&self) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_is_within_gets_through_and_nobody_after_them() {
        let room = Room::default();
        let mut cx = Context::from_waker(Waker::noop());
        let first = Within::enter(&room).unwrap();
        let second = Within::enter(&room).unwrap();
        second.set_aside();
        close(&room);
        assert!(Within::enter(&room).is_none());
        let mut empty = pin!(room.0.empty());
        drop(first);
        assert!(empty.as_mut().poll(&mut cx).is_pending() && room.1.load(Ordering::SeqCst) == 0);
        drop(Within::take_up(&room));
        assert!(empty.as_mut().poll(&mut cx).is_ready() && room.1.load(Ordering::SeqCst) == 1);
        let nobody = Room::default();
        close(&nobody);
        assert_eq!(nobody.1.load(Ordering::SeqCst), 1);
    }
}
