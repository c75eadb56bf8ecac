//! The one task of a framed connection.

use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::task::coop::unconstrained;
use tokio::time::Instant;
use tokio_util::sync::ReusableBoxFuture;

use super::caller::{Caller, Drain};
use goodbye::Goodbye;

use super::link::{Read, ReadError, RecordLink};
use super::memory::Reserved;
use super::options::Options;
use super::serving::Serve;
use super::shared::Shared;
use crate::error::{Error, ErrorKind};
use crate::io::BoxIo;
use crate::mux::batch::Batcher;
use crate::mux::dispatch::Dispatch;
use crate::mux::framed::{Keepalive, LYING, Received, Reset, Role, Streams, Violation};
use crate::mux::timer::{Alarm, BatchAlarm};
use crate::stats::{BatchOf, add};
use crate::wire::framed::frame::{CloseCode, ResetCode};
use crate::wire::framed::record::RecordDecoder;
use crate::wire::framed::settings::Settings;

mod clock;
mod deliver;
mod dispatch;
mod goodbye;
mod parked;
mod receive;
mod write;

use parked::Parked;

/// Records read in a turn, after which others run.
const RECORDS_PER_TURN: usize = 16;
/// Bytes read at once, at least.
const READ_BUFFER: usize = 16 * 1024;
/// Bytes of heads that do not wait for more.
const RECORD_FULL: usize = 32 * 1024;
/// Frames of a record, and those whom they wake, that there is memory for between records.
const KEPT: usize = 256;
/// How often unread bodies are looked at.
const STALL_CHECK: Duration = Duration::from_secs(1);

/// Drives one framed connection: reads and writes records, watches the clock, runs handlers.
///
/// A future that ends when the connection has: `Ok` after a drain, the cause otherwise. Dropping it ends the connection and
/// fails everything on it.
#[must_use = "nothing moves on the connection until its driver is polled: spawn it"]
pub struct Driver<S> {
    role: Role,
    shared: Arc<Shared>,
    link: RecordLink,
    serve: S,
    /// Where handlers are polled first.
    handler: ReusableBoxFuture<'static, ()>,
    /// Those that did not end then.
    handlers: JoinSet<()>,
    /// Calls that wait to be served.
    parked: Parked,
    options: Options,
    keepalive: Keepalive,
    alarm: Alarm,
    /// Since when nothing has left, though something waits.
    stalled: Option<Instant>,
    stall_check: Instant,
    /// When it is of age.
    retire: Option<Instant>,
    /// Since when no more calls are opened.
    draining: Option<Instant>,
    /// The number of the last call, and since when there has been none.
    idle: (u32, Instant),
    /// When the compression context was last used, if it was since it was given up.
    compressed: Option<Instant>,
    record: Vec<u8>,
    /// Memory for what a record brings, and for those whom it wakes.
    received: Vec<Received>,
    woken: Vec<Waker>,
    /// Calls that were cancelled in the record that brought them.
    cut: Vec<u32>,
    batcher: Batcher,
    batch_alarm: BatchAlarm,
    /// A batch of heads has waited long enough, and is not all in records yet.
    batch_goes: bool,
    /// What the record holds.
    batch: BatchOf,
    /// What ends the connection once it is told to the peer.
    closing: Option<Result<(), Error>>,
    /// The peer is taken for dead: what it does not take at once is not waited for.
    given_up: bool,
    /// It is over but for what is still on its way.
    goodbye: Option<Goodbye>,
    over: bool,
}

impl<S: Serve> Driver<S> {
    /// For a stream on which both hellos were exchanged; a client also gets what makes its calls.
    pub fn new(role: Role, io: BoxIo, options: Options, theirs: Settings, serve: S) -> (Caller, Self) {
        let now = Instant::now();
        let least = Duration::from_millis(theirs.ping_ms.into());
        let (encoder, decoder) = (options.encoder(&theirs), RecordDecoder::new(options.accepts()));
        let mut streams = Streams::new(role, options.settings.clone(), theirs, options.most_window, now);
        streams.bound_queues(options.max_unread.saturating_mul(LYING / 2));
        if options.each_alone {
            streams.keep_apart();
        }
        if role == Role::Server && options.dispatch != Dispatch::Spawn {
            streams.let_calls_pass();
        }
        let shared = Shared::new(streams);
        let batcher = Batcher::new(options.batch_delay, RECORD_FULL);
        let batch_alarm = BatchAlarm::new(options.batch_timer);
        let driver = Self {
            role,
            shared: shared.clone(),
            link: RecordLink::new(io, decoder, encoder, READ_BUFFER, options.counted.0.clone()),
            serve,
            handler: nothing(),
            handlers: JoinSet::new(),
            parked: Parked::default(),
            keepalive: Keepalive::new(options.ping, least, now),
            retire: options.max_age.and_then(|age| now.checked_add(jittered(age))),
            options,
            alarm: Alarm::default(),
            stalled: None,
            stall_check: now + STALL_CHECK,
            draining: None,
            compressed: None,
            record: Vec::new(),
            received: Vec::new(),
            woken: Vec::new(),
            cut: Vec::new(),
            idle: (0, now),
            batcher,
            batch_alarm,
            batch_goes: false,
            batch: BatchOf::default(),
            closing: None,
            given_up: false,
            goodbye: None,
            over: false,
        };
        (Caller::new(shared), driver)
    }

    fn poll_steps(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let now = Instant::now();
            self.shared.awake(now);
            let choked = self.read(cx, now);
            self.forget_ended(cx);
            self.serve_parked(cx);
            let look = self.expire(now);
            let alive = self.keep_alive(now);
            let idle = self.drain_when_idle(now, &look);
            let blocked = match self.write(cx, now) {
                Ok(blocked) => blocked,
                Err(error) => return Poll::Ready(self.peers_reason(cx, now, error)),
            };
            self.forget_ended(cx);
            if self.end_when_done(&look) {
                continue; // To say so.
            }
            if (choked && !self.is_choked()) || self.may_unpark() {
                cx.waker().wake_by_ref(); // Room again: what had to wait goes on next turn.
            }
            if (self.given_up || self.link.is_clear())
                && let Some(outcome) = self.closing.take()
            {
                return Poll::Ready(outcome);
            }
            let stall = self.stalled.map(|since| since + self.options.write_timeout);
            let due = [look.deadline, alive, idle, stall, Some(self.stall_check)].into_iter().flatten().min();
            if self.alarm.poll(cx, due, now).is_pending() {
                self.shared.park(cx.waker(), due, blocked);
                return Poll::Pending;
            }
            if let Err(error) = self.check_clock(Instant::now()) {
                return Poll::Ready(self.closing.take().unwrap_or(Err(error)));
            }
        }
    }

    /// What is written finds nobody: the peer may have said why before it went.
    fn peers_reason(&mut self, cx: &mut Context<'_>, now: Instant, error: Error) -> Result<(), Error> {
        self.read(cx, now);
        self.closing.take().unwrap_or(Err(error))
    }

    // ---- reading ----

    /// Reads what there is; true if it stopped because of replies that nobody reads.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        for _ in 0..RECORDS_PER_TURN {
            if self.closing.is_some() {
                return false;
            }
            if self.is_choked() {
                return true;
            }
            let mut heard = false;
            let read = self.link.poll_record(cx, &mut heard);
            if heard {
                self.keepalive.heard(now);
            }
            match read {
                Poll::Pending => return false,
                Poll::Ready(Ok(Read::Record(record))) => {
                    if let Err(violation) = self.receive(&record, now) {
                        self.close(violation);
                    }
                }
                Poll::Ready(Ok(Read::End { midway })) => self.ended(midway),
                Poll::Ready(Err(ReadError::Record(error))) => {
                    self.close(Violation { code: CloseCode::Compression, text: error.to_string().into() });
                }
                Poll::Ready(Err(ReadError::Io(error))) => {
                    let error = Error::new(ErrorKind::Connection, "the connection broke").with_source(error);
                    self.closing = Some(Err(error));
                }
            }
        }
        cx.waker().wake_by_ref();
        false
    }

    /// Whether the peer of a server leaves so much unread that nothing more is read of it. A client always reads.
    ///
    /// So it is never for bytes that wait for credit: credit has to be read.
    fn is_choked(&self) -> bool {
        let most = self.options.max_unread;
        let choked = || {
            self.shared.unread_heads() > most
                || (self.parked.bytes() > most && self.shared.with(|streams| streams.bodies_can_go()))
        };
        self.role == Role::Server && choked()
    }

    fn ended(&mut self, midway: bool) {
        let open = self.shared.with(|streams| streams.open_calls());
        let message = if midway { "the peer closed in the middle of a record" } else { "the peer closed" };
        let outcome = if open == 0 && !midway { Ok(()) } else { Err(Error::new(ErrorKind::Connection, message)) };
        self.closing = Some(outcome);
    }

    /// Ends the connection for what the peer did, and tells it.
    fn close(&mut self, violation: Violation) {
        let Violation { code, text } = violation;
        let error = Error::new(ErrorKind::Protocol, format!("the peer broke the rules: {text}"));
        self.shared.with(|streams| streams.close(code, text));
        self.closing = Some(Err(error));
    }

    /// What drains or ends it while it runs elsewhere.
    pub fn drain_handle(&self) -> Drain {
        Drain::new(self.shared.clone())
    }

    /// Its contexts' part of a budget, until it ends.
    pub(super) fn hold(&mut self, reserved: Reserved) {
        self.link.hold(reserved);
    }

    fn finish(&mut self, cause: Error) {
        self.over = true;
        let reset = Reset { code: ResetCode::Failed, text: "the connection ended".into(), by_peer: true };
        self.shared.end(cause, &reset);
        self.shared.driver_gone();
        self.handlers.abort_all();
    }
}

/// So that connections that were opened together do not end together: up to a tenth less.
fn jittered(age: Duration) -> Duration {
    age.mul_f64(1.0 - 0.1 * fastrand::f64())
}

fn nothing() -> ReusableBoxFuture<'static, ()> {
    ReusableBoxFuture::new(ready(()))
}

impl<S: Serve> Future for Driver<S> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        // Outside tokio's cooperative budget, which would make a ready handler look pending after the first hundred of a
        // record. So every loop in here has to have a bound of its own.
        if let Some(goodbye) = &mut this.goodbye {
            return goodbye.poll(&mut this.link, cx);
        }
        let mut steps = unconstrained(poll_fn(|cx| this.poll_steps(cx)));
        let Poll::Ready(outcome) = Pin::new(&mut steps).poll(cx) else { return Poll::Pending };
        add(&this.options.counted.0.connection_errors, u64::from(outcome.is_err()));
        let closed = || Error::new(ErrorKind::Closed, "the connection was drained");
        this.finish(outcome.as_ref().err().cloned().unwrap_or_else(closed));
        if this.given_up || !this.link.is_clear() || !this.shared.with(|streams| streams.has_said_close()) {
            // One attempt: a goodbye that TLS can send at once is polite, waiting for it is not needed.
            let _ = this.link.poll_shutdown(cx);
            return Poll::Ready(outcome);
        }
        let patience = this.options.write_timeout;
        let most = if outcome.is_ok() { this.options.drain } else { patience };
        this.goodbye.insert(Goodbye::new(outcome, patience, most)).poll(&mut this.link, cx)
    }
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        if !self.over {
            let cause = Error::new(ErrorKind::Connection, "the connection's driver was dropped or panicked");
            let reset = Reset { code: ResetCode::Failed, text: "the connection ended".into(), by_peer: false };
            self.shared.end(cause, &reset);
            self.shared.driver_gone();
        }
    }
}

impl<S> Unpin for Driver<S> {}
