//! What a framed connection's driver does because time passes.

use tokio::time::Instant;

use super::{Driver, STALL_CHECK};
use crate::error::{Error, ErrorKind, human};
use crate::mux::framed::{Action, Role, Streams};
use crate::mux::session::Serve;
use crate::mux::session::shared::Look;
use crate::wire::framed::frame::CloseCode;

impl<S: Serve> Driver<S> {
    pub(super) fn keep_alive(&mut self, now: Instant) -> Option<Instant> {
        match self.keepalive.decide(now) {
            Action::Wait(until) => until,
            Action::Ping(bytes) => {
                self.shared.with(|streams| streams.ping(bytes));
                Some(now) // Looks again, for the time after that.
            }
            Action::Dead => {
                let silence = human(self.options.ping.unwrap_or_default() * 2);
                let message = format!("nothing was heard from the peer for {silence}");
                self.given_up = true;
                self.shared.with(|streams| streams.close(CloseCode::Silent, message.clone()));
                self.closing.get_or_insert(Err(Error::new(ErrorKind::Connection, message)));
                None
            }
        }
    }

    /// Ends what is late, and looks at what the rest of the turn has to know.
    pub(super) fn expire(&mut self, now: Instant) -> Look {
        let mut unparked = Vec::new();
        let look = self.shared.expire(now, &mut unparked);
        unparked.into_iter().for_each(|number| self.parked.remove(Some(number)));
        if look.ended {
            self.given_up = true;
            self.closing.get_or_insert(Ok(()));
        }
        look
    }

    /// Drains a connection that has had no call for too long; when that will be.
    pub(super) fn drain_when_idle(&mut self, now: Instant, look: &Look) -> Option<Instant> {
        let limit = self.options.idle_timeout?;
        let busy = look.open || !self.handlers.is_empty();
        if busy || look.calls != self.idle.0 {
            self.idle = (look.calls, now);
        }
        if busy || look.draining {
            return None;
        }
        let due = self.idle.1.checked_add(limit)?;
        if now < due {
            return Some(due);
        }
        self.shared.with(Streams::drain);
        None
    }

    pub(super) fn check_clock(&mut self, now: Instant) -> Result<(), Error> {
        if now >= self.stall_check {
            self.stall_check = now + STALL_CHECK;
            if self.retire.take_if(|retire| now >= *retire).is_some() {
                self.shared.with(Streams::drain);
            }
            self.bound_drain(now);
            self.shared.with(|streams| streams.reset_stalled(now, self.options.stall));
            if !self.parked.is_empty() && self.is_crowded() {
                self.shared.with(|streams| streams.reset_unread(now, self.options.stall));
            }
            if self.compressed.take_if(|used| now >= *used + self.options.idle_context).is_some() {
                self.link.end_context();
            }
        }
        let limit = self.options.write_timeout;
        match self.stalled {
            Some(since) if since + limit <= now => {
                let message = format!("the peer has not read for {}", human(limit));
                Err(Error::new(ErrorKind::Connection, message))
            }
            _ => Ok(()),
        }
    }

    /// Ends a connection whose drain takes too long. The last frame names the last call that was taken.
    fn bound_drain(&mut self, now: Instant) {
        if !self.shared.with(|streams| streams.is_draining()) {
            return;
        }
        let limit = self.options.drain;
        if now < *self.draining.get_or_insert(now) + limit || self.closing.is_some() {
            return;
        }
        if self.handlers.is_empty() && self.shared.with(|streams| streams.open_calls()) == 0 {
            // Nothing is lost; the peer does not say that it knows.
            self.shared.with(|streams| streams.close(CloseCode::Done, ""));
            self.closing = Some(Ok(()));
        } else {
            let message = format!("calls went on for {} after the drain", human(limit));
            self.shared.with(|streams| streams.close(CloseCode::Done, message.clone()));
            self.closing = Some(Err(Error::new(ErrorKind::Connection, message)));
        }
    }

    /// A server ends a drained connection when its last call has ended; its client waits for that. True when it is so.
    pub(super) fn end_when_done(&mut self, look: &Look) -> bool {
        if !look.peer_drains || self.closing.is_some() || self.role == Role::Client {
            return false;
        }
        let idle = self.handlers.is_empty();
        let done = self.shared.with(|streams| {
            let done = idle && streams.open_calls() == 0 && !streams.wants_to_send();
            if done {
                streams.close(CloseCode::Done, "");
            }
            done
        });
        if done {
            self.closing = Some(Ok(()));
        }
        done
    }
}
