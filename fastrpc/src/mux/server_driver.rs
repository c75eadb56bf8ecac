//! The one task of a server connection.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::{ReusableBoxFuture, WaitForCancellationFutureOwned};

use super::batch::{Batcher, Flush, Load};
use super::client_driver::{broken, check_undecoded, protocol, timed_out};
use super::frames::Frames;
use super::link::{Fill, Link};
use super::outbox::{ONE_WAY, append_message};
use super::replies::{Replies, Waiting};
use super::timer::{Alarm, BatchAlarm};
use crate::codec::{Codec, Decoded, Failure};
use crate::error::{Error, ErrorKind};
use crate::server::{Call, Dispatch, Handler, Permit, Service};
use crate::stats::add;

/// Reads per turn, after which the driver lets others run.
const READS_PER_TURN: usize = 32;

/// Serves the calls of one connection until it ends.
pub(crate) struct ServerDriver<C: Codec, H> {
    service: Arc<Service<C, H>>,
    peer: Option<std::net::SocketAddr>,
    link: Link,
    frames: Frames<C::Partial>,
    replies: Arc<Replies>,
    tasks: JoinSet<()>,
    /// Where handlers are polled for the first time, without an allocation for each.
    slot: Option<ReusableBoxFuture<'static, C::Reply>>,
    /// The call whose handler runs in `slot`, in pipeline mode.
    pipelined: Option<(u32, Permit)>,
    permit: Option<Permit>,
    batcher: Batcher,
    batch_alarm: BatchAlarm,
    alarm: Alarm,
    shutdown: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    stage: Stage,
    stopping: bool,
    /// The last turn left requests lying because too many replies were unread.
    choked: bool,
    /// Replies in the link's plain buffer.
    inline_replies: usize,
    tally: Tally,
    write_stalled: Option<Instant>,
    last_read: Instant,
    active: Instant,
    was_idle: bool,
    waiting: Waiting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    /// No more requests are read; what has begun is finished.
    Finishing,
    /// All is written; a short wait for the peer's own end, so that it sees our last bytes before a reset.
    Closing {
        until: Instant,
        told: bool,
    },
}

/// Counts of one turn, published once.
#[derive(Default)]
struct Tally {
    calls: u64,
    replies: u64,
}

/// Why the reading side stopped in this turn.
enum Read {
    /// Nothing more has arrived.
    Drained,
    /// A pipelined handler runs, or there is no room for more replies.
    Blocked,
    /// The turn's budget is used up.
    Yielded,
    /// The peer sends no more.
    End,
}

impl<C: Codec, H: Handler<C>> ServerDriver<C, H> {
    pub(crate) fn new(service: Arc<Service<C, H>>, link: Link, peer: Option<std::net::SocketAddr>) -> Self {
        let now = Instant::now();
        let config = service.link();
        let batcher = Batcher::new(config.batch_delay, config.write_buffer);
        let batch_alarm = BatchAlarm::new(config.batch_timer);
        let shutdown = Some(Box::pin(service.shutdown().cancelled_owned()));
        Self {
            service,
            peer,
            link,
            frames: Frames::default(),
            replies: Arc::default(),
            tasks: JoinSet::new(),
            slot: None,
            pipelined: None,
            permit: None,
            batcher,
            batch_alarm,
            alarm: Alarm::default(),
            shutdown,
            stage: Stage::Serving,
            stopping: false,
            choked: false,
            inline_replies: 0,
            tally: Tally::default(),
            write_stalled: None,
            last_read: now,
            active: now,
            was_idle: true,
            waiting: Waiting::default(),
        }
    }

    fn poll_steps(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let now = Instant::now();
            self.poll_pipelined(cx)?;
            self.read(cx, now)?;
            self.publish();
            self.write(cx, now)?;
            self.reap(cx);
            self.note_idleness(now);
            if self.choked && !self.is_choked() {
                cx.waker().wake_by_ref(); // Room again: the requests left lying go on next turn.
            }
            if ready_to_close(self.stage, &self.waiting, &self.link, self.pipelined.is_some()) {
                ready!(self.poll_close(cx, now));
                return Poll::Ready(Ok(()));
            }
            if self.alarm.poll(cx, self.due(), now).is_pending() {
                return Poll::Pending;
            }
            self.check_clock(Instant::now())?;
        }
    }

    // ---- reading ----

    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Error> {
        if self.stage != Stage::Serving {
            return Ok(());
        }
        self.stopping = self.stopping || self.is_shut_down(cx);
        self.choked = false;
        match self.read_turn(cx, now)? {
            Read::Yielded => cx.waker().wake_by_ref(),
            // A request cut off by the end is nobody's; replies to those before it still go out.
            Read::End => self.stage = Stage::Finishing,
            // On shutdown everything that had begun to arrive is served, and nothing more is read.
            Read::Drained if self.stopping && !self.frames.is_midway(&self.link.inbound.plain) => {
                self.stage = Stage::Finishing;
            }
            Read::Drained => {}
            Read::Blocked => self.choked = self.is_choked(),
        }
        Ok(())
    }

    fn read_turn(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Read, Error> {
        let mut budget = self.service.calls_per_turn();
        for _ in 0..READS_PER_TURN {
            match self.serve_decoded(cx, &mut budget)? {
                Some(pause) => return Ok(pause),
                None => check_undecoded(self.link.inbound.plain.len(), self.service.link().max_undecoded)?,
            }
            match self.link.poll_fill(cx, self.service.counters()) {
                Poll::Pending => {
                    self.link.inbound.shrink(self.service.link().read_buffer);
                    return Ok(Read::Drained);
                }
                Poll::Ready(Ok(fill)) => {
                    self.last_read = now;
                    self.active = now;
                    if fill == Fill::End {
                        return Ok(Read::End);
                    }
                }
                Poll::Ready(Err(error)) => return Err(broken(error)),
            }
        }
        Ok(Read::Yielded)
    }

    /// Serves the calls that have arrived whole. `Some` when it has to stop before all of them are served.
    fn serve_decoded(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> Result<Option<Read>, Error> {
        loop {
            if self.pipelined.is_some() || self.is_choked() {
                return Ok(Some(Read::Blocked));
            }
            if *budget == 0 {
                return Ok(Some(Read::Yielded));
            }
            let codec = self.service.codec();
            let next =
                self.frames.next(&mut self.link.inbound.plain, |partial, input| codec.decode_request(partial, input));
            let Some((id, decoded)) = next.map_err(protocol)? else { return Ok(None) };
            *budget -= 1;
            self.tally.calls += 1;
            match decoded {
                Decoded::Message(request) => self.dispatch(cx, id, request)?,
                Decoded::Refused(reply) => self.reply(id, &reply)?,
            }
        }
    }

    /// Whether the peer leaves so many replies unread that it has to wait.
    fn is_choked(&self) -> bool {
        self.link.outbound.backlog() + self.waiting.bytes >= self.service.max_unread()
    }

    fn is_shut_down(&mut self, cx: &mut Context<'_>) -> bool {
        self.shutdown.as_mut().is_some_and(|shutdown| shutdown.as_mut().poll(cx).is_ready())
    }

    fn publish(&mut self) {
        self.permit = None;
        let Tally { calls, replies } = std::mem::take(&mut self.tally);
        add(&self.service.counters().calls, calls);
        add(&self.service.counters().replies, replies);
    }

    // ---- handlers ----

    fn dispatch(&mut self, cx: &mut Context<'_>, id: u32, request: C::Request) -> Result<(), Error> {
        let Some(permit) = self.permit.take().or_else(|| self.service.admit()) else {
            add(&self.service.counters().overloads, 1);
            let reply = self.service.codec().failure(Failure::Overloaded { limit: self.service.concurrency() });
            return self.reply(id, &reply);
        };
        let call = Call::new(request, self.peer, id != ONE_WAY);
        let service = self.service.clone();
        let handler = async move { service.handler().call(call).await };
        if self.service.dispatch() == Dispatch::Spawn {
            self.spawn(id, permit, ReusableBoxFuture::new(handler));
            return Ok(());
        }
        // Setting the slot drops the handler before it, and a user's drop may panic.
        let slot = match self.slot.take() {
            Some(mut slot) => catch_unwind(AssertUnwindSafe(|| slot.set(handler))).map(|()| slot).ok(),
            None => Some(ReusableBoxFuture::new(handler)),
        };
        let Some(slot) = slot else { return self.panicked(id, permit) };
        self.slot = Some(slot);
        let pipeline = self.service.dispatch() == Dispatch::Pipeline;
        // A handler that moves to a task is polled there again at once, so nobody needs to be woken from here.
        let polled =
            if pipeline { self.poll_slot(cx) } else { self.poll_slot(&mut Context::from_waker(Waker::noop())) };
        match polled {
            Poll::Ready(Some(reply)) => {
                self.permit = Some(permit);
                self.tally.replies += 1;
                self.reply(id, &reply)
            }
            Poll::Ready(None) => self.panicked(id, permit),
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

    /// Polls the handler in the slot; `None` when it panicked. Outside tokio's cooperative budget, which would make a
    /// ready handler look pending after the first hundred of a batch; the turn's own budget bounds the count.
    fn poll_slot(&mut self, cx: &mut Context<'_>) -> Poll<Option<C::Reply>> {
        let Some(slot) = &mut self.slot else { return Poll::Ready(None) };
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let mut free = tokio::task::coop::unconstrained(std::future::poll_fn(|cx| slot.poll(cx)));
            Pin::new(&mut free).poll(cx)
        }));
        match polled {
            Ok(Poll::Ready(reply)) => Poll::Ready(Some(reply)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(None),
        }
    }

    fn poll_pipelined(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if self.pipelined.is_none() {
            return Ok(());
        }
        let Poll::Ready(reply) = self.poll_slot(cx) else { return Ok(()) };
        let Some((id, permit)) = self.pipelined.take() else { return Ok(()) };
        match reply {
            Some(reply) => {
                self.tally.replies += 1;
                self.reply(id, &reply)
            }
            None => self.panicked(id, permit),
        }
    }

    fn panicked(&mut self, id: u32, permit: Permit) -> Result<(), Error> {
        drop(permit);
        drop_quietly(self.slot.take());
        add(&self.service.counters().errors, 1);
        let reply = self.service.codec().failure(Failure::Panicked);
        self.reply(id, &reply)
    }

    fn spawn(&mut self, id: u32, permit: Permit, handler: ReusableBoxFuture<'static, C::Reply>) {
        self.replies.handler_started();
        self.tasks.spawn(Handling::run(id, permit, handler, self.service.clone(), self.replies.clone()));
    }

    fn reply(&mut self, id: u32, reply: &C::Reply) -> Result<(), Error> {
        if id == ONE_WAY {
            return Ok(());
        }
        self.inline_replies += 1;
        if self.service.encode_reply(id, reply, &mut self.link.outbound.plain) {
            return Ok(());
        }
        Err(unencodable())
    }

    fn reap(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(_)) = self.tasks.poll_join_next(cx) {}
    }

    // ---- writing ----

    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Error> {
        let mut now = now;
        loop {
            if !self.drain(cx, now)? {
                return Ok(());
            }
            self.waiting = self.replies.look(cx.waker(), 1);
            if self.waiting.broken {
                return Err(unencodable());
            }
            match self.batcher.decide(self.load(), now) {
                Flush::Now => {
                    self.replies.take(&mut self.link.outbound.plain);
                    self.inline_replies = 0;
                    self.batcher.flushed();
                    self.link.outbound.seal(self.service.counters());
                }
                Flush::Yield => {
                    cx.waker().wake_by_ref();
                    return Ok(());
                }
                Flush::At(due) => {
                    if self.batch_alarm.poll(cx, due, now).is_pending() {
                        self.waiting = self.replies.look(cx.waker(), self.room());
                        return Ok(());
                    }
                    now = Instant::now();
                }
                Flush::Idle => return Ok(()),
            }
        }
    }

    /// Replies made inline are complete as a batch when the input is used up; those of tasks may get company.
    fn load(&self) -> Load {
        let bytes = self.link.outbound.plain.len() + self.waiting.bytes;
        let from_tasks = self.waiting.messages > 0;
        let messages = if from_tasks { self.inline_replies + self.waiting.messages } else { 1 };
        Load { bytes, messages, company: from_tasks && self.waiting.running > 0 }
    }

    /// Bytes from tasks that make the batch that forms full.
    fn room(&self) -> usize {
        self.service.link().write_buffer.saturating_sub(self.link.outbound.plain.len()).max(1)
    }

    fn drain(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Error> {
        if self.link.outbound.is_clear() {
            return Ok(true);
        }
        let mut progress = false;
        let drained = self.link.poll_drain(cx, self.service.counters(), &mut progress);
        if progress {
            self.active = now;
        }
        match drained {
            Poll::Ready(Ok(())) => {
                self.write_stalled = None;
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(broken(error)),
            Poll::Pending => {
                self.write_stalled = Some(self.write_stalled.filter(|_| !progress).unwrap_or(now));
                self.waiting = self.replies.look(cx.waker(), usize::MAX);
                Ok(false)
            }
        }
    }

    // ---- clock and end ----

    fn due(&self) -> Option<Instant> {
        let config = self.service.link();
        let stall = self.write_stalled.map(|since| since + config.write_timeout);
        let quiet = match self.stage {
            Stage::Serving if self.is_owed() => Some(self.last_read + config.read_timeout),
            Stage::Serving if self.is_idle() => Some(self.active + config.idle_timeout),
            Stage::Closing { until, .. } => Some(until),
            Stage::Serving | Stage::Finishing => None,
        };
        [stall, quiet].into_iter().flatten().min()
    }

    /// Whether the peer owes us the rest of a request that we would read.
    fn is_owed(&self) -> bool {
        self.pipelined.is_none() && !self.is_choked() && self.frames.is_midway(&self.link.inbound.plain)
    }

    /// Idleness counts from the moment the last thing in progress has ended.
    fn note_idleness(&mut self, now: Instant) {
        let idle = self.is_idle();
        if !idle || !self.was_idle {
            self.active = now;
        }
        self.was_idle = idle;
    }

    fn is_idle(&self) -> bool {
        let written = self.link.outbound.is_clear() && self.link.outbound.backlog() == 0;
        self.waiting.running == 0 && self.pipelined.is_none() && written
    }

    fn check_clock(&mut self, now: Instant) -> Result<(), Error> {
        let config = self.service.link();
        if self.write_stalled.is_some_and(|since| since + config.write_timeout <= now) {
            return Err(timed_out("the peer has not read", config.write_timeout));
        }
        if self.stage != Stage::Serving {
            return Ok(());
        }
        if self.is_owed() && self.last_read + config.read_timeout <= now {
            return Err(timed_out("the peer has not sent the rest of a request", config.read_timeout));
        }
        if self.is_idle() && !self.is_owed() && self.active + config.idle_timeout <= now {
            self.stage = Stage::Finishing;
        }
        Ok(())
    }

    /// Says that nothing more comes, and waits a moment for the peer to say the same.
    fn poll_close(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if !matches!(self.stage, Stage::Closing { .. }) {
            self.stage = Stage::Closing { until: now + self.service.link().write_timeout, told: false };
        }
        let Stage::Closing { until, told } = &mut self.stage else { return Poll::Ready(()) };
        if now >= *until || self.alarm.poll(cx, Some(*until), now).is_ready() {
            return Poll::Ready(());
        }
        if !*told {
            if ready!(self.link.poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            *told = true;
        }
        self.link.poll_discard(cx)
    }
}

fn ready_to_close(stage: Stage, waiting: &Waiting, link: &Link, pipelined: bool) -> bool {
    let all_written = waiting.running == 0 && waiting.bytes == 0 && !pipelined && link.outbound.backlog() == 0;
    stage != Stage::Serving && all_written && link.outbound.is_clear()
}

fn unencodable() -> Error {
    Error::new(ErrorKind::Protocol, "neither a reply nor the failure in its stead could be encoded")
}

impl<C: Codec, H: Handler<C>> Future for ServerDriver<C, H> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_steps(cx)
    }
}

impl<C: Codec, H> Unpin for ServerDriver<C, H> {}

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
        add(if reply.is_some() { &counters.replies } else { &counters.errors }, 1);
        self.permit = None;
        let failure = || catch_unwind(AssertUnwindSafe(|| self.service.codec().failure(Failure::Panicked))).ok();
        let reply = reply.or_else(failure);
        let encode =
            |out: &mut Vec<u8>| reply.as_ref().is_some_and(|reply| self.service.encode_reply(self.id, reply, out));
        let wanted = self.id != ONE_WAY;
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

/// Appends `id` and the reply, or the failure that the codec makes in its stead. False when neither can be encoded.
pub(crate) fn encode_or_fail<C: Codec>(codec: &C, id: u32, reply: &C::Reply, out: &mut Vec<u8>) -> bool {
    let encode = |reply: &C::Reply, out: &mut Vec<u8>| {
        catch_unwind(AssertUnwindSafe(|| append_message(out, id, |out| codec.encode_reply(reply, out))))
            .unwrap_or_else(|_| Err("the codec panicked while it encoded the reply".into()))
    };
    let Err(error) = encode(reply, out) else { return true };
    let failure = catch_unwind(AssertUnwindSafe(|| codec.failure(Failure::Unencodable(&error))));
    failure.is_ok_and(|failure| encode(&failure, out).is_ok())
}
