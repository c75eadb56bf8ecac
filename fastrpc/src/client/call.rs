//! The future of one call.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Admitted, Inner};
use crate::codec::Codec;
use crate::config::FAR;
use crate::error::{Error, ErrorKind};
use crate::mux::admission::{AtLimit, Full};
use crate::mux::conn::{Arrived, Conn, Deadline};
use crate::mux::pending::{Key, Outcome};
use crate::stats::add;

/// A call that was made with [`Client::call`](super::Client::call): await it for the reply.
///
/// # Errors
///
/// [`Error::kind`] tells the phase that failed; [`Error::may_retry`] whether the peer can have seen the call.
///
/// # Cancel safety
///
/// Dropping it forgets the call. A request still unsent is never sent; a reply that comes late reaches nobody.
#[must_use = "a call is made when it is first polled"]
pub struct PendingCall<'a, C: Codec> {
    client: &'a Inner<C>,
    request: Option<C::Request>,
    deadline: Deadline,
    step: Step<'a, C>,
    retried: bool,
}

enum Step<'a, C: Codec> {
    /// Not admitted yet.
    New,
    /// In the queue at a limit; true when admitted, false when the deadline passed first.
    Queued(Pin<Box<dyn Future<Output = bool> + Send + 'a>>),
    /// Admitted, not on a connection.
    Admitted,
    /// Waits for its reply.
    Registered(Arc<Conn<C>>, Key),
    Done,
}

impl<'a, C: Codec> PendingCall<'a, C> {
    #[inline]
    pub(super) fn new(client: &'a Inner<C>, request: C::Request, deadline: Deadline) -> Self {
        Self { client, request: Some(request), deadline, step: Step::New, retried: false }
    }

    /// Gives up when the whole reply has not come after `limit`, counted from the first poll. A peer that is silent for the
    /// client's read timeout ends the call earlier.
    #[inline]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.deadline = Deadline::After(limit);
        self
    }

    /// Gives up when the whole reply has not come at `at`.
    #[inline]
    pub fn deadline(mut self, at: Instant) -> Self {
        self.deadline = Deadline::At(at);
        self
    }

    /// The request, after the call failed: to make it again elsewhere if [`Error::may_retry`] allows it.
    ///
    /// `None` before the end, after a reply, and when it was taken already.
    pub fn take_request(&mut self) -> Option<C::Request> {
        if matches!(self.step, Step::Done) { self.request.take() } else { None }
    }

    fn admit(&mut self) -> Result<Step<'a, C>, Error> {
        add(&self.client.counters.calls, 1);
        let Err(full) = self.client.admission.try_admit() else { return Ok(Step::Admitted) };
        match self.client.at_limit {
            AtLimit::Wait => Ok(Step::Queued(self.queue())),
            AtLimit::DropOldest if full == Full::Calls && self.client.pool.displace_oldest() => Ok(Step::Admitted),
            AtLimit::DropOldest | AtLimit::Fail => Err(self.client.overload(full)),
        }
    }

    fn queue(&mut self) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        let at = match self.deadline {
            Deadline::At(at) => at,
            Deadline::After(limit) => {
                let now = Instant::now();
                now.checked_add(limit).unwrap_or(now + FAR)
            }
        };
        self.deadline = Deadline::At(at);
        let admission = self.client.admission.clone();
        Box::pin(async move { timeout_at(at, admission.admit()).await.is_ok() })
    }

    fn register(&mut self, waker: &Waker) -> Result<Step<'a, C>, Error> {
        self.step = Step::Done; // Whatever happens below, the admission is given back once.
        let Some(request) = &self.request else { return Err(polled_again()) };
        let deadline = self.deadline;
        let admitted = Admitted(self.client);
        let ((key, at), conn) = self.client.on_connection(|conn| conn.register(request, deadline, waker))?;
        self.deadline = Deadline::At(at); // Should the call be made again, it has the time that is left.
        std::mem::forget(admitted); // From here the connection gives the admission back, when the call ends.
        Ok(Step::Registered(conn, key))
    }

    fn conclude(&mut self, outcome: Outcome<Arrived<C::Reply>>) -> Result<Step<'a, C>, Result<C::Reply, Error>> {
        let peer = || self.client.peer.clone();
        match outcome {
            Outcome::Reply(Ok(reply)) => Err(Ok(reply)),
            Outcome::Reply(Err(refused)) => Err(Err(Error::refused(refused, peer()))),
            Outcome::Expired { sent } => Err(Err(Error::timeout(peer(), sent))),
            Outcome::Failed { cause, sent } => {
                let lost_unsent = !sent && !self.retried && cause.kind() == ErrorKind::Connection;
                if lost_unsent && self.client.pool.can_dial() {
                    self.retried = true;
                    match self.client.admission.try_admit() {
                        Ok(()) => return Ok(Step::Admitted),
                        Err(_) if self.client.at_limit == AtLimit::Wait => return Ok(Step::Queued(self.queue())),
                        Err(_) => {}
                    }
                }
                Err(Err((*cause).clone().with_retry(!sent)))
            }
        }
    }
}

impl<C: Codec> Future for PendingCall<'_, C> {
    type Output = Result<C::Reply, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            let next = match &mut this.step {
                Step::New => this.admit().map_err(Err),
                Step::Queued(queue) => match ready!(queue.as_mut().poll(cx)) {
                    true => Ok(Step::Admitted),
                    false => {
                        add(&this.client.counters.timeouts, 1);
                        Err(Err(Error::timeout(this.client.peer.clone(), false)))
                    }
                },
                Step::Admitted => match this.register(cx.waker()) {
                    Ok(registered) => {
                        this.step = registered;
                        return Poll::Pending; // The end of the call wakes this task from now on.
                    }
                    Err(error) => Err(Err(error)),
                },
                Step::Registered(conn, key) => {
                    let outcome = ready!(conn.poll_outcome(*key, cx));
                    this.step = Step::Done;
                    this.conclude(outcome)
                }
                Step::Done => Err(Err(polled_again())),
            };
            match next {
                Ok(step) => this.step = step,
                Err(result) => {
                    this.step = Step::Done;
                    if result.is_ok() {
                        this.request = None;
                    }
                    return Poll::Ready(result);
                }
            }
        }
    }
}

impl<C: Codec> Drop for PendingCall<'_, C> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.step, Step::Done) {
            Step::Registered(conn, key) => conn.cancel(key),
            Step::Admitted => self.client.admission.release(1),
            Step::New | Step::Queued(_) | Step::Done => {}
        }
    }
}

// Nothing in it is pinned: the queue's future is boxed, and the request is only borrowed.
impl<C: Codec> Unpin for PendingCall<'_, C> {}

impl<C: Codec> Inner<C> {
    pub(super) fn overload(&self, full: Full) -> Error {
        add(&self.counters.overloads, 1);
        let message = match full {
            Full::Calls => format!(
                "{} calls are pending, as many as may: raise max_pending, add servers or send less",
                self.admission.max_calls()
            ),
            Full::Bytes => format!(
                "{} bytes wait to be sent, as many as may: the peer reads too slowly, or raise max_unsent",
                self.admission.max_bytes()
            ),
        };
        Error::overload(message).with_peer(self.peer.clone())
    }
}

fn polled_again() -> Error {
    Error::new(ErrorKind::Closed, "the call was polled after its end")
}
