//! How a framed connection's driver runs handlers: where their calls arrive, in tasks, or one after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::parked::Waiting;
use super::{Driver, nothing};
use crate::mux::dispatch::Dispatch;
use crate::mux::framed::{Key, Role};
use crate::mux::session::body::BodyReader;
use crate::mux::session::held::Held;
use crate::mux::session::shared::drop_quietly;
use crate::mux::session::tag::Serving;
use crate::mux::session::{Incoming, Responder, Serve};
use crate::wire::framed::frame::ResetCode;

/// Calls that waited and are served in a turn, after which others run.
const CALLS_PER_TURN: usize = 256;
/// So many times `max_unread` is what calls may hold that wait; beyond it they are refused. Nothing more is read long before
/// that, where it can be waited for.
const MOST_PARKED: usize = 16;

impl<S: Serve> Driver<S> {
    /// Serves a whole call that came in a record of so many bytes, or has it wait. It becomes a stream only if it cannot be
    /// answered at once.
    pub(super) fn passed(&mut self, id: u32, deadline: Option<Instant>, head: Bytes, body: Bytes, record: usize) {
        if self.cut.binary_search(&id).is_ok() {
            return; // It was cancelled in the same record.
        }
        if !self.parked.is_empty() || !self.may_serve() {
            let key = self.shared.wait(id);
            return self.called(key, deadline, false, head, Some(body), record);
        }
        self.shared.pass(id);
        let responder = Responder::passing(self.shared.clone(), id);
        let call = Incoming { head, body: BodyReader::whole(body), one_way: false, responder };
        if let Some(task) = self.run(call) {
            self.shared.adopt(id, Some(task), deadline);
        } else if !self.shared.has_passed() {
            self.shared.adopt(id, None, deadline); // What answers it is elsewhere.
        }
    }

    /// Serves a call that came in a record of so many bytes, or has it wait.
    pub(super) fn called(
        &mut self,
        key: Key,
        deadline: Option<Instant>,
        one_way: bool,
        head: Bytes,
        body: Option<Bytes>,
        record: usize,
    ) {
        let waits = !self.parked.is_empty() || !self.may_serve();
        let bytes = head.len() + body.as_ref().map_or(0, Bytes::len);
        // What waits does not keep a record that is much larger.
        let apart = waits && bytes < record / 4;
        let (head, body) = if apart { (copied(&head), body.as_ref().map(copied)) } else { (head, body) };
        let held = Held::new(self.shared.clone(), key);
        let body = match body {
            Some(body) => BodyReader::whole(body),
            None => BodyReader::pieces(held.again(), Role::Server),
        };
        let call = Incoming { head, body, one_way, responder: Responder::new(held, one_way) };
        if !waits {
            return self.serve(key, call, deadline);
        }
        if !self.parked.has_room(bytes, self.options.max_unread.saturating_mul(MOST_PARKED)) {
            return call.responder.fail(ResetCode::Refused, "too many calls wait".to_owned());
        }
        let serving = Serving { task: None, deadline, parked: Some(self.parked.next()) };
        self.shared.serving(key, serving);
        self.parked.push(Waiting { key, call, deadline, bytes });
    }

    /// Serves calls that had to wait, as far as they may.
    pub(super) fn serve_parked(&mut self, cx: &mut Context<'_>) {
        for _ in 0..CALLS_PER_TURN {
            if !self.may_unpark() {
                return;
            }
            let Some(Waiting { key, call, deadline, .. }) = self.parked.pop() else { return };
            if !self.shared.with(|streams| streams.is_reset(key)) {
                self.serve(key, call, deadline);
            }
            if self.options.dispatch == Dispatch::Pipeline {
                self.forget_ended(cx);
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Whether a call that waits may be served.
    pub(super) fn may_unpark(&self) -> bool {
        !self.parked.is_empty() && self.may_serve()
    }

    /// Whether a call may be served now: one that runs is enough for a pipeline, and replies have to be read.
    fn may_serve(&self) -> bool {
        let turn = self.options.dispatch != Dispatch::Pipeline || self.handlers.is_empty();
        turn && !self.is_crowded()
    }

    /// Whether the peer leaves so many replies unread that its calls have to wait.
    pub(super) fn is_crowded(&self) -> bool {
        self.shared.unread() > self.options.max_unread
    }

    /// Runs the handler of a call.
    fn serve(&mut self, key: Key, call: Incoming, deadline: Option<Instant>) {
        let one_way = call.one_way;
        // Making the future is a user's code too.
        if self.options.dispatch == Dispatch::Spawn {
            let made = catch_unwind(AssertUnwindSafe(|| self.serve.serve(call)));
            let Ok(handler) = made.map_err(drop_quietly) else { return };
            let task = self.handlers.spawn(handler);
            return self.shared.serving_in(key, task, deadline, one_way);
        }
        if let Some(task) = self.run(call) {
            self.shared.serving_in(key, task, deadline, one_way);
        }
    }

    /// Polls the handler of a call once: most end then, and need no task. The others' is given.
    fn run(&mut self, call: Incoming) -> Option<AbortHandle> {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            self.handler.set(self.serve.serve(call));
            self.handler.poll(&mut Context::from_waker(Waker::noop()))
        }));
        if let Ok(Poll::Ready(())) = polled {
            return None;
        }
        let handler = std::mem::replace(&mut self.handler, nothing());
        match polled {
            Ok(_) => Some(self.handlers.spawn(handler)),
            Err(panic) => {
                drop_quietly(panic);
                drop_quietly(handler);
                None
            }
        }
    }

    /// Forgets handlers that have ended; the end of others wakes this task.
    pub(super) fn forget_ended(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(ended)) = self.handlers.poll_join_next(cx) {
            drop_quietly(ended);
        }
    }
}

fn copied(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
