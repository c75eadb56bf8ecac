//! What a framed connection's sides know of a stream.

use std::task::Waker;

use bytes::Bytes;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// What a stream is to its side.
pub(super) enum Tag {
    /// A call that waits for its reply (at a client).
    Waiting(Waiting),
    /// A call that is being served.
    Serving(Serving),
}

impl Tag {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Waiting(waiting) => waiting.deadline,
            Self::Serving(serving) => serving.deadline,
        }
    }

    /// The number of a call that waits to be served.
    pub(super) fn parked(&mut self) -> Option<u64> {
        match self {
            Self::Waiting(_) => None,
            Self::Serving(serving) => serving.parked.take(),
        }
    }

    pub(super) fn take_waker(&mut self) -> Option<Waker> {
        match self {
            Self::Waiting(waiting) => waiting.waker.take(),
            Self::Serving(_) => None,
        }
    }

    /// Nobody waits for it any more, for this reason.
    pub(super) fn give_up(&mut self, why: GivenUp) -> Option<Waker> {
        if let Self::Waiting(waiting) = self {
            waiting.given_up = Some(why);
        }
        self.stop()
    }

    /// Nothing more comes of it: its handler is not needed any more, its caller is to be told.
    pub(super) fn stop(&mut self) -> Option<Waker> {
        match self {
            Self::Waiting(waiting) => {
                waiting.deadline = None;
                waiting.waker.take()
            }
            Self::Serving(serving) => {
                serving.deadline = None;
                serving.task.take().inspect(AbortHandle::abort);
                None
            }
        }
    }
}

/// The caller's side of a call.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) waker: Option<Waker>,
    /// Heads that came ahead of the reply's and were not looked at.
    pub(super) interims: Vec<Bytes>,
    /// The reply's head, and its body if that came whole.
    pub(super) reply: Option<(Bytes, Option<Bytes>)>,
    pub(super) deadline: Option<Instant>,
    pub(super) given_up: Option<GivenUp>,
}

/// Why this side does not wait for a reply any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// Its time is over.
    Late,
    /// It made room for a newer call.
    Displaced,
}

/// The handler's side of a call.
#[derive(Default)]
pub(super) struct Serving {
    /// The task to end when nobody waits for it any more.
    pub(super) task: Option<AbortHandle>,
    pub(super) deadline: Option<Instant>,
    /// Its number while it waits to be served.
    pub(super) parked: Option<u64>,
}
