//! The state that handles share with the driver of their connection.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::deadlines::Deadlines;
use super::passing::{Adopted, Passing};
use super::refused::NotOpened;
use super::tag::{GivenUp, Serving, Tag};
use crate::error::{Error, ErrorKind};
use crate::mux::framed::{Gone, Key, Reset, Role, Streams};
use crate::wire::framed::frame::{CloseCode, ResetCode};

/// One connection, for everybody who holds something of it.
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) passing: Passing,
    /// What the peer of a server leaves unread, as of the last time that the lock was released: heads, and bodies.
    unread: (AtomicUsize, AtomicUsize),
    /// Notified when the driver has ended.
    gone: Notify,
}

pub(super) struct State {
    pub(super) streams: Streams<Tag>,
    pub(super) adopted: Adopted,
    /// The driver, while it waits.
    driver: Option<Waker>,
    /// It waits for the peer to read: more to send is no reason to wake it.
    blocked: bool,
    /// The driver looks at deadlines no later than this.
    armed: Option<Instant>,
    deadlines: Deadlines,
    /// The time as it was when the driver ran last, or was woken to run.
    now: Option<Instant>,
    /// Why it ended.
    ended: Option<Arc<Error>>,
    /// So has its driver.
    gone: bool,
}

/// What the driver learns once a turn.
pub(super) struct Look {
    /// The next deadline.
    pub(super) deadline: Option<Instant>,
    /// A program has ended the connection.
    pub(super) ended: bool,
    /// Calls so far, and whether any is open.
    pub(super) calls: u32,
    pub(super) open: bool,
    /// This side drains; the peer does.
    pub(super) draining: bool,
    pub(super) peer_drains: bool,
}

impl State {
    /// A stream has a deadline, which its tag knows.
    pub(super) fn note(&mut self, key: Key, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        let streams = &self.streams;
        self.deadlines.add(deadline, key, streams.len(), |key, deadline| holds(streams, key, deadline));
    }
}

fn holds(streams: &Streams<Tag>, key: Key, deadline: Instant) -> bool {
    streams.tag(key).and_then(Tag::deadline) == Some(deadline)
}

impl Shared {
    pub(super) fn new(streams: Streams<Tag>) -> Arc<Self> {
        let state = State {
            streams,
            adopted: Adopted::default(),
            driver: None,
            blocked: false,
            armed: None,
            deadlines: Deadlines::default(),
            now: None,
            ended: None,
            gone: false,
        };
        let (passing, unread, gone) = Default::default();
        Arc::new(Self { state: Mutex::new(state), passing, unread, gone })
    }

    /// Does something with the streams, then wakes whom it concerns.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Streams<Tag>) -> R) -> R {
        let mut state = self.lock();
        let result = act(&mut state.streams);
        self.release(state, false);
        result
    }

    /// The same for what wakes many at once: `wakers` is memory for them, which stays.
    pub(super) fn with_many<R>(&self, wakers: &mut Vec<Waker>, act: impl FnOnce(&mut Streams<Tag>) -> R) -> R {
        let mut state = self.lock();
        let result = act(&mut state.streams);
        self.release_many(state, false, wakers);
        result
    }

    /// The same for a new call, which has a deadline and which `open` opens, given the time: that may be a little past, by as
    /// much as the driver has not run though it was woken.
    ///
    /// # Errors
    ///
    /// The connection takes no calls any more, or what `open` said.
    pub(super) fn open(
        &self,
        deadline: Option<Instant>,
        open: impl FnOnce(&mut Streams<Tag>, Instant) -> Result<Key, NotOpened>,
    ) -> Result<Key, Error> {
        let mut state = self.lock();
        if let Some(cause) = &state.ended {
            return Err((**cause).clone().with_retry(true));
        }
        if !state.streams.takes_calls() {
            return Err(Error::new(ErrorKind::Closed, "the connection takes no new calls").with_retry(true));
        }
        let now = state.now.filter(|_| state.driver.is_none()).unwrap_or_else(Instant::now);
        state.now = Some(now);
        let opened = open(&mut state.streams, now);
        let mut sooner = false;
        if let Ok(key) = opened {
            state.note(key, deadline);
            sooner = deadline.is_some_and(|deadline| state.armed.is_none_or(|armed| deadline < armed));
            if sooner {
                state.armed = deadline;
            }
        }
        self.release(state, sooner);
        opened.map_err(NotOpened::explain)
    }

    /// A call waits to be served, until its deadline.
    pub(super) fn serving(&self, key: Key, how: Serving) {
        let mut state = self.lock();
        if let Some(Tag::Serving(serving)) = state.streams.tag_mut(key) {
            let deadline = how.deadline;
            *serving = how;
            state.note(key, deadline);
        }
    }

    /// A call's handler goes on in a task, until its deadline.
    pub(super) fn serving_in(&self, key: Key, task: AbortHandle, deadline: Option<Instant>, one_way: bool) {
        let mut state = self.lock();
        // Once the reply has begun it may take its time.
        let deadline = deadline.filter(|_| !state.streams.is_replied(key));
        match state.streams.tag_mut(key) {
            Some(Tag::Serving(serving)) => {
                *serving = Serving { task: Some(task), deadline, parked: None };
                state.note(key, deadline);
            }
            _ if one_way => {}
            _ => {
                drop(state);
                task.abort(); // Nobody waits for it any more.
            }
        }
    }

    /// Ends what serves a stream that was broken off, or wakes who waits for it. The number of a call that waited to be served
    /// is given.
    pub(super) fn stop(&self, key: Key) -> Option<u64> {
        self.with(|streams| {
            let parked = streams.tag_mut(key).and_then(Tag::parked);
            let waker = streams.tag_mut(key).and_then(Tag::stop);
            streams.wake_later(waker);
            parked
        })
    }

    /// Bytes that wait for nothing but that the peer reads.
    pub(super) fn unread_heads(&self) -> usize {
        self.unread.0.load(Ordering::Relaxed)
    }

    /// The same, and bytes of bodies; see [`Streams::unread_bodies`].
    pub(super) fn unread(&self) -> usize {
        self.unread_heads() + self.unread.1.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn release(&self, mut state: MutexGuard<'_, State>, wake_driver: bool) {
        let wake_driver = self.look(&state, wake_driver);
        if wake_driver || state.streams.has_to_call() {
            let driver = if wake_driver { state.driver.take() } else { None };
            Self::call(state, driver, &mut Vec::new());
        }
    }

    fn release_many(&self, mut state: MutexGuard<'_, State>, wake_driver: bool, wakers: &mut Vec<Waker>) {
        let wake_driver = self.look(&state, wake_driver);
        let driver = if wake_driver { state.driver.take() } else { None };
        Self::call(state, driver, wakers);
    }

    /// Notes what the peer leaves unread, and tells whether the driver has to be woken.
    #[inline]
    fn look(&self, state: &State, wake_driver: bool) -> bool {
        let State { streams, driver, blocked, .. } = state;
        if streams.role() == Role::Server {
            self.unread.0.store(streams.unread_heads(), Ordering::Relaxed);
            self.unread.1.store(streams.unread_bodies(), Ordering::Relaxed);
        }
        driver.is_some() && (wake_driver || (!*blocked && streams.wants_to_send()))
    }

    /// Releases the lock, then calls and drops what waits for that.
    fn call(mut state: MutexGuard<'_, State>, driver: Option<Waker>, wakers: &mut Vec<Waker>) {
        let spent = state.streams.swap_wakers(wakers);
        drop(state);
        wakers.drain(..).chain(driver).for_each(Waker::wake);
        if !spent.is_empty() {
            drop_quietly(spent);
        }
    }

    /// The driver runs: nobody needs to wake it, as it looks at everything before it waits.
    pub(super) fn awake(&self, now: Instant) {
        let mut state = self.lock();
        state.now = Some(now);
        let waker = state.driver.take();
        drop(state);
        drop(waker);
    }

    /// The driver waits until something happens, or until `due`. `blocked`: the peer takes nothing for now.
    pub(super) fn park(&self, waker: &Waker, due: Option<Instant>, blocked: bool) {
        let mut state = self.lock();
        state.armed = due;
        state.blocked = blocked;
        // What has come meanwhile woke nobody: something to send, a deadline before all that the driver knew of, the end.
        let sooner = state.deadlines.next().is_some_and(|next| due.is_none_or(|due| next < due));
        let missed = sooner || state.ended.is_some() || (!blocked && state.streams.wants_to_send());
        let replaced = state.driver.replace(waker.clone());
        drop(state);
        drop(replaced);
        if missed {
            waker.wake_by_ref();
        }
    }

    /// Ends what is late. `unparked` gets the numbers of calls that waited to be served.
    pub(super) fn expire(&self, now: Instant, unparked: &mut Vec<u64>) -> Look {
        let mut state = self.lock();
        let ended = state.ended.is_some();
        let State { streams, deadlines, .. } = &mut *state;
        let mut late = false;
        while let Some(key) = deadlines.late(now, |key, deadline| holds(streams, key, deadline)) {
            late = true;
            unparked.extend(streams.tag_mut(key).and_then(Tag::parked));
            let waker = streams.tag_mut(key).and_then(|tag| tag.give_up(GivenUp::Late));
            streams.wake_later(waker);
            streams.reset(key, ResetCode::Late, "");
        }
        let look = Look {
            deadline: deadlines.next(),
            ended,
            calls: streams.calls(),
            open: streams.open_calls() > 0,
            draining: streams.is_draining(),
            peer_drains: streams.peer_drains(),
        };
        if late {
            self.release(state, false);
        }
        look
    }

    /// Whether calls may be made.
    pub(super) fn is_usable(&self) -> bool {
        let state = self.lock();
        state.ended.is_none() && state.streams.takes_calls()
    }

    /// Fails the oldest call that was not sent; tells whether there was one.
    pub(super) fn displace_oldest(&self) -> bool {
        self.with(|streams| {
            let Some(key) = streams.oldest_unsent() else { return false };
            let waker = streams.tag_mut(key).and_then(|tag| tag.give_up(GivenUp::Displaced));
            streams.wake_later(waker);
            streams.reset(key, ResetCode::Cancelled, "it gave way to a newer call");
            true
        })
    }

    /// Fails everything with one cause, and has the driver end; the peer is told if it takes that at once.
    pub(super) fn end_by_program(&self, cause: Error) {
        self.with(|streams| streams.close(CloseCode::Done, cause.to_string()));
        let reset = Reset { code: ResetCode::Cancelled, text: "the connection was closed".into(), by_peer: false };
        self.end(cause, &reset);
    }

    /// The driver has ended.
    pub(super) fn driver_gone(&self) {
        self.lock().gone = true;
        self.gone.notify_waiters();
    }

    /// Waits until the driver has ended.
    pub(super) async fn wait_gone(&self) {
        loop {
            let mut gone = pin!(self.gone.notified());
            gone.as_mut().enable();
            if self.lock().gone {
                return;
            }
            gone.await;
        }
    }

    /// Ends everything with one cause.
    pub(super) fn end(&self, cause: Error, reset: &Reset) {
        let mut state = self.lock();
        state.ended.get_or_insert(Arc::new(cause));
        let streams = &mut state.streams;
        for key in streams.keys() {
            let waker = streams.tag_mut(key).and_then(Tag::stop);
            streams.wake_later(waker);
        }
        streams.end(reset);
        self.release(state, true);
    }

    /// What a broken stream's user is told. The connection's end explains more than the stream's.
    pub(super) fn explain(&self, gone: Gone, unsent: bool) -> Error {
        if let Some(cause) = &self.lock().ended {
            return (**cause).clone().with_retry(unsent);
        }
        if gone.0.as_ref().is_some_and(|reset| reset.by_peer && reset.code == ResetCode::Late) {
            return Error::timeout(None, !unsent); // The peer's clock was a little ahead of ours.
        }
        let refused = gone.0.as_ref().is_some_and(|reset| reset.by_peer && reset.code == ResetCode::Refused);
        let message = gone.0.map_or_else(|| "the stream is over".to_owned(), |reset| reset.to_string());
        Error::new(ErrorKind::Reset, message).with_retry(unsent || refused)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Only an encoder can panic under the lock, and what it did is taken back.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops a user's value, or a panic's payload; should that panic too, the connection goes on.
pub(crate) fn drop_quietly<T>(value: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
}

#[cfg(test)]
mod tests;
