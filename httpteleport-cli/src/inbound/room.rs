//! The places of an input's connections, and who leaves when there is none for one more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::activity::{Activity, Turn};
use crate::metrics::traffic;
use crate::seldom::Seldom;

/// How long those have to leave that are asked to, before others are asked. Where nobody can be asked the pauses grow.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// One in so many is asked to leave at a time, and at least one, as looking for them costs a look at all.
const PART: usize = 256;

/// Connections that are looked at while others wait for the table.
const LOOKS: usize = 1024;

/// The places of one input.
pub(super) struct Room {
    most: usize,
    free: Arc<Semaphore>,
    seats: Arc<Seats>,
    traffic: Arc<traffic::Input>,
    /// Who can connect can cause these lines.
    lines: Seldom,
}

/// Who is there, in the order in which they came.
#[derive(Default)]
struct Seats(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    next: u64,
    all: BTreeMap<u64, Arc<Activity>>,
}

/// The place of one connection, free again when dropped.
pub(super) struct Place {
    pub(super) activity: Arc<Activity>,
    number: u64,
    seats: Arc<Seats>,
    _permit: OwnedSemaphorePermit,
}

impl Room {
    /// Room for so many connections.
    pub(super) fn new(most: usize, traffic: Arc<traffic::Input>) -> Room {
        let most = most.min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(most));
        Room { most, free, seats: Arc::default(), traffic, lines: Seldom::default() }
    }

    /// Waits until there is room for one more connection of the input with this name. Where there is none left when one is `wanted`,
    /// those that have had nothing to do for longest are asked to leave. Cancel safe.
    pub(super) async fn place(&self, input: &str, wanted: impl Future<Output = ()>) -> OwnedSemaphorePermit {
        tokio::select! {
            biased;
            permit = self.free() => return permit,
            () = wanted => {}
        }
        self.traffic.full.add();
        let mut pause = PAUSE;
        loop {
            let leaving = self.make_room();
            self.tell(input, leaving);
            if let Ok(permit) = timeout(pause, self.free()).await {
                return permit;
            }
            pause = if leaving > 0 { PAUSE } else { LONGEST_PAUSE.min(pause * 2) };
        }
    }

    /// The place of a connection that has just come.
    pub(super) fn take(&self, permit: OwnedSemaphorePermit) -> Place {
        let activity = Arc::<Activity>::default();
        let mut taken = self.seats.lock();
        let number = taken.next;
        taken.next += 1;
        taken.all.insert(number, Arc::clone(&activity));
        Place { activity, number, seats: Arc::clone(&self.seats), _permit: permit }
    }

    async fn free(&self) -> OwnedSemaphorePermit {
        match Arc::clone(&self.free).acquire_owned().await {
            Ok(permit) => permit,
            // Nobody closes it.
            Err(_) => std::future::pending().await,
        }
    }

    /// Asks a few to leave; says how many.
    fn make_room(&self) -> usize {
        let wanted = 1 + self.most / PART;
        let mut could = self.seats.could_leave(Instant::now());
        if could.len() > wanted {
            could.select_nth_unstable_by_key(wanted - 1, |(turn, _)| *turn);
            could.truncate(wanted);
        }
        could.iter().for_each(|(_, activity)| activity.ask());
        self.traffic.given_up.add_many(could.len() as u64);
        could.len()
    }

    fn tell(&self, input: &str, leaving: usize) {
        let most = self.most;
        let what = if leaving > 0 {
            "those with no request under way make room for others"
        } else {
            "none is idle, so others wait to be served"
        };
        self.lines.warn(format_args!(
            "{input} is full: {most} connections, as many as --concurrency allows; {what}; raise it if that is too few"
        ));
    }
}

impl Seats {
    /// All on which no request is under way.
    fn could_leave(&self, now: Instant) -> Vec<(Turn, Arc<Activity>)> {
        let (mut could, mut next) = (Vec::new(), Some(0));
        while let Some(from) = next {
            let taken = self.lock();
            let mut seats = taken.all.range(from..);
            let looked = seats.by_ref().take(LOOKS);
            could.extend(looked.filter_map(|(_, activity)| Some((activity.turn(now)?, Arc::clone(activity)))));
            next = seats.next().map(|(number, _)| *number);
        }
        could
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seats.lock().all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(most: usize) -> Room {
        Room::new(most, Arc::default())
    }

    async fn place(room: &Room) -> Place {
        room.take(room.place("x", async {}).await)
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_waits_for_the_one_that_was_asked_to_leave() {
        let room = room(2);
        let (one, two) = (place(&room).await, place(&room).await);
        let busy = one.activity.begin();
        let leave = async {
            two.activity.asked().await;
            drop(two);
        };
        let (three, ()) = tokio::join!(place(&room), leave);
        assert!(!one.activity.is_asked() && !three.activity.is_asked());
        assert_eq!((room.traffic.full.get(), room.traffic.given_up.get()), (1, 1));
        drop((busy, one));
        let _free = place(&room).await;
        assert_eq!(room.traffic.full.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_waits_until_somebody_has_nothing_to_do() {
        let room = room(1);
        let one = place(&room).await;
        let busy = one.activity.begin();
        assert!(timeout(Duration::from_secs(60), place(&room)).await.is_err());
        assert!(!one.activity.is_asked());
        drop(busy);
        let leave = async {
            one.activity.asked().await;
            drop(one);
        };
        tokio::join!(place(&room), leave);
        assert!(room.seats.lock().all.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn all_of_a_large_room_are_looked_at_and_a_few_leave() {
        let room = room(3000);
        let mut places = Vec::new();
        for _ in 0..3000 {
            places.push(place(&room).await);
        }
        assert_eq!(room.seats.could_leave(Instant::now()).len(), 3000);
        let busy: Vec<_> = places[..2000].iter().map(|place| place.activity.begin()).collect();
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(room.make_room(), 1 + 3000 / PART);
        let asked = places.iter().filter(|place| place.activity.is_asked()).count();
        assert_eq!((asked, places[..2000].iter().any(|place| place.activity.is_asked())), (12, false));
        drop(busy);
    }
}
