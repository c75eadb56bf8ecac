//! The one task of a server connection.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::batch::{Batcher, Flush, Load, Wave};
use super::client_driver::{broken, check_undecoded, protocol, timed_out};
use super::drain::Drain;
use super::frames::Frames;
use super::handlers::{Handlers, unencodable};
use super::link::{Fill, Link, READS_PER_TURN};
use super::replies::{Replies, Waiting};
use super::timer::{Alarm, BatchAlarm};
use crate::codec::{Codec, Decoded};
use crate::error::{Error, ErrorKind};
use crate::server::{Call, Handler, Service};
use crate::stats::BatchOf;

/// Serves the calls of one connection until it ends.
pub(crate) struct ServerDriver<C: Codec, H, M, F> {
    service: Arc<Service<C, H>>,
    link: Link,
    frames: Frames<C::Partial>,
    handlers: Handlers<C, H, M, F>,
    replies: Arc<Replies>,
    batcher: Batcher,
    batch_alarm: BatchAlarm,
    alarm: Alarm,
    shutdown: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    stage: Stage,
    /// The last turn left requests lying because too many replies were unread.
    choked: bool,
    drain: Drain,
    last_read: Instant,
    active: Instant,
    was_idle: bool,
    waiting: Waiting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Calls are served.
    Serving,
    /// The server shuts down: what had arrived is served, as far as one turn's worth of calls.
    Stopping { left: usize },
    /// It has been served. What has begun is finished, and calls that come meanwhile are declined.
    Declining,
    /// The peer sends no more; what has begun is finished.
    Finishing,
    /// All is written; a short wait for the peer's own end, so that it sees our last bytes before a reset.
    Closing { until: Instant, told: bool },
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

impl<C, H, M, F> ServerDriver<C, H, M, F>
where
    C: Codec,
    H: Handler<C>,
    M: Fn(Arc<Service<C, H>>, Call<C::Request>) -> F,
    F: Future<Output = C::Reply> + Send + 'static,
{
    /// `make` makes the future of a call.
    pub(crate) fn new(service: Arc<Service<C, H>>, make: M, link: Link, peer: Option<SocketAddr>) -> Self {
        let now = Instant::now();
        let config = service.link();
        let batcher = Batcher::new(config.batch_delay, config.write_buffer);
        let batch_alarm = BatchAlarm::new(config.batch_timer);
        let shutdown = Some(Box::pin(service.shutdown().cancelled_owned()));
        let replies = Arc::<Replies>::default();
        Self {
            handlers: Handlers::new(service.clone(), make, replies.clone(), peer),
            service,
            link,
            frames: Frames::default(),
            replies,
            batcher,
            batch_alarm,
            alarm: Alarm::default(),
            shutdown,
            stage: Stage::Serving,
            choked: false,
            drain: Drain::default(),
            last_read: now,
            active: now,
            was_idle: true,
            waiting: Waiting::default(),
        }
    }

    fn poll_steps(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let now = Instant::now();
            self.handlers.poll_pipelined(cx, &mut self.link.outbound.plain)?;
            self.read(cx, now)?;
            self.handlers.end_turn();
            self.write(cx, now)?;
            self.note_idleness(now);
            if self.choked && !self.is_choked() {
                cx.waker().wake_by_ref(); // Room again: the requests left lying go on next turn.
            }
            if self.is_done() {
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
        if matches!(self.stage, Stage::Finishing | Stage::Closing { .. }) {
            return Ok(());
        }
        if self.stage == Stage::Serving && self.is_shut_down(cx) {
            self.stage = Stage::Stopping { left: self.service.calls_per_turn() };
        }
        self.choked = false;
        match self.read_turn(cx, now)? {
            Read::Yielded => cx.waker().wake_by_ref(),
            // A request cut off by the end is nobody's; replies to those before it still go out.
            Read::End => self.stage = Stage::Finishing,
            Read::Drained if matches!(self.stage, Stage::Stopping { .. }) && !self.is_midway() => {
                self.stage = Stage::Declining;
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
                Poll::Ready(Ok(Fill::Nothing)) => {}
                Poll::Ready(Ok(Fill::More)) => {
                    self.last_read = now;
                    self.active = now;
                }
                Poll::Ready(Ok(Fill::End)) => return Ok(Read::End),
                Poll::Ready(Err(error)) => return Err(broken(error)),
            }
        }
        Ok(Read::Yielded)
    }

    /// Serves the calls that have arrived whole. `Some` when it has to stop before all of them are served.
    fn serve_decoded(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> Result<Option<Read>, Error> {
        loop {
            if self.handlers.is_pipelining() || self.is_choked() {
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
            self.count_down();
            let out = &mut self.link.outbound.plain;
            match decoded {
                Decoded::Message(_) if self.stage == Stage::Declining => self.handlers.decline_draining(id, out)?,
                Decoded::Message(request) => self.handlers.dispatch(cx, id, request, out)?,
                Decoded::Refused(reply) => self.handlers.decline(id, &reply, out)?,
            }
        }
    }

    /// A peer that never pauses does not put the shutdown off.
    fn count_down(&mut self) {
        if let Stage::Stopping { left } = &mut self.stage {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.stage = Stage::Declining;
            }
        }
    }

    /// Whether the peer leaves so many replies unread that it has to wait.
    fn is_choked(&self) -> bool {
        self.link.outbound.backlog() + self.waiting.bytes >= self.service.max_unread()
    }

    /// Bytes of unread replies that end the connection: handlers that ran already when it was choked have added to them.
    fn most_unread(&self) -> usize {
        self.service.max_unread().saturating_mul(256)
    }

    fn is_shut_down(&mut self, cx: &mut Context<'_>) -> bool {
        self.shutdown.as_mut().is_some_and(|shutdown| shutdown.as_mut().poll(cx).is_ready())
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
                    let messages = self.handlers.inline_replies + self.waiting.messages;
                    self.replies.take(&mut self.link.outbound.plain);
                    self.handlers.inline_replies = 0;
                    self.batcher.flushed();
                    let of = BatchOf { messages, waited: self.batcher.take_wait() };
                    self.link.outbound.seal(self.service.counters(), of);
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
        let messages = if from_tasks { self.handlers.inline_replies + self.waiting.messages } else { 1 };
        Load { bytes, messages, company: from_tasks && self.waiting.running > 0, wave: Wave::default() }
    }

    /// Bytes from tasks that make the batch that forms full.
    fn room(&self) -> usize {
        self.service.link().write_buffer.saturating_sub(self.link.outbound.plain.len()).max(1)
    }

    fn drain(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Error> {
        let drained = self.drain.poll(&mut self.link, cx, self.service.counters(), now)?;
        if drained.progress {
            self.active = now;
        }
        if drained.blocked {
            self.waiting = self.replies.look(cx.waker(), self.most_unread());
            if self.link.outbound.backlog() + self.waiting.bytes > self.most_unread() {
                return Err(unread(self.most_unread()));
            }
        }
        Ok(drained.clear)
    }

    // ---- clock and end ----

    fn due(&self) -> Option<Instant> {
        let config = self.service.link();
        let stall = self.drain.due(config.write_timeout);
        let quiet = match self.stage {
            Stage::Serving | Stage::Stopping { .. } if self.is_owed() => Some(self.last_read + config.read_timeout),
            Stage::Serving if self.is_idle() => Some(self.active + config.idle_timeout),
            Stage::Closing { until, .. } => Some(until),
            Stage::Serving | Stage::Stopping { .. } | Stage::Declining | Stage::Finishing => None,
        };
        [stall, quiet].into_iter().flatten().min()
    }

    /// Whether the peer owes us the rest of a request that we would read.
    fn is_owed(&self) -> bool {
        !self.handlers.is_pipelining() && !self.is_choked() && self.is_midway()
    }

    fn is_midway(&self) -> bool {
        self.frames.is_midway(&self.link.inbound.plain)
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
        self.waiting.running == 0 && !self.handlers.is_pipelining() && written
    }

    fn check_clock(&mut self, now: Instant) -> Result<(), Error> {
        let config = self.service.link();
        self.drain.check(config.write_timeout, now)?;
        if !matches!(self.stage, Stage::Serving | Stage::Stopping { .. }) {
            return Ok(());
        }
        if self.is_owed() && self.last_read + config.read_timeout <= now {
            let why = timed_out("the peer has not sent the rest of a request", config.read_timeout);
            return Err(why.unfinished());
        }
        if self.is_idle() && !self.is_owed() && self.active + config.idle_timeout <= now {
            self.stage = Stage::Finishing;
        }
        Ok(())
    }

    /// Whether the connection serves no more and everything is written.
    fn is_done(&self) -> bool {
        !matches!(self.stage, Stage::Serving | Stage::Stopping { .. }) && self.waiting.bytes == 0 && self.is_idle()
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

fn unread(most: usize) -> Error {
    Error::new(ErrorKind::Connection, format!("the peer has left more than {most} bytes of replies unread"))
}

impl<C, H, M, F> Future for ServerDriver<C, H, M, F>
where
    C: Codec,
    H: Handler<C>,
    M: Fn(Arc<Service<C, H>>, Call<C::Request>) -> F,
    F: Future<Output = C::Reply> + Send + 'static,
{
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        // Outside tokio's cooperative budget, which would make a ready handler look pending after the first hundred of a
        // batch. So every loop in here has to have a bound of its own.
        let mut steps = tokio::task::coop::unconstrained(std::future::poll_fn(|cx| this.poll_steps(cx)));
        Pin::new(&mut steps).poll(cx)
    }
}

impl<C: Codec, H, M, F> Unpin for ServerDriver<C, H, M, F> {}
