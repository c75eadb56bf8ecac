//! What every handle of a stream holds.

use std::sync::Arc;

use super::shared::Shared;
use super::tag::Tag;
use crate::mux::framed::{Key, Streams};

/// What a handle holds: a stream of a connection.
pub(super) struct Held {
    pub(super) shared: Arc<Shared>,
    pub(super) key: Key,
    released: bool,
}

impl Held {
    pub(super) fn new(shared: Arc<Shared>, key: Key) -> Self {
        Self { shared, key, released: false }
    }

    /// Another handle of the same stream.
    pub(super) fn again(&self) -> Self {
        self.shared.with(|streams| streams.hold(self.key));
        Self::new(self.shared.clone(), self.key)
    }

    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Streams<Tag>, Key) -> R) -> R {
        self.shared.with(|streams| act(streams, self.key))
    }

    /// The same, after which the stream is held no more if `last` says so of the result.
    pub(super) fn with_last<R>(
        &mut self,
        act: impl FnOnce(&mut Streams<Tag>, Key) -> R,
        last: impl FnOnce(&R) -> bool,
    ) -> R {
        let (result, waker) = self.shared.with(|streams| {
            let result = act(streams, self.key);
            let released = last(&result);
            self.released |= released;
            let waker = if released { streams.release_with(self.key, Tag::take_waker) } else { None };
            (result, waker)
        });
        drop(waker); // Foreign, so not under the lock.
        result
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        let waker = self.shared.with(|streams| streams.release_with(self.key, Tag::take_waker));
        drop(waker); // Foreign, so not under the lock.
    }
}
