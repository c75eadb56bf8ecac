//! The handlers of one server connection: polled where their calls are decoded, or in tasks.

use std::future::Future;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::task::JoinSet;
use tokio_util::sync::ReusableBoxFuture;

use super::outbox::{ONE_WAY, append_message};
use super::replies::Replies;
use crate::codec::{Codec, Failure};
use crate::error::{Error, ErrorKind};
use crate::server::{Call, Dispatch, Handler, Permit, Service};
use crate::stats::{Counters, add};

/// Runs handlers, and appends the replies that are ready at once to the batch that forms.
pub(crate) struct Handlers<C: Codec, H> {
    service: Arc<Service<C, H>>,
    peer: Option<SocketAddr>,
    replies: Arc<Replies>,
    tasks: JoinSet<()>,
    /// Where handlers are polled for the first time, without an allocation for each.
    slot: Option<ReusableBoxFuture<'static, C::Reply>>,
    /// The call whose handler runs in `slot`, in pipeline mode.
    pipelined: Option<(u32, Permit)>,
    /// Kept over the handlers of one turn that end at once.
    permit: Option<Permit>,
    /// Replies appended since the last batch was taken.
    pub(crate) inline_replies: usize,
    tally: Tally,
}

/// How a handler that was polled in the slot has ended.
enum Ended {
    /// With a reply: whether it was encoded (true), or the failure in its stead (false), or neither.
    Answered(Option<bool>),
    Panicked,
}

/// Counts of one turn, published once.
#[derive(Default)]
struct Tally {
    calls: u64,
    replies: u64,
}

impl<C: Codec, H: Handler<C>> Handlers<C, H> {
    pub(crate) fn new(service: Arc<Service<C, H>>, replies: Arc<Replies>, peer: Option<SocketAddr>) -> Self {
        Self {
            service,
            peer,
            replies,
            tasks: JoinSet::new(),
            slot: None,
            pipelined: None,
            permit: None,
            inline_replies: 0,
            tally: Tally::default(),
        }
    }

    /// Whether the next call has to wait for the one that runs.
    pub(crate) fn is_pipelining(&self) -> bool {
        self.pipelined.is_some()
    }

    /// Runs the handler of one call.
    pub(crate) fn dispatch(
        &mut self,
        cx: &mut Context<'_>,
        id: u32,
        request: C::Request,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        self.tally.calls += 1;
        let Some(permit) = self.permit.take().or_else(|| self.service.admit()) else {
            return self.refuse(id, Failure::Overloaded { limit: self.service.concurrency() }, out);
        };
        let call = Call::new(request, self.peer, id != ONE_WAY);
        let service = self.service.clone();
        let handler = async move { service.handler().call(call).await };
        match self.service.dispatch() {
            Dispatch::Spawn => {
                self.spawn(id, permit, ReusableBoxFuture::new(handler));
                return Ok(());
            }
            Dispatch::Inline | Dispatch::Pipeline => {
                if !self.set_slot(handler) {
                    return self.panicked(id, permit, out);
                }
            }
        }
        let pipeline = self.service.dispatch() == Dispatch::Pipeline;
        // A handler that moves to a task is polled there again at once, so nobody needs to be woken from here.
        let polled = if pipeline {
            self.poll_slot(cx, id, out)
        } else {
            self.poll_slot(&mut Context::from_waker(Waker::noop()), id, out)
        };
        match polled {
            Poll::Ready(Ended::Answered(encoded)) => {
                self.permit = Some(permit);
                self.answered(id, encoded)
            }
            Poll::Ready(Ended::Panicked) => self.panicked(id, permit, out),
            Poll::Pending if pipeline => {
                self.pipelined = Some((id, permit));
                Ok(())
            }
            Poll::Pending => {
                if let Some(slot) = self.slot.take() {
                    self.spawn(id, permit, slot);
                }
                Ok(())
            }
        }
    }

    /// Answers a call that no handler gets to see.
    pub(crate) fn decline(&mut self, id: u32, reply: &C::Reply, out: &mut Vec<u8>) -> Result<(), Error> {
        self.tally.calls += 1;
        self.append(id, reply, out)
    }

    /// Answers a call that came after the shutdown had begun.
    pub(crate) fn decline_draining(&mut self, id: u32, out: &mut Vec<u8>) -> Result<(), Error> {
        self.tally.calls += 1;
        self.refuse(id, Failure::Draining, out)
    }

    /// Goes on with the handler that runs in pipeline mode.
    pub(crate) fn poll_pipelined(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let Some((id, _)) = self.pipelined else { return Ok(()) };
        let Poll::Ready(ended) = self.poll_slot(cx, id, out) else { return Ok(()) };
        let Some((id, permit)) = self.pipelined.take() else { return Ok(()) };
        match ended {
            Ended::Answered(encoded) => self.answered(id, encoded),
            Ended::Panicked => self.panicked(id, permit, out),
        }
    }

    /// The end of a turn: lets go of the permit, publishes the counts, forgets tasks that have ended.
    pub(crate) fn end_turn(&mut self) {
        self.permit = None;
        let Tally { calls, replies } = std::mem::take(&mut self.tally);
        add(&self.service.counters().calls, calls);
        add(&self.service.counters().replies, replies);
        // Ended handlers wake the driver through their replies, when it wants that, and not by their tasks' ends.
        while let Poll::Ready(Some(_)) = self.tasks.poll_join_next(&mut Context::from_waker(Waker::noop())) {}
    }

    /// Puts a handler into the slot; false when dropping the one before it panicked.
    fn set_slot(&mut self, handler: impl Future<Output = C::Reply> + Send + 'static) -> bool {
        self.slot = match self.slot.take() {
            Some(mut slot) => catch_unwind(AssertUnwindSafe(|| slot.set(handler))).map(|()| slot).ok(),
            None => Some(ReusableBoxFuture::new(handler)),
        };
        self.slot.is_some()
    }

    /// Polls the handler in the slot, and appends its reply right where it lies. Outside tokio's cooperative budget, which
    /// would make a ready handler look pending after the first hundred of a batch; the turn's own budget bounds the count.
    fn poll_slot(&mut self, cx: &mut Context<'_>, id: u32, out: &mut Vec<u8>) -> Poll<Ended> {
        let Some(slot) = &mut self.slot else { return Poll::Ready(Ended::Panicked) };
        let service = &self.service;
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let mut free = tokio::task::coop::unconstrained(std::future::poll_fn(|cx| slot.poll(cx)));
            Pin::new(&mut free).poll(cx).map(|reply| {
                let encoded = if id == ONE_WAY { Some(true) } else { service.encode_reply(id, &reply, out) };
                drop_quietly(reply); // What it panics with is not the handler's, whose call is answered.
                encoded
            })
        }));
        polled.map_or(Poll::Ready(Ended::Panicked), |polled| polled.map(Ended::Answered))
    }

    fn spawn(&mut self, id: u32, permit: Permit, handler: ReusableBoxFuture<'static, C::Reply>) {
        self.replies.handler_started();
        self.tasks.spawn(Handling::run(id, permit, handler, self.service.clone(), self.replies.clone()));
    }

    fn answered(&mut self, id: u32, encoded: Option<bool>) -> Result<(), Error> {
        let whole = encoded.ok_or_else(unencodable)?;
        self.inline_replies += usize::from(id != ONE_WAY);
        self.tally.replies += u64::from(whole);
        Ok(())
    }

    fn panicked(&mut self, id: u32, permit: Permit, out: &mut Vec<u8>) -> Result<(), Error> {
        drop(permit);
        drop_quietly(self.slot.take());
        self.refuse(id, Failure::Panicked, out)
    }

    fn refuse(&mut self, id: u32, failure: Failure<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let counters = self.service.counters();
        add(if matches!(failure, Failure::Panicked) { &counters.errors } else { &counters.overloads }, 1);
        let reply = catch_unwind(AssertUnwindSafe(|| self.service.codec().failure(failure)));
        self.append(id, &reply.map_err(|_| unencodable())?, out)
    }

    /// Appends a reply that is wanted.
    fn append(&mut self, id: u32, reply: &C::Reply, out: &mut Vec<u8>) -> Result<(), Error> {
        if id == ONE_WAY {
            return Ok(());
        }
        self.inline_replies += 1;
        self.service.encode_reply(id, reply, out).map(|_| ()).ok_or_else(unencodable)
    }
}

impl<C: Codec, H> Unpin for Handlers<C, H> {}

/// Why a connection ends whose replies cannot be written.
pub(crate) fn unencodable() -> Error {
    Error::new(ErrorKind::Protocol, "neither a reply nor the failure in its stead could be encoded")
}

/// A handler that runs in a task of its own. Whatever becomes of it, the driver hears of its end.
struct Handling<C: Codec, H: Handler<C>> {
    id: u32,
    permit: Option<Permit>,
    service: Arc<Service<C, H>>,
    replies: Arc<Replies>,
    done: bool,
}

impl<C: Codec, H: Handler<C>> Handling<C, H> {
    fn run(
        id: u32,
        permit: Permit,
        mut handler: ReusableBoxFuture<'static, C::Reply>,
        service: Arc<Service<C, H>>,
        replies: Arc<Replies>,
    ) -> impl Future<Output = ()> + Send {
        let mut this = Self { id, permit: Some(permit), service, replies, done: false };
        async move {
            let reply = std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| handler.poll(cx))) {
                Ok(polled) => polled.map(Some),
                Err(_) => Poll::Ready(None),
            })
            .await;
            drop_quietly(handler);
            this.end(reply);
        }
    }

    fn end(&mut self, reply: Option<C::Reply>) {
        let counters = self.service.counters();
        self.permit = None;
        let answered = reply.is_some();
        let failure = || catch_unwind(AssertUnwindSafe(|| self.service.codec().failure(Failure::Panicked))).ok();
        let reply = reply.or_else(failure);
        let wanted = self.id != ONE_WAY;
        add(&counters.errors, u64::from(!answered));
        add(&counters.replies, u64::from(answered && !wanted));
        let encode = |out: &mut Vec<u8>| {
            let encoded = reply.as_ref().and_then(|reply| self.service.encode_reply(self.id, reply, out));
            add(&counters.replies, u64::from(answered && encoded == Some(true)));
            encoded.is_some()
        };
        self.replies.handler_ended(wanted.then_some(encode));
        self.done = true;
    }
}

impl<C: Codec, H: Handler<C>> Drop for Handling<C, H> {
    fn drop(&mut self) {
        if !self.done {
            self.replies.handler_ended(None::<fn(&mut Vec<u8>) -> bool>);
        }
    }
}

/// Drops a user's value; should that panic too, the connection goes on.
fn drop_quietly<T>(value: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
}

/// Appends `id` and the reply (true), or the failure that the codec makes in its stead (false). `None` when neither can be
/// encoded.
pub(crate) fn encode_or_fail<C: Codec>(
    codec: &C,
    counters: &Counters,
    id: u32,
    reply: &C::Reply,
    out: &mut Vec<u8>,
) -> Option<bool> {
    let encode = |reply: &C::Reply, out: &mut Vec<u8>| {
        catch_unwind(AssertUnwindSafe(|| append_message(out, id, |out| codec.encode_reply(reply, out))))
            .unwrap_or_else(|_| Err("the codec panicked while it encoded the reply".into()))
    };
    let Err(error) = encode(reply, out) else { return Some(true) };
    add(&counters.errors, 1);
    let failure = catch_unwind(AssertUnwindSafe(|| codec.failure(Failure::Unencodable(&error))));
    failure.ok().filter(|failure| encode(failure, out).is_ok()).map(|_| false)
}
