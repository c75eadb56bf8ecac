//! The rooms of all inputs together: a process has as many clients as its limit of open files allows.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::room::{Seats, ask_to_leave, once_others_leave};
use crate::seldom::Seldom;

/// What all rooms of a process have together.
pub(crate) struct House {
    most: usize,
    free: Arc<Semaphore>,
    rooms: Mutex<Vec<Weak<Seats>>>,
    left: Notify,
    /// Who can connect can cause these lines.
    lines: Seldom,
}

impl House {
    /// One for so many connections of clients.
    pub(crate) fn new(most: usize) -> House {
        let most = most.min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(most));
        House { most, free, rooms: Mutex::default(), left: Notify::new(), lines: Seldom::default() }
    }

    /// Those who have these seats may be asked to leave for others, as long as there are any.
    pub(super) fn add(&self, seats: &Arc<Seats>) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.retain(|room| room.strong_count() > 0);
        rooms.push(Arc::downgrade(seats));
    }

    /// Waits until there is room for one more connection, which has come to the input with this name; where there is none, those of any
    /// input are asked to leave that have had nothing to do for longest. Cancel safe.
    pub(super) async fn place(&self, input: &str, on_full: impl FnOnce()) -> OwnedSemaphorePermit {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return permit;
        }
        on_full();
        let ask = || {
            let (most, leaving) = (self.most, self.make_room());
            self.lines.warn(format_args!(
                "{input}: there are {most} connections of clients, as many as the limit of open files allows; {}; raise LimitNOFILE \
                 (ulimit -n) if that is too few",
                what_becomes(leaving)
            ));
            leaving
        };
        once_others_leave(&self.free, ask).await
    }

    /// Asks a few to leave, as files have run out, and waits until somebody has left.
    pub(super) async fn make_room_for_files(&self) {
        let left = self.left.notified();
        self.make_room();
        left.await;
    }

    /// Notes that somebody has left.
    pub(super) fn note_left(&self) {
        self.left.notify_waiters();
    }

    fn make_room(&self) -> usize {
        let rooms: Vec<_> = {
            let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
            rooms.iter().filter_map(Weak::upgrade).collect()
        };
        ask_to_leave(&rooms, self.most)
    }
}

/// What becomes of those who come, for the log.
pub(super) fn what_becomes(leaving: usize) -> &'static str {
    if leaving > 0 {
        "those with no request under way make room for others"
    } else {
        "none is idle, so others wait to be served"
    }
}
