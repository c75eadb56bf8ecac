//! What arriving frames do to the streams.

use std::borrow::Cow;

use bytes::Bytes;
use tokio::time::Instant;

use super::flood::TINY;
use super::received::Received;
use super::stream::{Incoming, Reset, Stream};
use super::streams::{LAST_ID, MOST_CALLS, Role, Streams, WHOLE};
use super::table::Key;
use super::window::RecvWindow;
use crate::wire::framed::frame::{CloseCode, Frame, FrameError, ResetCode};

/// A call frame.
struct Call {
    time_left: u32,
    one_way: bool,
    head: Bytes,
    body: Bytes,
    end: bool,
}

/// What a peer did that ends the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What the last frame says.
    pub code: CloseCode,
    /// The same for people.
    pub text: Cow<'static, str>,
}

impl From<FrameError> for Violation {
    fn from(error: FrameError) -> Self {
        Self { code: CloseCode::Protocol, text: error.to_string().into() }
    }
}

fn protocol(text: impl Into<Cow<'static, str>>) -> Violation {
    Violation { code: CloseCode::Protocol, text: text.into() }
}

impl<T> Streams<T> {
    /// Takes a frame that lies in `record`. `tag` makes the tag of a new call.
    ///
    /// # Errors
    ///
    /// The peer broke the rules: the connection has to end.
    pub fn receive(
        &mut self,
        frame: Frame<'_>,
        record: &Bytes,
        now: Instant,
        tag: impl FnOnce() -> T,
    ) -> Result<Received, Violation> {
        if self.closed {
            return Err(protocol("a frame came behind the last one"));
        }
        match frame {
            Frame::Call { time_left, one_way, head, body, end } => {
                let (head, body) = (record.slice_ref(head), record.slice_ref(body));
                self.receive_call(tag, Call { time_left, one_way, head, body, end }, now)
            }
            Frame::Reply { id, head, body, end } => {
                self.receive_reply(id, record.slice_ref(head), record.slice_ref(body), end, now)
            }
            Frame::Interim { id, head } => {
                self.floods.interim(now)?;
                self.receive_interim(id, Bytes::copy_from_slice(head))
            }
            Frame::Data { id, body, end } => {
                if body.is_empty() && !end {
                    self.floods.empty(now)?;
                }
                self.receive_data(id, record.slice_ref(body), end, record.len(), now)
            }
            Frame::Trailers { id, trailers } => self.receive_trailers(id, record.slice_ref(trailers), now),
            Frame::Reset { id, code, text } => self.receive_reset(id, code, text, now),
            Frame::Credit { id, bytes } => {
                if bytes < TINY {
                    self.floods.credit(now)?;
                }
                self.receive_credit(id, bytes, now)
            }
            Frame::Ping(bytes) => {
                self.floods.ping(now)?;
                self.control.pong = Some(bytes);
                Ok(Received::Ping)
            }
            Frame::Pong(bytes) => {
                self.late(now)?;
                Ok(Received::Pong(bytes))
            }
            Frame::Drain => {
                if std::mem::replace(&mut self.peer_drains, true) {
                    self.late(now)?;
                }
                Ok(Received::Drain)
            }
            Frame::Close { code, last, text } => {
                self.closed = true;
                self.peer_took = Some(last);
                Ok(Received::Close { code, text: String::from_utf8_lossy(text).into_owned() })
            }
        }
    }

    fn receive_call(&mut self, tag: impl FnOnce() -> T, call: Call, now: Instant) -> Result<Received, Violation> {
        let Call { time_left, one_way, head, body, end } = call;
        if self.role == Role::Client {
            return Err(protocol("a server opened a call"));
        }
        if self.peer_drains {
            return Err(protocol("a call came behind the drain"));
        }
        if self.last >= LAST_ID {
            return Err(protocol("there are no more ids"));
        }
        self.last += 1;
        if self.last >= MOST_CALLS && !self.is_draining() {
            self.drain();
        }
        let id = self.last;
        self.check_first(id, body.len(), end)?;
        if let Some((code, text)) = self.refusal(head.len()) {
            self.floods.refusal(now)?;
            self.forget_first(body.len(), end);
            self.control.resets.push_back((id, code, text));
            if self.passes {
                self.refused.push(id);
            }
            return Ok(Received::Nothing);
        }
        if self.passes && end && !one_way {
            self.passed += 1;
            return Ok(Received::Passing { id, time_left, head, body });
        }
        let mut stream = Stream::new(tag(), id, self.theirs.stream_credit);
        stream.head_sent = one_way;
        stream.one_way = one_way;
        stream.sent_end = one_way;
        stream.got_end = end;
        let body = first_piece(&mut stream, self.ours.stream_credit, body, end, now);
        let key = self.table.insert(stream);
        if !(one_way && end) {
            self.table.name(id, key);
        }
        self.begun(key);
        Ok(Received::Call { key, time_left, one_way, head, body })
    }

    fn refusal(&self, head: usize) -> Option<(ResetCode, Cow<'static, str>)> {
        if head > self.ours.head as usize {
            let text = format!("a head of {head} bytes is over the limit of {}", self.ours.head);
            return Some((ResetCode::TooLarge, text.into()));
        }
        // Those count that are held, be it by a handler alone: calls that want no answer too.
        if self.table.len() + self.passed >= self.ours.calls as usize {
            return Some((ResetCode::Refused, "too many calls at a time".into()));
        }
        None
    }

    fn receive_reply(
        &mut self,
        id: u32,
        head: Bytes,
        body: Bytes,
        end: bool,
        now: Instant,
    ) -> Result<Received, Violation> {
        let found = self.find(id, Role::Client)?;
        self.check_first(id, body.len(), end)?;
        let Some(key) = found else {
            self.late(now)?;
            self.forget_first(body.len(), end);
            return Ok(Received::Nothing);
        };
        let limit = self.ours.head;
        let stream = self.table.get_mut(key).expect("it was just found");
        if std::mem::replace(&mut stream.replied, true) {
            return Err(protocol(format!("call {id} was answered twice")));
        }
        self.pending -= 1;
        if head.len() > limit as usize {
            let length = head.len();
            self.forget_first(body.len(), end);
            let text = format!("a head of {length} bytes is over the limit of {limit}");
            self.reset(key, ResetCode::TooLarge, text);
            return Ok(Received::Reset { key });
        }
        let body = first_piece(stream, self.ours.stream_credit, body, end, now);
        self.settle(key);
        Ok(Received::Reply { key, head, body })
    }

    fn receive_interim(&mut self, id: u32, head: Bytes) -> Result<Received, Violation> {
        let Some(key) = self.find(id, Role::Client)? else { return Ok(Received::Nothing) };
        if self.table.get(key).is_some_and(|stream| stream.replied) {
            return Err(protocol(format!("an interim head came behind the reply to call {id}")));
        }
        if head.len() > self.ours.head as usize {
            let text = format!("an interim head of {} bytes is over the limit of {}", head.len(), self.ours.head);
            self.reset(key, ResetCode::TooLarge, text);
            return Ok(Received::Reset { key });
        }
        Ok(Received::Interim { key, head })
    }

    fn receive_data(
        &mut self,
        id: u32,
        body: Bytes,
        end: bool,
        record_length: usize,
        now: Instant,
    ) -> Result<Received, Violation> {
        self.take_credit(body.len())?;
        let Some(key) = self.find(id, self.role)? else {
            self.check_not_passing(id)?;
            if body.is_empty() {
                self.late(now)?; // Others are bounded by credit.
            }
            self.window.consume(body.len());
            return Ok(Received::Nothing);
        };
        let stream = self.table.get_mut(key).expect("it was just found");
        let incoming = expect_body(stream, id, self.role)?;
        if !incoming.window.receive(body.len()) {
            return Err(over_credit(id));
        }
        self.wakers.extend(incoming.waker.take());
        if incoming.unwanted {
            incoming.window.consume(body.len());
            self.window.consume(body.len());
        } else if !body.is_empty() {
            incoming.pieces.push(body, record_length);
        }
        if end {
            stream.got_end = true;
            self.settle(key);
        }
        Ok(Received::Nothing)
    }

    fn receive_trailers(&mut self, id: u32, trailers: Bytes, now: Instant) -> Result<Received, Violation> {
        let Some(key) = self.find(id, self.role)? else {
            self.check_not_passing(id)?;
            self.late(now)?;
            return Ok(Received::Nothing);
        };
        let limit = self.ours.head;
        let stream = self.table.get_mut(key).expect("it was just found");
        let incoming = expect_body(stream, id, self.role)?;
        if trailers.len() > limit as usize {
            self.floods.refusal(now)?;
            let text = format!("trailers of {} bytes are over the limit of {limit}", trailers.len());
            self.reset(key, ResetCode::TooLarge, text);
            return Ok(Received::Reset { key });
        }
        self.wakers.extend(incoming.waker.take());
        incoming.trailers = Some(trailers);
        stream.got_end = true;
        self.settle(key);
        Ok(Received::Nothing)
    }

    fn receive_reset(&mut self, id: u32, code: ResetCode, text: &[u8], now: Instant) -> Result<Received, Violation> {
        let Some(key) = self.find(id, self.role)? else {
            if self.is_passing(id) {
                self.floods.reset(now)?;
                self.cut.push(id);
            } else {
                self.late(now)?;
            }
            return Ok(Received::Nothing);
        };
        if self.role == Role::Server && self.table.get(key).is_some_and(|stream| !stream.replied) {
            self.floods.reset(now)?;
        }
        let text = String::from_utf8_lossy(text).into_owned().into();
        self.break_off(key, Reset { code, text, by_peer: true });
        Ok(Received::Reset { key })
    }

    fn receive_credit(&mut self, id: u32, bytes: u32, now: Instant) -> Result<Received, Violation> {
        let granted = if id == 0 {
            let granted = self.credit.grant(bytes);
            self.let_go();
            granted
        } else {
            let Some(key) = self.find(id, self.role)? else {
                if self.is_passing(id) {
                    self.early.push((id, bytes));
                } else {
                    self.late(now)?;
                }
                return Ok(Received::Nothing);
            };
            let stream = self.table.get_mut(key).expect("it was just found");
            if let Some(outgoing) = stream.outgoing.as_mut().filter(|_| stream.credit.available() == 0) {
                self.wakers.extend(outgoing.waker.take());
            }
            let granted = stream.credit.grant(bytes);
            self.schedule(key);
            granted
        };
        if granted {
            return Ok(Received::Nothing);
        }
        Err(Violation { code: CloseCode::Credit, text: "credit was granted beyond 2^31 - 1".into() })
    }

    /// A frame changes nothing.
    fn late(&mut self, now: Instant) -> Result<(), Violation> {
        self.floods.late(now, self.last)
    }

    /// The stream of an id that the wire may name; `None` when it is over.
    fn find(&self, id: u32, only: Role) -> Result<Option<Key>, Violation> {
        if self.role != only {
            return Err(protocol(format!("a client sent a reply (to call {id})")));
        }
        if id > self.last {
            return Err(protocol(format!("a frame is for call {id}, and the last one was {}", self.last)));
        }
        Ok(self.table.key(id))
    }

    /// A body that came whole with its head needs no credit and has a limit; the first piece of another needs credit.
    fn check_first(&mut self, id: u32, bytes: usize, end: bool) -> Result<(), Violation> {
        if end && bytes > WHOLE {
            return Err(protocol(format!("{bytes} bytes came whole with the head of call {id}: {WHOLE} may")));
        }
        if !end && bytes > self.ours.stream_credit as usize {
            return Err(over_credit(id));
        }
        if end { Ok(()) } else { self.take_credit(bytes) }
    }

    /// What [`Streams::check_first`] has let pass is for nobody.
    fn forget_first(&mut self, bytes: usize, end: bool) {
        if !end {
            self.window.consume(bytes);
        }
    }

    fn take_credit(&mut self, bytes: usize) -> Result<(), Violation> {
        if self.window.receive(bytes) {
            return Ok(());
        }
        Err(Violation { code: CloseCode::Credit, text: "more came than the connection's credit".into() })
    }
}

/// A body that came whole is given; the first piece of another lies and waits for its reader.
fn first_piece<T>(stream: &mut Stream<T>, credit: u32, body: Bytes, end: bool, now: Instant) -> Option<Bytes> {
    stream.got_end = end;
    if end {
        return Some(body);
    }
    let mut incoming = Incoming::new(RecvWindow::new(credit, now));
    let within = incoming.window.receive(body.len());
    debug_assert!(within, "it was checked");
    if !body.is_empty() {
        incoming.pieces.push(body, 0);
    }
    stream.incoming = Some(Box::new(incoming));
    None
}

pub(super) fn behind_end(id: u32) -> Violation {
    protocol(format!("more came for call {id} behind its end"))
}

fn expect_body<T>(stream: &mut Stream<T>, id: u32, role: Role) -> Result<&mut Incoming, Violation> {
    if stream.got_end {
        return Err(behind_end(id));
    }
    if role == Role::Client && !stream.replied {
        return Err(protocol(format!("a body came ahead of the reply to call {id}")));
    }
    stream.incoming.as_deref_mut().ok_or_else(|| protocol(format!("a body came for call {id}, which has none")))
}

fn over_credit(id: u32) -> Violation {
    Violation { code: CloseCode::Credit, text: format!("more came than the credit of call {id}").into() }
}
