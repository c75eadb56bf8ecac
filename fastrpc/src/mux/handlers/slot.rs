//! Where handlers are polled for the first time.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::drop_quietly;

/// A place on the heap for one handler after the other: most end when they are polled first, and need no allocation of
/// their own. One that does not takes the place with it.
pub(super) struct Slot<F> {
    handler: Pin<Box<Option<F>>>,
}

impl<F: Future> Slot<F> {
    pub(super) fn new() -> Self {
        Self { handler: Box::pin(None) }
    }

    /// Puts a handler into the empty place.
    #[inline]
    pub(super) fn set(&mut self, handler: F) {
        self.handler.set(Some(handler));
    }

    /// Polls the handler. When it ends, `take` gets its result where it lies, and the place is empty again. `None`: it
    /// panicked.
    #[inline]
    pub(super) fn poll<T>(&mut self, cx: &mut Context<'_>, take: impl FnOnce(&F::Output) -> T) -> Poll<Option<T>> {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let Some(handler) = self.handler.as_mut().as_pin_mut() else { return Poll::Ready(None) };
            handler.poll(cx).map(|output| {
                let taken = take(&output);
                drop_quietly(output); // What it panics with is not the handler's, which is done.
                Some(taken)
            })
        }));
        let polled = polled.unwrap_or(Poll::Ready(None));
        if polled.is_ready() {
            let _ = catch_unwind(AssertUnwindSafe(|| self.handler.set(None)));
        }
        polled
    }

    /// The handler, on its way to a task.
    pub(super) fn take(&mut self) -> Pin<Box<Option<F>>> {
        std::mem::replace(&mut self.handler, Box::pin(None))
    }
}
