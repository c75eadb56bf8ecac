//! A body that is given away, and comes back as long as that does no harm.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::rewind::Rewind;
use super::{Kind, RequestBody};
use crate::body::BoxError;

/// What was given away, and may be had again. Nothing more is kept of it when this is dropped.
pub(crate) enum Held {
    /// All of it is at hand.
    Whole(Bytes),
    /// It streams, and what was taken of it is kept, as far as there is room for that.
    Stream(Keeper),
}

/// Keeps a streamed body.
pub(crate) struct Keeper(Arc<Shared>);

/// Where a streamed body is that may be taken back.
pub(super) struct Shared(Mutex<Option<Box<Rewind>>>);

/// A streamed body that may be taken back.
pub(super) enum Lent {
    /// As long as it may be.
    Shared(Arc<Shared>),
    /// From then on.
    Given(Box<Rewind>),
}

/// Gives a streamed body away, and keeps it.
pub(super) fn lend(body: Box<Rewind>) -> (Lent, Held) {
    let shared = Arc::new(Shared(Mutex::new(Some(body))));
    (Lent::Shared(Arc::clone(&shared)), Held::Stream(Keeper(shared)))
}

impl Held {
    /// Whether all of it is at hand, so that it comes back whatever happened.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Held::Whole(_))
    }

    /// Whether there is something in it, and nothing was taken of that as far as can be told.
    pub(crate) fn has_not_begun(&self) -> bool {
        match self {
            Held::Whole(bytes) => !bytes.is_empty(),
            Held::Stream(keeper) => keeper.0.lock().as_ref().is_some_and(|body| body.is_untouched()),
        }
    }

    /// The body once more from its beginning, if it is whole or nothing is lost of what was taken. What was given away is worth
    /// nothing then.
    pub(crate) fn take(self) -> Option<RequestBody> {
        match self {
            Held::Whole(bytes) => Some(bytes.into()),
            Held::Stream(keeper) => {
                let body = keeper.0.lock().take_if(|body| body.keeps())?;
                body.rewound().map(|body| RequestBody(Kind::Again(body)))
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(body) = self.0.lock().as_mut() {
            body.let_go();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Box<Rewind>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self {
            Lent::Given(body) => body.poll_frame(cx),
            Lent::Shared(shared) => {
                let mut lent = shared.lock();
                // It must not look like the end of the body.
                let Some(body) = lent.as_mut() else { return Poll::Ready(Some(Err(Box::new(TakenBack)))) };
                let next = ready!(body.poll_frame(cx));
                let given = lent.take_if(|body| !body.keeps());
                drop(lent);
                if let Some(body) = given {
                    *self = Lent::Given(body);
                }
                Poll::Ready(next)
            }
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.with(Rewind::is_end_stream).unwrap_or(false)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.with(Rewind::size_hint).unwrap_or_default()
    }

    /// Looks at the body, if it is still here.
    pub(super) fn with<T>(&self, look: impl FnOnce(&Rewind) -> T) -> Option<T> {
        match self {
            Lent::Given(body) => Some(look(body)),
            Lent::Shared(shared) => shared.lock().as_deref().map(look),
        }
    }
}

/// Why nothing more comes of a body that is sent elsewhere.
#[derive(Debug)]
struct TakenBack;

impl fmt::Display for TakenBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request is sent elsewhere")
    }
}

impl std::error::Error for TakenBack {}

#[cfg(test)]
mod tests;
