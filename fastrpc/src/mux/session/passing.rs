//! Calls of a server that pass: they are answered while the driver polls their handler, and nothing is kept of them. One whose
//! handler has to wait, or answers in pieces, becomes a stream.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::refused::NotEncoded;
use super::shared::{Shared, State};
use super::tag::{Serving, Tag};
use crate::mux::framed::Key;
use crate::wire::framed::frame::ResetCode;

/// The call that is being served, by its id; 0 when it was answered, [`CLAIMED`] when what answers it has made it a stream. The
/// driver sets it when nobody else knows of the call yet; otherwise it changes under the lock of its connection.
#[derive(Default)]
pub(super) struct Passing(AtomicU32);

/// No call has this id.
const CLAIMED: u32 = u32::MAX;

/// Calls that became streams, each held on behalf of what answers it.
pub(super) type Adopted = HashMap<u32, Key>;

impl Passing {
    fn is(&self, id: u32) -> bool {
        self.0.load(Ordering::Relaxed) == id
    }

    fn over(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn claimed(&self) {
        self.0.store(CLAIMED, Ordering::Relaxed);
    }
}

/// So many of them there is memory for when there are none.
const KEPT: usize = 256;

impl State {
    /// The stream that a call became is held for nobody here any more.
    fn give_up(&mut self, id: u32) -> Option<Key> {
        let key = self.adopted.remove(&id);
        if self.adopted.is_empty() {
            self.adopted.shrink_to(KEPT);
        }
        key
    }
}

impl Shared {
    /// The driver is about to have this call served.
    pub(super) fn pass(&self, id: u32) {
        self.passing.0.store(id, Ordering::Relaxed);
    }

    /// Whether the call that was served last was answered, whole or broken off.
    pub(super) fn has_passed(&self) -> bool {
        self.passing.is(0)
    }

    /// Answers a call if it still passes; otherwise what encodes comes back.
    pub(super) fn answer_alone<E>(&self, id: u32, encode: E, body: &Bytes) -> Result<Result<(), NotEncoded>, E>
    where
        E: FnOnce(&mut Vec<u8>) -> Result<(), NotEncoded>,
    {
        let mut state = self.lock();
        if !self.passing.is(id) {
            return Err(encode);
        }
        let answered = state.streams.reply_alone(id, || Tag::Serving(Serving::default()), encode, body);
        let answered = answered.map(|stream| {
            self.passing.over();
            if let Some(key) = stream {
                state.streams.release_with(key, |_| ()); // It goes on by itself.
            }
        });
        self.release(state, false);
        Ok(answered)
    }

    /// The stream that a call is or becomes, held by the caller; `None` when it was answered.
    pub(super) fn claim(&self, id: u32) -> Option<Key> {
        let mut state = self.lock();
        if self.passing.is(id) {
            self.passing.claimed();
            return Some(state.streams.adopt(id, Tag::Serving(Serving::default())));
        }
        state.give_up(id)
    }

    /// Nobody answers a call; `why` its caller is told.
    pub(super) fn fail_passing(&self, id: u32, code: ResetCode, why: String) {
        let mut state = self.lock();
        if self.passing.is(id) {
            self.passing.over();
            state.streams.reset_alone(id, code, why);
        } else if let Some(key) = state.give_up(id) {
            state.streams.reset(key, code, why);
            state.streams.release_with(key, |_| ());
        }
        self.release(state, false);
    }

    /// A call's handler goes on, in a task if there is one, or whatever answers the call is elsewhere: until its deadline it is a
    /// stream.
    pub(super) fn adopt(&self, id: u32, task: Option<AbortHandle>, deadline: Option<Instant>) {
        let mut state = self.lock();
        if self.passing.is(id) {
            self.passing.over();
            let key = state.streams.adopt(id, Tag::Serving(Serving { task, deadline, parked: None }));
            state.adopted.insert(id, key);
            return state.note(key, deadline);
        }
        // What answers it has made it a stream already, or has answered it.
        let Some(key) = state.streams.key(id) else { return };
        let deadline = deadline.filter(|_| !state.streams.is_replied(key));
        if let Some(Tag::Serving(serving)) = state.streams.tag_mut(key) {
            *serving = Serving { task, deadline, parked: None };
            state.note(key, deadline);
        }
    }

    /// A call waits to be served: it is a stream, held by the caller.
    pub(super) fn wait(&self, id: u32) -> Key {
        self.lock().streams.adopt(id, Tag::Serving(Serving::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mux::framed::{Role, Streams};
    use crate::wire::framed::settings::Settings;

    #[test]
    fn memory_for_a_burst_of_calls_that_wait_is_given_back() {
        let (settings, now) = (Settings::default(), Instant::now());
        let mut streams = Streams::new(Role::Server, settings.clone(), settings, 1 << 20, now);
        streams.let_calls_pass();
        let shared = Shared::new(streams);
        for id in 1..=10_000 {
            shared.pass(id);
            shared.adopt(id, None, None);
        }
        assert_eq!(shared.lock().adopted.len(), 10_000);
        for id in 1..=5000 {
            assert!(shared.claim(id).is_some());
        }
        (5001..=10_000).for_each(|id| shared.fail_passing(id, ResetCode::Failed, String::new()));
        let state = shared.lock();
        assert!(state.adopted.is_empty() && state.adopted.capacity() < 1000, "{}", state.adopted.capacity());
    }
}
