//! The places of an input's connections, and who leaves when there is none for one more.

use std::collections::BTreeMap;
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::activity::{Activity, Turn};
use super::house::{House, what_becomes};
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
    house: Arc<House>,
    traffic: Arc<traffic::Input>,
    /// Who can connect can cause these lines.
    lines: Seldom,
}

/// Who is there, in the order in which they came.
pub(super) struct Seats {
    taken: Mutex<Taken>,
    /// Counts who was asked to leave.
    traffic: Arc<traffic::Input>,
}

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
    house: Arc<House>,
    /// Of the room; and of the house, unless that ends.
    _permits: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

impl Room {
    /// Room for so many connections, in a house that may have fewer places for all.
    pub(super) fn new(most: usize, house: Arc<House>, traffic: Arc<traffic::Input>) -> Room {
        let most = most.min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(most));
        let seats = Arc::new(Seats { taken: Mutex::default(), traffic: Arc::clone(&traffic) });
        house.add(&seats);
        Room { most, free, seats, house, traffic, lines: Seldom::default() }
    }

    /// Waits until there is room for one more connection of the input with this name. Where there is none left when one is `wanted`,
    /// those that have had nothing to do for longest are asked to leave. Cancel safe.
    pub(super) async fn place(&self, input: &str, wanted: impl Future<Output = ()>) -> OwnedSemaphorePermit {
        tokio::select! {
            biased;
            permit = free(&self.free) => return permit,
            () = wanted => {}
        }
        self.traffic.full.add();
        let ask = || {
            let leaving = self.make_room();
            self.tell(input, leaving);
            leaving
        };
        once_others_leave(&self.free, ask).await
    }

    /// Waits until the house, too, has room for one more connection, which has come already. Cancel safe.
    pub(super) async fn house_place(&self, input: &str) -> OwnedSemaphorePermit {
        self.house.place(input, || self.traffic.full.add()).await
    }

    /// Has somebody leave, of any input, as there is no file left for a connection, and waits for that. Cancel safe.
    pub(super) async fn make_room_for_files(&self) {
        self.house.make_room_for_files().await;
    }

    /// The place of a connection that has just come.
    pub(super) fn take(&self, permit: OwnedSemaphorePermit, of_house: Option<OwnedSemaphorePermit>) -> Place {
        let activity = Arc::<Activity>::default();
        let (house, mut taken) = (Arc::clone(&self.house), self.seats.lock());
        let number = taken.next;
        taken.next += 1;
        taken.all.insert(number, Arc::clone(&activity));
        Place { activity, number, seats: Arc::clone(&self.seats), house, _permits: (permit, of_house) }
    }

    /// Asks a few to leave; says how many.
    fn make_room(&self) -> usize {
        ask_to_leave(slice::from_ref(&self.seats), self.most)
    }

    fn tell(&self, input: &str, leaving: usize) {
        let (most, what) = (self.most, what_becomes(leaving));
        self.lines.warn(format_args!(
            "{input} is full: {most} connections, as many as --concurrency allows; {what}; raise it if that is too few"
        ));
    }
}

async fn free(places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    match Arc::clone(places).acquire_owned().await {
        Ok(permit) => permit,
        // Nobody closes it.
        Err(_) => std::future::pending().await,
    }
}

/// Waits for one of the places, while others are asked to leave, which says how many these were. Cancel safe.
pub(super) async fn once_others_leave(places: &Arc<Semaphore>, ask: impl Fn() -> usize) -> OwnedSemaphorePermit {
    let mut pause = PAUSE;
    loop {
        let leaving = ask();
        if let Ok(permit) = timeout(pause, free(places)).await {
            return permit;
        }
        pause = if leaving > 0 { PAUSE } else { LONGEST_PAUSE.min(pause * 2) };
    }
}

/// Asks a few of those on these seats to leave, of whom there are at most so many; says how many.
pub(super) fn ask_to_leave(rooms: &[Arc<Seats>], most: usize) -> usize {
    let (wanted, now) = (1 + most / PART, Instant::now());
    let mut could = Vec::new();
    for seats in rooms {
        could.extend(seats.could_leave(now).into_iter().map(|(turn, activity)| (turn, activity, &seats.traffic)));
    }
    if could.len() > wanted {
        could.select_nth_unstable_by_key(wanted - 1, |(turn, ..)| *turn);
        could.truncate(wanted);
    }
    for (_, activity, traffic) in &could {
        activity.ask();
        traffic.given_up.add();
    }
    could.len()
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
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seats.lock().all.remove(&self.number);
        self.house.note_left();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(most: usize) -> Room {
        Room::new(most, Arc::new(House::new(usize::MAX)), Arc::default())
    }

    async fn place(room: &Room) -> Place {
        room.take(room.place("x", async {}).await, None)
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
    async fn one_room_makes_place_for_another_where_the_house_is_full() {
        let house = Arc::new(House::new(2));
        let rooms = [(); 2].map(|()| Room::new(5, Arc::clone(&house), Arc::default()));
        let enter = async |room: &Room| {
            let permit = room.place("x", async {}).await;
            let of_house = room.house_place("x").await;
            room.take(permit, Some(of_house))
        };
        let (one, two) = (enter(&rooms[0]).await, enter(&rooms[0]).await);
        let busy = one.activity.begin();
        let leave = async {
            two.activity.asked().await;
            drop(two);
        };
        let (three, ()) = tokio::join!(enter(&rooms[1]), leave);
        assert!(!one.activity.is_asked() && !three.activity.is_asked());
        assert_eq!(
            rooms.each_ref().map(|room| (room.traffic.full.get(), room.traffic.given_up.get())),
            [(0, 1), (1, 0)]
        );
        drop(busy);
        let leave = async {
            one.activity.asked().await;
            drop(one);
        };
        tokio::join!(rooms[0].make_room_for_files(), leave);
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
