//! Replies of handlers that did not finish at once, on their way to the connection's driver.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Bytes of memory that stay between batches.
const KEEP: usize = 256 * 1024;

/// Encoded replies, the handlers that still run, and whom to wake.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    encoded: Vec<u8>,
    messages: usize,
    running: usize,
    waker: Option<Waker>,
    /// The driver wants to be woken when this many bytes wait, or when the last handler ends.
    wake_at: usize,
    broken: bool,
}

/// What the driver learns when it looks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) bytes: usize,
    pub(crate) messages: usize,
    pub(crate) running: usize,
    /// A reply could not even be replaced by a failure: the connection has to end.
    pub(crate) broken: bool,
}

impl Replies {
    pub(crate) fn handler_started(&self) {
        self.lock().running += 1;
    }

    /// A handler ended; `encode` appends its reply, and is `None` for a call that wants none.
    pub(crate) fn handler_ended(&self, encode: Option<impl FnOnce(&mut Vec<u8>) -> bool>) {
        let mut state = self.lock();
        state.running -= 1;
        if let Some(encode) = encode {
            state.messages += 1;
            state.broken |= !encode(&mut state.encoded);
        }
        let due = state.encoded.len() >= state.wake_at || state.running == 0 || state.broken;
        let waker = if due { state.waker.take() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Moves what waits behind `batch`.
    pub(crate) fn take(&self, batch: &mut Vec<u8>) {
        let mut state = self.lock();
        if batch.is_empty() {
            std::mem::swap(batch, &mut state.encoded);
        } else {
            batch.append(&mut state.encoded);
            state.encoded.shrink_to(KEEP);
        }
        state.messages = 0;
    }

    /// Looks, and arranges to be woken when a handler's end makes it `wake_at` bytes that wait.
    pub(crate) fn look(&self, waker: &Waker, wake_at: usize) -> Waiting {
        let mut state = self.lock();
        state.wake_at = wake_at;
        let known = state.waker.as_ref().is_some_and(|known| known.will_wake(waker));
        let replaced = if known { None } else { state.waker.replace(waker.clone()) };
        let State { messages, running, broken, .. } = *state;
        let bytes = state.encoded.len();
        drop(state);
        drop(replaced); // Foreign, so not under the lock.
        Waiting { bytes, messages, running, broken }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Encoders are caught before they can unwind through here; the state is whole in any case.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
