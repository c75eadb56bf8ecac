//! The one task of a client connection.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::batch::{Batcher, Flush};
use super::conn::{Arrived, Batch, Conn, Status, closed};
use super::drain::Drain;
use super::frames::Frames;
use super::link::{Fill, Link, READS_PER_TURN, is_bad_data};
use super::timer::{Alarm, BatchAlarm};
use crate::codec::{Codec, Decoded};
use crate::config::LinkConfig;
use crate::error::{Error, ErrorKind, human};
use crate::stats::{BatchOf, Open, add};

/// Replies that are handed over together.
const DELIVERY: usize = 256;

/// How long not to look at all deadlines again: 1 ms, or longer where there are very many, within the accuracy promised.
fn sweep_pause(slots: usize) -> Duration {
    Duration::from_micros(slots as u64 / 8).clamp(Duration::from_millis(1), Duration::from_millis(10))
}

/// Opens a connection and hands over its link.
pub(crate) type Opening = Pin<Box<dyn Future<Output = Result<Link, Error>> + Send>>;

/// Drives one client connection: opens it, writes batches, reads replies, watches the clock.
///
/// A future that ends when the connection has: `Ok` after a drain, an idle end or a close from this side, the cause
/// otherwise. Dropping it ends the connection and fails every call that waits on it.
#[must_use = "nothing moves on the connection until its driver is polled: spawn it"]
pub(crate) struct Driver<C: Codec> {
    conn: Arc<Conn<C>>,
    config: LinkConfig,
    opening: Option<Opening>,
    running: Option<Running<C>>,
    alarm: Alarm,
    /// When all deadlines were last looked at, and how long not to do so again.
    swept: Option<(Instant, Duration)>,
    over: bool,
}

struct Running<C: Codec> {
    link: Link,
    frames: Frames<C::Partial>,
    arrivals: Vec<(u32, Arrived<C::Reply>)>,
    wakers: Vec<Waker>,
    batcher: Batcher,
    batch_alarm: BatchAlarm,
    /// What is being written.
    batch: Batch,
    /// The number of the message before which bytes may have left.
    left: u64,
    drain: Drain,
    /// Since when the peer has owed us something and been silent.
    silent_since: Instant,
    /// When anything last moved.
    active: Instant,
    was_waiting: bool,
    was_idle: bool,
    _open: Open,
}

impl<C: Codec> Driver<C> {
    pub(crate) fn new(conn: Arc<Conn<C>>, config: LinkConfig, opening: Opening) -> Self {
        Self { conn, config, opening: Some(opening), running: None, alarm: Alarm::default(), swept: None, over: false }
    }

    /// For a stream that is open already.
    pub(crate) fn opened(conn: Arc<Conn<C>>, config: LinkConfig, link: Link) -> Self {
        let running = Some(Running::new(link, &config, Open::new(conn.counters())));
        Self { conn, config, opening: None, running, alarm: Alarm::default(), swept: None, over: false }
    }

    fn poll_steps(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let now = Instant::now();
            self.open(cx)?;
            self.sweep(now); // Before anything is written: what is late already is not sent.
            if let Some(running) = &mut self.running {
                running.read(cx, &self.conn, &self.config, now)?;
                running.write(cx, &self.conn, &self.config, now)?;
            } else {
                self.conn.blocked(cx.waker());
            }
            let status = self.conn.status();
            if self.is_finished(status) {
                return Poll::Ready(Ok(()));
            }
            let due = self.due(status, now);
            if self.alarm.poll(cx, due, now).is_pending() {
                return Poll::Pending;
            }
            self.check_clock(status, Instant::now())?;
        }
    }

    fn open(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let Some(opening) = &mut self.opening else { return Ok(()) };
        // Dialling is a user's code.
        let opened = catch_unwind(AssertUnwindSafe(|| opening.as_mut().poll(cx))).unwrap_or_else(|_| {
            Poll::Ready(Err(Error::new(ErrorKind::Connect, "the dialer panicked").with_retry(true)))
        });
        if let Poll::Ready(link) = opened {
            self.opening = None;
            self.running = Some(Running::new(link?, &self.config, Open::new(self.conn.counters())));
        }
        Ok(())
    }

    /// Whether nothing is left to do: closed, or drained to the last byte.
    fn is_finished(&mut self, status: Status) -> bool {
        if status.ended {
            return true;
        }
        let written = self.running.as_ref().is_none_or(|running| running.link.outbound.is_clear());
        status.draining && written && self.conn.end_if_quiet()
    }

    /// When to look at the clock again.
    fn due(&mut self, status: Status, now: Instant) -> Option<Instant> {
        let rested = self.swept.map(|(swept, pause)| swept + pause);
        let deadline = status.next_deadline.map(|next| rested.map_or(next, |rested| next.max(rested)));
        let Some(running) = &mut self.running else { return deadline };
        let stall = running.drain.due(self.config.write_timeout);
        let quiet = running.quiet_limit(status, &self.config, now);
        [deadline, stall, quiet].into_iter().flatten().min()
    }

    /// Ends the calls whose deadline has come. Looks at all of them, so not more often than the promised accuracy needs, but
    /// always before something is sent.
    fn sweep(&mut self, now: Instant) {
        let rested = self.swept.is_none_or(|(swept, pause)| now >= swept + pause);
        if let Some(slots) = self.conn.expire(now, rested) {
            self.swept = Some((now, sweep_pause(slots)));
        }
    }

    /// Some limit has come: finds which, and acts.
    fn check_clock(&mut self, status: Status, now: Instant) -> Result<(), Error> {
        self.sweep(now);
        let Some(running) = &self.running else { return Ok(()) };
        running.drain.check(self.config.write_timeout, now)?;
        if status.waiting > 0 && running.silent_since + self.config.read_timeout <= now {
            return Err(timed_out("the peer has not answered", self.config.read_timeout));
        }
        if running.is_idle(status) && running.active + self.config.idle_timeout <= now {
            self.conn.end_if_quiet();
        }
        Ok(())
    }

    fn finish(&mut self, cause: Error) {
        let left = self.running.as_ref().map_or(0, |running| running.left);
        if let Some(running) = &mut self.running {
            self.conn.written(std::mem::take(&mut running.batch));
        }
        self.over = true;
        self.conn.end(cause.with_peer(self.conn.peer().clone()), left, false);
    }
}

impl<C: Codec> Future for Driver<C> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Poll::Ready(outcome) = this.poll_steps(cx) else { return Poll::Pending };
        match &outcome {
            Ok(()) => this.finish(closed()),
            Err(error) => {
                let opened = this.running.is_some();
                let counters = this.conn.counters();
                add(if opened { &counters.connection_errors } else { &counters.connect_errors }, 1);
                this.finish(error.clone());
            }
        }
        if let Some(running) = &mut this.running {
            // One attempt: a goodbye that TLS can send at once is polite, waiting for it is not needed.
            let _ = running.link.poll_shutdown(cx);
        }
        this.running = None;
        Poll::Ready(outcome)
    }
}

impl<C: Codec> Drop for Driver<C> {
    fn drop(&mut self) {
        if !self.over {
            self.finish(Error::new(ErrorKind::Connection, "the connection's driver was dropped or panicked"));
        }
    }
}

impl<C: Codec> Unpin for Driver<C> {}

impl<C: Codec> Running<C> {
    fn new(link: Link, config: &LinkConfig, open: Open) -> Self {
        let now = Instant::now();
        Self {
            link,
            frames: Frames::default(),
            arrivals: Vec::new(),
            wakers: Vec::new(),
            batcher: Batcher::new(config.batch_delay, config.write_buffer),
            batch_alarm: BatchAlarm::new(config.batch_timer),
            batch: Batch::default(),
            left: 0,
            drain: Drain::default(),
            silent_since: now,
            active: now,
            was_waiting: false,
            was_idle: true,
            _open: open,
        }
    }

    /// Reads while there is something to read, whatever the state of writing.
    fn read(&mut self, cx: &mut Context<'_>, conn: &Conn<C>, config: &LinkConfig, now: Instant) -> Result<(), Error> {
        for _ in 0..READS_PER_TURN {
            let fill = self.link.poll_fill(cx, conn.counters());
            if fill.is_ready() && !matches!(fill, Poll::Ready(Ok(Fill::Nothing))) {
                self.silent_since = now;
                self.active = now;
            }
            match fill {
                Poll::Pending => {
                    self.link.inbound.shrink(config.read_buffer);
                    return Ok(());
                }
                Poll::Ready(Ok(Fill::Nothing)) => {}
                Poll::Ready(Ok(Fill::More)) => self.decode(conn, config)?,
                Poll::Ready(Ok(Fill::End)) => return self.ended(conn),
                Poll::Ready(Err(error)) => return Err(broken(error)),
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn decode(&mut self, conn: &Conn<C>, config: &LinkConfig) -> Result<(), Error> {
        let input = &mut self.link.inbound.plain;
        let decoded = loop {
            match self.frames.next(input, |partial, input| conn.codec().decode_reply(partial, input)) {
                Ok(Some((id, Decoded::Message(reply)))) => self.arrivals.push((id, Ok(reply))),
                Ok(Some((id, Decoded::Refused(error)))) => self.arrivals.push((id, Err(error))),
                Ok(None) => break Ok(()),
                Err(error) => break Err(protocol(error)),
            }
            if self.arrivals.len() >= DELIVERY {
                conn.deliver(&mut self.arrivals, &mut self.wakers);
            }
        };
        conn.deliver(&mut self.arrivals, &mut self.wakers);
        decoded?;
        check_undecoded(self.link.inbound.plain.len(), config.max_undecoded)
    }

    /// The peer closed. That is how an idle connection ends, and nothing is wrong with it.
    fn ended(&self, conn: &Conn<C>) -> Result<(), Error> {
        let midway = self.frames.is_midway(&self.link.inbound.plain);
        if !midway && self.link.outbound.is_clear() && conn.end_if_quiet() {
            return Ok(());
        }
        let message = if midway { "the peer closed in the middle of a reply" } else { "the peer closed" };
        Err(Error::new(ErrorKind::Connection, message))
    }

    /// Writes while there is something to write and the peer takes it.
    fn write(&mut self, cx: &mut Context<'_>, conn: &Conn<C>, config: &LinkConfig, now: Instant) -> Result<(), Error> {
        let mut now = now;
        loop {
            if !self.drain(cx, conn, now)? {
                conn.blocked(cx.waker());
                return Ok(());
            }
            let batch = &mut self.link.outbound.plain;
            let (flush, taken) = conn.next_batch(&mut self.batcher, batch, cx.waker(), config.write_buffer, now);
            match flush {
                Flush::Now => {
                    self.batch = taken;
                    let of = BatchOf { messages: taken.messages(), waited: self.batcher.take_wait() };
                    self.link.outbound.seal(conn.counters(), of);
                }
                Flush::Yield => {
                    cx.waker().wake_by_ref();
                    return Ok(());
                }
                Flush::At(due) => {
                    if self.batch_alarm.poll(cx, due, now).is_pending() {
                        return Ok(());
                    }
                    now = Instant::now();
                }
                Flush::Idle => {
                    conn.shrink(config.write_buffer * 4);
                    return Ok(());
                }
            }
        }
    }

    /// Writes the sealed batch; tells whether all of it is out.
    fn drain(&mut self, cx: &mut Context<'_>, conn: &Conn<C>, now: Instant) -> Result<bool, Error> {
        let drained = self.drain.poll(&mut self.link, cx, conn.counters(), now)?;
        if drained.progress {
            self.left = self.batch.end;
            self.active = now;
        }
        if drained.clear {
            conn.written(std::mem::take(&mut self.batch));
        }
        Ok(drained.clear)
    }

    /// When the silence, or the idleness, has lasted long enough.
    fn quiet_limit(&mut self, status: Status, config: &LinkConfig, now: Instant) -> Option<Instant> {
        let waiting = status.waiting > 0;
        if waiting && !self.was_waiting {
            self.silent_since = now;
        }
        self.was_waiting = waiting;
        let idle = self.is_idle(status);
        if idle && !self.was_idle {
            self.active = now;
        }
        self.was_idle = idle;
        match (waiting, idle) {
            (true, _) => Some(self.silent_since + config.read_timeout),
            (_, true) => Some(self.active + config.idle_timeout),
            _ => None, // Sending; that has its own limit.
        }
    }

    /// Whether nothing is in progress, sending included.
    fn is_idle(&self, status: Status) -> bool {
        status.waiting == 0 && status.unsent == 0 && self.link.outbound.is_clear()
    }
}

/// Bounds what the codec left lying.
pub(crate) fn check_undecoded(bytes: usize, limit: usize) -> Result<(), Error> {
    if bytes <= limit {
        return Ok(());
    }
    let message = format!("{bytes} bytes came without completing a message; max_undecoded is {limit}");
    Err(Error::new(ErrorKind::Protocol, message))
}

pub(crate) fn protocol(source: crate::codec::BoxError) -> Error {
    Error::new(ErrorKind::Protocol, "the peer sent bytes that are no message").with_source(source)
}

pub(crate) fn broken(error: io::Error) -> Error {
    if is_bad_data(&error) {
        return Error::new(ErrorKind::Protocol, "the peer's compressed stream is damaged").with_source(error);
    }
    Error::new(ErrorKind::Connection, "the connection broke").with_source(error)
}

pub(crate) fn timed_out(what: &str, limit: Duration) -> Error {
    Error::new(ErrorKind::Connection, format!("{what} for {}", human(limit)))
}
