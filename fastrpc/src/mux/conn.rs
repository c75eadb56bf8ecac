//! The state that callers and the driver of one client connection share.
//!
//! A caller registers its call and encodes it into the outgoing buffer under one short lock; the driver takes whole
//! batches and delivers whole batches of replies under the same lock. Nothing foreign but the codec's encoder runs
//! while it is held: wakers, and drops of a user's values, wait until it is released.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::admission::Admission;
use super::batch::Wave;
use super::link::Peer;
use super::outbox::{ONE_WAY, Outbox};
use super::pending::{Key, Outcome, Pending};
use crate::codec::{BoxError, Codec};
use crate::error::{Error, ErrorKind};
use crate::stats::{Counters, add};

mod displaced;
mod driven;

pub(crate) use driven::{Batch, Status};

/// A reply as it arrived, or what the codec said against it.
pub(crate) type Arrived<R> = Result<R, BoxError>;

/// When a call is given up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deadline {
    At(Instant),
    After(Duration),
}

/// Why a call was not registered.
pub(crate) enum NotRegistered {
    /// The connection takes no new calls; another one will.
    Unusable,
    /// The call cannot be made at all.
    Error(Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Takes calls; connected or about to be.
    Open,
    /// Takes no new calls and ends when the last one has.
    Draining,
    Ended,
}

struct State<R> {
    stage: Stage,
    pending: Pending<Arrived<R>>,
    outbox: Outbox,
    waker: Option<Waker>,
    /// The driver wants to be woken when the outbox holds this many bytes.
    wake_at: usize,
    /// Callers that the replies delivered since the last batch have woken.
    wave: Wave,
    /// The driver will look at deadlines no later than this.
    armed: Option<Instant>,
    /// Why it ended.
    cause: Option<Arc<Error>>,
}

/// One client connection, from before it is dialled until after it ended.
pub(crate) struct Conn<C: Codec> {
    codec: Arc<C>,
    admission: Arc<Admission>,
    counters: Arc<Counters>,
    peer: Peer,
    max_abandoned: usize,
    usable: AtomicBool,
    /// Calls waiting on the open connection of this place in the pool; written under the lock of that one.
    load: Arc<AtomicUsize>,
    state: Mutex<State<C::Reply>>,
    ended: Notify,
}

impl<C: Codec> Conn<C> {
    pub(crate) fn new(
        codec: Arc<C>,
        admission: Arc<Admission>,
        counters: Arc<Counters>,
        peer: Peer,
        max_abandoned: usize,
        load: Arc<AtomicUsize>,
    ) -> Self {
        let state = State {
            stage: Stage::Open,
            pending: Pending::default(),
            outbox: Outbox::default(),
            waker: None,
            wake_at: 1,
            wave: Wave::default(),
            armed: None,
            cause: None,
        };
        let state = Mutex::new(state);
        let usable = AtomicBool::new(true);
        Self { codec, admission, counters, peer, max_abandoned, usable, load, state, ended: Notify::new() }
    }

    pub(crate) fn codec(&self) -> &C {
        &self.codec
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether it still takes calls; a hint, as it may end at any time.
    pub(crate) fn is_usable(&self) -> bool {
        self.usable.load(Ordering::Acquire)
    }

    /// Registers a call and encodes its request: from here on it has its id, its bytes wait for the next batch, and its
    /// end wakes `waker`. The time is that of its deadline.
    pub(crate) fn register(
        &self,
        request: &C::Request,
        deadline: Deadline,
        waker: &Waker,
    ) -> Result<(Key, Instant), NotRegistered> {
        let waker = waker.clone(); // Foreign, so before the lock.
        let mut state = self.lock_open()?;
        let deadline = State::<C::Reply>::resolve(deadline);
        let message = state.outbox.end();
        let Some(key) = state.pending.insert(deadline, message) else {
            self.retire(&mut state);
            drop(state);
            return Err(NotRegistered::Unusable);
        };
        if let Err(not) = self.encode(&mut state, key.id(), |out| self.codec.encode_request(request, out)) {
            state.pending.cancel(key, false);
            drop(state);
            return Err(not.into_error());
        }
        state.pending.wake(key, waker);
        self.publish_load(&state);
        let wake = state.due_to_wake(Some(deadline));
        drop(state);
        wake_one(wake);
        Ok((key, deadline))
    }

    /// Encodes a request that wants no reply.
    pub(crate) fn send(&self, request: &C::Request) -> Result<(), NotRegistered> {
        self.send_with(|out| self.codec.encode_request(request, out))
    }

    /// The same for one that was encoded already.
    pub(crate) fn send_encoded(&self, message: &[u8]) -> Result<(), NotRegistered> {
        self.send_with(|out| {
            out.extend_from_slice(message);
            Ok(())
        })
    }

    fn send_with(&self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError>) -> Result<(), NotRegistered> {
        let mut state = self.lock_open()?;
        if let Err(not) = self.encode(&mut state, ONE_WAY, encode) {
            drop(state);
            return Err(not.into_error());
        }
        let wake = state.due_to_wake(None);
        drop(state);
        wake_one(wake);
        Ok(())
    }

    fn encode(
        &self,
        state: &mut State<C::Reply>,
        id: u32,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError>,
    ) -> Result<(), NotEncoded> {
        let encoded = catch_unwind(AssertUnwindSafe(|| state.outbox.push(id, encode)));
        match encoded {
            Ok(Ok(bytes)) => {
                self.admission.add_bytes(bytes);
                Ok(())
            }
            Ok(Err(error)) => {
                add(&self.counters.errors, 1);
                Err(NotEncoded::Error(error))
            }
            Err(panic) => Err(NotEncoded::Panic(panic)),
        }
    }

    /// The end of a registered call, once.
    pub(crate) fn poll_outcome(&self, key: Key, cx: &mut Context<'_>) -> Poll<Outcome<Arrived<C::Reply>>> {
        let mut replaced = None;
        let mut state = self.lock();
        let outcome = state.pending.poll(key, cx.waker(), &mut replaced);
        if outcome.is_ready() {
            state.wave.arrived();
        }
        let wake = match outcome {
            Poll::Ready(Outcome::Expired { sent: true }) => self.check_abandoned(&mut state),
            _ => None,
        };
        if outcome.is_ready() {
            state.pending.shrink();
        }
        drop(state);
        drop(replaced);
        wake_one(wake);
        outcome
    }

    /// Forgets a registered call whose future is gone.
    pub(crate) fn cancel(&self, key: Key) {
        let mut state = self.lock();
        let message = state.pending.message(key);
        let sent = message.is_none_or(|message| message < state.outbox.taken());
        let (was_waiting, outcome, waker) = state.pending.cancel(key, sent);
        if !was_waiting {
            state.wave.arrived();
        }
        self.publish_load(&state);
        let freed = message.filter(|_| !sent).map_or(0, |message| state.outbox.remove(message));
        state.pending.shrink();
        let wake = self.check_abandoned(&mut state).or_else(|| state.drained());
        drop(state);
        drop((outcome, waker));
        self.admission.remove_bytes(freed);
        wake_one(wake);
        if was_waiting {
            self.ended_calls(1);
        }
    }

    /// Takes no new calls; the driver ends the connection after the last one.
    pub(crate) fn drain(&self) {
        let mut state = self.lock();
        let wake = self.retire(&mut state);
        drop(state);
        wake_one(wake);
    }

    /// Fails every call with `cause` and has the driver stop.
    pub(crate) fn close(&self, cause: Error) {
        self.end(cause, 0, true);
        let waker = self.lock().waker.take();
        wake_one(waker);
    }

    /// Why it ended, once it has.
    pub(crate) fn cause(&self) -> Option<Arc<Error>> {
        self.lock().cause.clone()
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().stage == Stage::Ended
    }

    /// Waits until the connection has ended.
    pub(crate) async fn wait_ended(&self) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.lock().stage == Stage::Ended {
                return;
            }
            ended.await;
        }
    }

    fn ended_calls(&self, n: usize) {
        self.admission.release(n);
    }

    /// Tells the pool how many calls wait here. One that takes no new calls has no say: another takes its place.
    fn publish_load(&self, state: &State<C::Reply>) {
        if state.stage == Stage::Open {
            self.load.store(state.pending.waiting(), Ordering::Relaxed);
        }
    }

    /// From here on it takes no new calls.
    fn leave(&self, state: &mut State<C::Reply>, stage: Stage) {
        if state.stage == Stage::Open {
            self.load.store(0, Ordering::Relaxed);
        }
        state.stage = stage;
        self.usable.store(false, Ordering::Release);
    }

    /// A peer that owes too many replies that nobody awaits is left behind: no new calls, and a new connection.
    fn check_abandoned(&self, state: &mut State<C::Reply>) -> Option<Waker> {
        (state.pending.quarantined() > self.max_abandoned).then(|| self.retire(state)).flatten()
    }

    fn retire(&self, state: &mut State<C::Reply>) -> Option<Waker> {
        if state.stage != Stage::Open {
            return None;
        }
        self.leave(state, Stage::Draining);
        state.waker.clone()
    }

    fn lock_open(&self) -> Result<MutexGuard<'_, State<C::Reply>>, NotRegistered> {
        let state = self.lock();
        if state.stage == Stage::Open { Ok(state) } else { Err(NotRegistered::Unusable) }
    }

    fn lock(&self) -> MutexGuard<'_, State<C::Reply>> {
        // A panic under the lock can only come from the codec's encoder, and what it did is taken back.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> State<R> {
    /// The time of a deadline.
    fn resolve(deadline: Deadline) -> Instant {
        let timeout = match deadline {
            Deadline::At(at) => return at,
            Deadline::After(timeout) => timeout,
        };
        let now = Instant::now();
        now.checked_add(timeout).unwrap_or_else(|| now + crate::config::FAR)
    }

    /// Whom to wake after a message was added.
    fn due_to_wake(&mut self, deadline: Option<Instant>) -> Option<Waker> {
        let sooner = deadline.is_some_and(|deadline| self.armed.is_none_or(|armed| deadline < armed));
        if self.outbox.len() >= self.wake_at {
            self.wake_at = usize::MAX;
        } else if !sooner {
            return None;
        }
        if let Some(deadline) = deadline.filter(|_| sooner) {
            self.armed = Some(deadline);
        }
        self.waker.clone()
    }

    /// The driver's waker, when the last call of a draining connection has just gone without it.
    fn drained(&self) -> Option<Waker> {
        let last = self.stage == Stage::Draining && self.pending.waiting() == 0;
        last.then(|| self.waker.clone()).flatten()
    }

    /// Remembers when to wake the driver. A waker that is replaced is given, to be dropped outside the lock.
    fn park(&mut self, waker: &Waker, wake_at: usize) -> Option<Waker> {
        self.wake_at = wake_at;
        if self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return None;
        }
        self.waker.replace(waker.clone())
    }
}

enum NotEncoded {
    Error(BoxError),
    Panic(Box<dyn std::any::Any + Send>),
}

impl NotEncoded {
    /// The codec's panic goes on in the caller, whose call it was; the connection is as before.
    fn into_error(self) -> NotRegistered {
        match self {
            Self::Error(error) => NotRegistered::Error(Error::encode(error)),
            Self::Panic(panic) => resume_unwind(panic),
        }
    }
}

fn wake_one(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// What a call is told that was failed to make room.
pub(crate) const DISPLACED: &str = "gave way to a newer call at the pending limit: raise max_pending or send less";

/// The error every call gets when its client was closed.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the client was closed")
}
