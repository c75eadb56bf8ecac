//! The future of one call of whole messages.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use super::{Codec, whole_reply};
use crate::exchange::Exchanging;
use crate::{Eager, Error, Heads};

/// A call that was made with [`Client::call`](crate::Client::call): await it for the response.
///
/// # Cancel safety
///
/// Dropping it forgets the call. A request still unsent is never sent; a reply that comes late reaches nobody.
#[must_use = "a call is made when it is first polled"]
pub struct Calling<'a, H: Heads = Eager> {
    pub(super) way: Way<'a, H>,
    pub(super) method: Method,
}

#[allow(clippy::large_enum_variant, reason = "a box would cost each call an allocation")]
pub(super) enum Way<'a, H: Heads> {
    Classic(fastrpc::PendingCall<'a, Codec<H>>),
    Framed(Exchanging<'a, H>),
}

impl<H: Heads> Calling<'_, H> {
    /// Gives up when the whole reply has not come after `limit`, counted from the first poll.
    #[inline]
    pub fn timeout(mut self, limit: Duration) -> Self {
        match &mut self.way {
            Way::Classic(call) => call.set_timeout(limit),
            Way::Framed(call) => call.set_timeout(limit),
        }
        self
    }

    /// Gives up when the whole reply has not come at `at`.
    #[inline]
    pub fn deadline(mut self, at: Instant) -> Self {
        match &mut self.way {
            Way::Classic(call) => call.set_deadline(at),
            Way::Framed(call) => call.set_deadline(at),
        }
        self
    }

    /// The request, after the call failed: to make it again elsewhere if [`Error::may_retry`] allows it.
    ///
    /// `None` before the end, after a response, and when it was taken already.
    pub fn take_request(&mut self) -> Option<H::Request> {
        match &mut self.way {
            Way::Classic(call) => call.take_request(),
            Way::Framed(call) => call.take_request(),
        }
    }
}

impl<H: Heads> fmt::Debug for Calling<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calling").field("method", &self.method).finish_non_exhaustive()
    }
}

impl<H: Heads> Future for Calling<'_, H> {
    type Output = Result<H::Response, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { way, method } = &mut *self;
        match way {
            Way::Classic(call) => {
                let reply = ready!(Pin::new(call).poll(cx))?;
                Poll::Ready(whole_reply::<H>(method, reply))
            }
            Way::Framed(call) => Pin::new(call).poll(cx),
        }
    }
}
