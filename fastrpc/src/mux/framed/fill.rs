//! What goes into the next record: control, then heads and the small messages that go with them, then bodies in turn, which
//! keep at least a quarter of the bytes.

use bytes::Bytes;
use tokio::time::Instant;

use super::outbox::HeadKind;
use super::stream::Reset;
use super::streams::{PIECE, Role, Streams};
use super::table::Key;
use crate::wire::framed::frame::{self, MAX_FRAME, MAX_TEXT, ResetCode};

/// Bytes of heads that may go ahead of a piece of a body that waits: it is a quarter of both.
const AHEAD: usize = 3 * PIECE;
/// Room for the longest control frame.
const CONTROL: usize = 32 + MAX_TEXT;
/// Room for what comes before a piece of a body, at most.
const BEGINNING: usize = 16;
/// A piece that would be shorter than this for want of room waits for the next record.
const LEAST: usize = 1024;

/// What a record was filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// Nothing waits that may be sent.
    Nothing,
    /// Frames to compress.
    Frames,
    /// Bodies that do not compress.
    Raw,
    /// Control alone, which goes as it is.
    Control,
}

impl<T> Streams<T> {
    /// Puts the frames that go next into `record`, which is empty: [`MAX_FRAME`] bytes at the most.
    ///
    /// [`MAX_FRAME`]: crate::wire::framed::frame::MAX_FRAME
    pub fn fill(&mut self, record: &mut Vec<u8>, now: Instant) -> Filled {
        if self.said_close {
            return Filled::Nothing;
        }
        if std::mem::take(&mut self.raw_next) && self.put_raw_bodies(record) {
            return Filled::Raw;
        }
        self.put_control(record, now);
        if self.each_alone && !record.is_empty() {
            return Filled::Control;
        }
        let control = record.len();
        while !self.said_close && self.put_next(record) && (!self.each_alone || record.len() == control) {}
        if record.len() > control {
            return Filled::Frames;
        }
        if control > 0 {
            return Filled::Control; // A few bytes without a pattern: they need not wake an idle context.
        }
        if std::mem::take(&mut self.raw_next) && self.put_raw_bodies(record) { Filled::Raw } else { Filled::Nothing }
    }

    fn put_next(&mut self, record: &mut Vec<u8>) -> bool {
        let body_first = self.ahead_of_bodies >= AHEAD;
        (body_first && self.put_body(record, false))
            || self.put_head(record)
            || self.put_end(record)
            || self.put_body(record, false)
    }

    // ---- control ----

    fn put_control(&mut self, record: &mut Vec<u8>, now: Instant) {
        if let Some((code, text)) = self.control.close.take() {
            let last = if self.role == Role::Server { self.last } else { 0 };
            frame::put_close(record, code, last, &text);
            self.said_close = true;
            return;
        }
        if let Some(bytes) = self.control.pong.take() {
            frame::put_pong(record, bytes);
        }
        if let Some(bytes) = self.control.ping.take() {
            frame::put_ping(record, bytes);
        }
        if self.window.is_due() {
            let granted = self.window.grant(now, self.round_trip, self.most_window);
            put_credit(record, 0, granted);
        }
        while record.len() + CONTROL <= MAX_FRAME
            && let Some(key) = self.control.credits.pop_front()
        {
            self.put_stream_credit(record, key, now);
        }
        while record.len() + CONTROL <= MAX_FRAME
            && let Some((id, code, text)) = self.control.resets.pop_front()
        {
            frame::put_reset(record, id, code, &text);
        }
        // A client's drain goes behind its last call.
        if self.control.drain && (self.role == Role::Server || self.heads.is_empty()) {
            self.control.drain = false;
            self.said_drain = true;
            frame::put_drain(record);
        }
    }

    /// A stream's window is an eighth of the connection's at the most: when it grows, so does that one.
    fn put_stream_credit(&mut self, record: &mut Vec<u8>, key: Key, now: Instant) {
        let Some(stream) = self.table.get_mut(key).filter(|stream| !stream.got_end) else { return };
        let Some(incoming) = &mut stream.incoming else { return };
        incoming.credit_due = false;
        if incoming.window.is_due() {
            let granted = incoming.window.grant(now, self.round_trip, self.most_window / 8);
            self.window.grow_to(incoming.window.target().saturating_mul(8).min(self.most_window));
            put_credit(record, stream.id, granted);
        }
    }

    // ---- heads ----

    fn put_head(&mut self, record: &mut Vec<u8>) -> bool {
        let Some(head) = self.heads.front().filter(|_| self.heads_wait == 0) else { return false };
        if head.kind == HeadKind::Alone {
            return self.put_alone(record);
        }
        let Some(stream) = self.table.get_mut(head.key).filter(|stream| !stream.is_over()) else {
            self.heads.pop(None); // It was taken back.
            return true;
        };
        let length = head.length as usize;
        if record.len() + length > MAX_FRAME {
            return false;
        }
        self.heads.pop(Some(record));
        self.ahead_of_bodies = if self.bodies.is_empty() { 0 } else { self.ahead_of_bodies + length };
        stream.heads -= head.length;
        let end = match head.kind {
            HeadKind::Interim | HeadKind::Alone => return true,
            HeadKind::Reply { end } => end,
            HeadKind::Call { end } => {
                // It is being sent: it gets the next id.
                self.last += 1;
                stream.id = self.last;
                self.table.name(self.last, head.key);
                end
            }
        };
        let Some(stream) = self.table.get_mut(head.key) else { return true };
        stream.head_sent = true;
        if let Some(outgoing) = &mut stream.outgoing {
            self.ready.take(outgoing);
            self.wakers.extend(outgoing.waker.take());
        }
        if end {
            self.sent_end(head.key);
        } else {
            self.schedule(head.key);
        }
        true
    }

    /// Puts whole replies of which nothing else is kept, until a body is due.
    fn put_alone(&mut self, record: &mut Vec<u8>) -> bool {
        let enough = match (self.each_alone, self.bodies.is_empty()) {
            (true, _) => 0,
            (false, true) => MAX_FRAME,
            (false, false) => AHEAD.saturating_sub(self.ahead_of_bodies),
        };
        let room = MAX_FRAME.saturating_sub(record.len());
        let (count, bytes) = self.heads.pop_alone(record, enough, room);
        self.ahead_of_bodies = if self.bodies.is_empty() { 0 } else { self.ahead_of_bodies + bytes };
        self.open = self.open.saturating_sub(count as usize);
        self.floods.honest(count);
        count > 0
    }

    // ---- bodies ----

    /// Puts pieces of bodies that do not compress; a record holds nothing else then.
    fn put_raw_bodies(&mut self, record: &mut Vec<u8>) -> bool {
        while self.put_body(record, true) {}
        !record.is_empty()
    }

    /// Puts a piece of the body whose turn it is, if that may go into a record of this kind.
    fn put_body(&mut self, record: &mut Vec<u8>, raw: bool) -> bool {
        let room = MAX_FRAME.saturating_sub(record.len() + BEGINNING);
        while let Some(&key) = self.bodies.front() {
            let Some(stream) = self.table.get_mut(key) else {
                self.bodies.pop_front();
                continue;
            };
            let Some(outgoing) = &mut stream.outgoing else {
                self.bodies.pop_front();
                continue;
            };
            let open = self.reserve.usable(self.credit.available(), outgoing);
            if open == 0 && self.credit.available() > 0 {
                self.bodies.pop_front();
                self.hold_back(key);
                continue;
            }
            if outgoing.raw != raw {
                self.raw_next |= !raw;
                return false;
            }
            let wanted = PIECE.min(outgoing.queued).min(stream.credit.available()).min(open);
            if wanted == 0 || room < wanted.min(LEAST) {
                return false;
            }
            self.bodies.pop_front();
            let piece = wanted.min(room);
            stream.credit.take(piece);
            self.credit.take(piece);
            self.queued -= piece;
            self.ready.take(outgoing); // What is left of it may wait for credit now.
            let id = stream.id;
            let end = outgoing.queued == piece && matches!(outgoing.end, Some(None));
            frame::put_data(record, id, outgoing.front(piece), end).expect("a piece fits a record");
            outgoing.consume(piece, &mut self.spent);
            debug_assert!(id > 0, "a body follows its head");
            if outgoing.queued < PIECE {
                self.wakers.extend(outgoing.waker.take());
            }
            outgoing.scheduled = false;
            outgoing.stuck_since = None;
            self.ahead_of_bodies = self.ahead_of_bodies.saturating_sub(3 * piece);
            if end {
                self.sent_end(key);
            } else {
                self.schedule(key);
            }
            return true;
        }
        false
    }

    /// Puts the end of a body whose bytes are all sent.
    fn put_end(&mut self, record: &mut Vec<u8>) -> bool {
        while let Some(&key) = self.ends.front() {
            let stream = self.table.get_mut(key);
            let ending = stream.and_then(|stream| Some((stream.id, stream.outgoing.as_mut()?.end.as_mut()?)));
            let Some((id, trailers)) = ending else {
                self.ends.pop_front();
                continue;
            };
            if record.len() + BEGINNING + trailers.as_ref().map_or(0, Bytes::len) > MAX_FRAME {
                return false;
            }
            self.ends.pop_front();
            let put = match trailers {
                Some(trailers) => frame::put_trailers(record, id, trailers),
                None => frame::put_data(record, id, std::iter::empty(), true),
            };
            put.expect("it was measured");
            self.spent.extend(trailers.take());
            self.sent_end(key);
            return true;
        }
        false
    }

    /// END was put for a stream.
    fn sent_end(&mut self, key: Key) {
        let Some(stream) = self.table.get_mut(key) else { return };
        stream.sent_end = true;
        stream.outgoing = None;
        self.floods.honest(1);
        if self.role == Role::Client && !stream.got_end {
            return; // Its reply is to come.
        }
        if self.role == Role::Server && !stream.got_end {
            // The rest of a call that was answered is of no use.
            self.control.resets.push_back((stream.id, ResetCode::Cancelled, "".into()));
            let text = "the call was answered before it had come whole".into();
            return self.break_off(key, Reset { code: ResetCode::Cancelled, text, by_peer: false });
        }
        self.settle(key);
    }
}

fn put_credit(record: &mut Vec<u8>, id: u32, bytes: u32) {
    if bytes > 0 {
        frame::put_credit(record, id, bytes);
    }
}
