//! The handlers of one server connection: polled where their calls are decoded, or in tasks.

use std::future::Future;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::task::JoinSet;

use super::dispatch::Dispatch;
use super::outbox::{ONE_WAY, append_message};
use super::replies::Replies;
use crate::codec::{Codec, Failure};
use crate::error::{Error, ErrorKind};
use crate::server::{Call, Handler, Permit, Service};
use crate::stats::{Counters, add};

mod slot;
mod task;

use slot::Slot;
use task::Handling;

/// Runs handlers, and appends the replies that are ready at once to the batch that forms. `M` makes the future `F` of a
/// call, whose type has no name.
pub(crate) struct Handlers<C: Codec, H, M, F> {
    service: Arc<Service<C, H>>,
    make: M,
    peer: Option<SocketAddr>,
    replies: Arc<Replies>,
    tasks: JoinSet<()>,
    slot: Slot<F>,
    /// The call whose handler runs in `slot`, in pipeline mode.
    pipelined: Option<(u32, Permit)>,
    /// Kept over the handlers of one turn that end at once.
    permit: Option<Permit>,
    /// Replies appended since the last batch was taken.
    pub(crate) inline_replies: usize,
    tally: Tally,
}

/// Counts of one turn, published once.
#[derive(Default)]
struct Tally {
    calls: u64,
    replies: u64,
}

impl<C, H, M, F> Handlers<C, H, M, F>
where
    C: Codec,
    H: Handler<C>,
    M: Fn(Arc<Service<C, H>>, Call<C::Request>) -> F,
    F: Future<Output = C::Reply> + Send + 'static,
{
    pub(crate) fn new(service: Arc<Service<C, H>>, make: M, replies: Arc<Replies>, peer: Option<SocketAddr>) -> Self {
        Self {
            service,
            make,
            peer,
            replies,
            tasks: JoinSet::new(),
            slot: Slot::new(),
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
        // Making the future is a user's code too.
        let make = || (self.make)(self.service.clone(), call);
        let Ok(handler) = catch_unwind(AssertUnwindSafe(make)) else { return self.panicked(id, permit, out) };
        if self.service.dispatch() == Dispatch::Spawn {
            self.spawn(id, permit, Box::pin(Some(handler)));
            return Ok(());
        }
        self.slot.set(handler);
        let pipeline = self.service.dispatch() == Dispatch::Pipeline;
        // A handler that moves to a task is polled there again at once, so nobody needs to be woken from here.
        let polled = if pipeline {
            self.poll_slot(cx, id, out)
        } else {
            self.poll_slot(&mut Context::from_waker(Waker::noop()), id, out)
        };
        match polled {
            Poll::Ready(Some(encoded)) => {
                self.permit = Some(permit);
                self.answered(id, encoded)
            }
            Poll::Ready(None) => self.panicked(id, permit, out),
            Poll::Pending if pipeline => {
                self.pipelined = Some((id, permit));
                Ok(())
            }
            Poll::Pending => {
                let handler = self.slot.take();
                self.spawn(id, permit, handler);
                Ok(())
            }
        }
    }

    /// Answers a call that its codec has refused.
    pub(crate) fn decline(&mut self, id: u32, reply: &C::Reply, out: &mut Vec<u8>) -> Result<(), Error> {
        self.tally.calls += 1;
        self.service.handler().refused(reply, self.peer);
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
            Some(encoded) => self.answered(id, encoded),
            None => self.panicked(id, permit, out),
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

    /// Polls the handler in the slot, and appends its reply right where it lies: whether it was encoded (true), or the
    /// failure in its stead (false), or neither. `None`: the handler panicked.
    #[inline]
    fn poll_slot(&mut self, cx: &mut Context<'_>, id: u32, out: &mut Vec<u8>) -> Poll<Option<Option<bool>>> {
        let service = &self.service;
        let append = |reply: &C::Reply| if id == ONE_WAY { Some(true) } else { service.encode_reply(id, reply, out) };
        self.slot.poll(cx, append)
    }

    fn spawn(&mut self, id: u32, permit: Permit, handler: Pin<Box<Option<F>>>) {
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

impl<C: Codec, H, M, F> Unpin for Handlers<C, H, M, F> {}

/// Why a connection ends whose replies cannot be written.
pub(crate) fn unencodable() -> Error {
    Error::new(ErrorKind::Protocol, "neither a reply nor the failure in its stead could be encoded")
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
