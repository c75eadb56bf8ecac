//! The future of one call.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::door::Within;
use super::inner::{Admitted, Inner};
use super::route::Attempt;
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::mux::admission::{AtLimit, Full};
use crate::mux::conn::{Arrived, Conn, Deadline, closed};
use crate::mux::pending::{Key, Outcome};
use crate::stats::add;
use crate::stream::NotFramed;
use crate::stream::messages::{self, Exchange};

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
    /// On the framed wire, or after it was tried.
    attempt: Option<Attempt>,
    /// The peer did not speak the framed wire; whether it speaks the classic one is to be seen.
    falls_back: bool,
    /// It waits for a connection of the framed wire, or of the classic one after that.
    within: Option<Within<'a, Inner<C>>>,
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
    /// Waits for a connection of the framed wire, or for its turn there.
    Opening(Pin<Box<dyn Future<Output = Result<Exchange<'a>, Error>> + Send + 'a>>),
    /// Waits for its reply there.
    Framed(Exchange<'a>),
    Done,
}

impl<'a, C: Codec> PendingCall<'a, C> {
    #[inline]
    pub(super) fn new(client: &'a Inner<C>, request: C::Request, deadline: Deadline) -> Self {
        Self {
            client,
            request: Some(request),
            deadline,
            step: Step::New,
            retried: false,
            attempt: None,
            falls_back: false,
            within: None,
        }
    }

    /// Gives up when the whole reply has not come after `limit`, counted from the first poll. A peer that is silent for the
    /// client's read timeout ends the call earlier.
    #[inline]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.set_timeout(limit);
        self
    }

    /// [`PendingCall::timeout`] where it lies.
    #[doc(hidden)]
    #[inline]
    pub fn set_timeout(&mut self, limit: Duration) {
        self.deadline = Deadline::After(limit);
    }

    /// Gives up when the whole reply has not come at `at`.
    #[inline]
    pub fn deadline(mut self, at: Instant) -> Self {
        self.set_deadline(at);
        self
    }

    /// [`PendingCall::deadline`] where it lies.
    #[doc(hidden)]
    #[inline]
    pub fn set_deadline(&mut self, at: Instant) {
        self.deadline = Deadline::At(at);
    }

    /// The request, after the call failed: to make it again elsewhere if [`Error::may_retry`] allows it.
    ///
    /// `None` before the end, after a reply, and when it was taken already.
    pub fn take_request(&mut self) -> Option<C::Request> {
        if matches!(self.step, Step::Done) { self.request.take() } else { None }
    }

    fn begin(&mut self, waker: &Waker) -> Result<Step<'a, C>, Error> {
        add(&self.client.counters.calls, 1);
        self.attempt = self.client.route.attempt();
        if self.attempt.is_some() {
            return self.frame(waker);
        }
        match self.admit()? {
            Step::Admitted => self.register(waker),
            waits => Ok(waits),
        }
    }

    fn frame(&mut self, waker: &Waker) -> Result<Step<'a, C>, Error> {
        let Inner { codec, framed, door, .. } = self.client;
        if door.is_closed() {
            return Err(closed());
        }
        let at = framed.resolve(self.deadline);
        self.deadline = Deadline::At(at);
        let Some(request) = &self.request else { return Err(polled_again()) };
        // What is begun at once goes through no door: it is on its connection before that can drain, or finds that it does.
        let begun = if door.is_closed() { None } else { messages::begin_now(&**codec, framed, request, at, waker) };
        let begun = match begun {
            Some(begun) => begun.map(Step::Framed),
            None => {
                self.within = Some(Within::enter(self.client).ok_or_else(closed)?);
                let encoded = messages::encoded(&**codec, request).inspect_err(|_| self.within = None);
                encoded.map(|message| Step::Opening(Box::pin(messages::begin(framed, message, at))))
            }
        };
        begun.inspect_err(|error| framed.count_error(error))
    }

    /// A call on the framed wire has ended: with its outcome, or because the peer speaks another.
    fn conclude_framed(
        &mut self,
        outcome: Result<C::Reply, Error>,
        waker: &Waker,
    ) -> Result<Step<'a, C>, Result<C::Reply, Error>> {
        let route = &self.client.route;
        let not_framed = outcome.as_ref().err().and_then(NotFramed::of).filter(|_| route.may_fall_back());
        match not_framed {
            None => {
                if outcome.is_ok() {
                    route.went_framed();
                }
                self.within = None;
                let lost_unsent = |error: &Error| error.kind() == ErrorKind::Connection && error.may_retry();
                if self.client.framed.can_dial()
                    && outcome.as_ref().is_err_and(lost_unsent)
                    && !std::mem::replace(&mut self.retried, true)
                {
                    return self.frame(waker).map_err(Err);
                }
                return Err(outcome);
            }
            Some(NotFramed::Classic) => route.went_classic(),
            Some(NotFramed::NoTls) => self.falls_back = true,
        }
        self.admit().map_err(Err)
    }

    /// A peer that is reached by the classic wire after it refused the framed one speaks that alone.
    fn note_fallback<T>(&self, outcome: &Outcome<T>) {
        match outcome {
            Outcome::Expired { sent: false } | Outcome::Failed { sent: false, .. } => {}
            _ => self.client.route.went_classic(),
        }
    }

    fn admit(&mut self) -> Result<Step<'a, C>, Error> {
        let Err(full) = self.client.admission.try_admit() else { return Ok(Step::Admitted) };
        match self.client.settings.at_limit {
            AtLimit::Wait => Ok(Step::Queued(self.queue())),
            AtLimit::DropOldest if full == Full::Calls && self.client.pool.displace_oldest() => Ok(Step::Admitted),
            AtLimit::DropOldest | AtLimit::Fail => Err(self.client.overload(full)),
        }
    }

    fn queue(&mut self) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        let at = self.client.framed.resolve(self.deadline);
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
        if std::mem::take(&mut self.falls_back) {
            self.note_fallback(&outcome);
        }
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
                        Err(_) if self.client.settings.at_limit == AtLimit::Wait => {
                            return Ok(Step::Queued(self.queue()));
                        }
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
                Step::New => match this.begin(cx.waker()) {
                    Ok(registered @ Step::Registered(..)) => {
                        this.step = registered;
                        return Poll::Pending; // As below.
                    }
                    begun => begun.map_err(Err),
                },
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
                        this.within = None;
                        return Poll::Pending; // The end of the call wakes this task from now on.
                    }
                    Err(error) => Err(Err(error)),
                },
                Step::Registered(conn, key) => {
                    let outcome = ready!(conn.poll_outcome(*key, cx));
                    this.conclude(outcome)
                }
                Step::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(exchange) => {
                        this.within = None;
                        Ok(Step::Framed(exchange))
                    }
                    Err(error) => {
                        if !NotFramed::of(&error).is_some_and(|_| this.client.route.may_fall_back()) {
                            this.client.framed.count_error(&error);
                        }
                        this.conclude_framed(Err(error), cx.waker())
                    }
                },
                Step::Framed(exchange) => {
                    let most = this.client.settings.link.max_undecoded;
                    let outcome = ready!(exchange.poll(cx, &*this.client.codec, most));
                    this.conclude_framed(outcome, cx.waker())
                }
                Step::Done => Err(Err(polled_again())),
            };
            match next {
                Ok(step) => this.step = step,
                Err(result) => {
                    this.step = Step::Done;
                    (this.attempt, this.within) = (None, None);
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
        match &self.step {
            Step::Registered(conn, key) => conn.cancel(*key),
            Step::Admitted => self.client.admission.release(1),
            Step::New | Step::Queued(_) | Step::Opening(_) | Step::Framed(_) | Step::Done => {}
        }
    }
}

// Nothing in it is pinned: the queue's future is boxed, and the request is only borrowed.
impl<C: Codec> Unpin for PendingCall<'_, C> {}

impl<C: Codec> Inner<C> {
    pub(super) fn overload(&self, full: Full) -> Error {
        add(&self.counters.overloads, 1);
        full.explain(&self.admission).with_peer(self.peer.clone())
    }
}

fn polled_again() -> Error {
    Error::new(ErrorKind::Closed, "the call was polled after its end")
}
