//! What is known of each call, apart from the connection's own tables.

use std::task::{Poll, Waker};

use bytes::Bytes;
use fastrpc::internals::framed::{Key, Role};
use fastrpc::wire::framed::frame::ResetCode;

use super::Way;
use super::ends::End;

/// One direction of a call's bodies.
pub(super) struct Flow {
    call: usize,
    way: Way,
    /// Bytes given to the connection.
    sent: usize,
    pub(super) ended: bool,
    pub(super) trailers: bool,
    /// Bytes read.
    read: usize,
    read_end: bool,
    /// One of the ends has broken the call off, or may: it need not arrive whole.
    pub(super) may_break: bool,
    pub(super) unwanted: bool,
}

impl Flow {
    pub(super) fn new(call: usize, way: Way) -> Self {
        Self {
            call,
            way,
            sent: 0,
            ended: false,
            trailers: false,
            read: 0,
            read_end: false,
            may_break: false,
            unwanted: false,
        }
    }

    /// The next bytes of this flow, which no other flow has in this place.
    pub(super) fn next(&mut self, length: usize) -> Bytes {
        let bytes = (self.sent..self.sent + length).map(|at| self.byte(at)).collect();
        self.sent += length;
        bytes
    }

    fn byte(&self, at: usize) -> u8 {
        let seed = self.call * 2 + usize::from(self.way == Way::Down);
        (at.wrapping_mul(31) ^ seed.wrapping_mul(167) ^ (at >> 8)).to_le_bytes()[0]
    }

    fn arrived(&mut self, bytes: &[u8]) {
        for (at, byte) in (self.read..).zip(bytes) {
            assert_eq!(*byte, self.byte(at), "byte {at} of call {} {:?} is another one", self.call, self.way);
        }
        self.read += bytes.len();
        assert!(self.read <= self.sent, "more of call {} arrived than was sent", self.call);
    }

    fn arrived_whole(&mut self, bytes: &[u8]) {
        self.arrived(bytes);
        assert!(self.ended && self.read == self.sent, "call {} {:?} ended early", self.call, self.way);
        self.read_end = true;
    }

    /// Reads what there is; tells whether that was anything.
    pub(super) fn read(&mut self, end: &mut End, key: Key) -> bool {
        if self.read_end || self.unwanted {
            return false;
        }
        match end.streams.poll_piece(key, Waker::noop()) {
            Poll::Pending => return false,
            Poll::Ready(Some(Ok(piece))) => self.arrived(&piece),
            Poll::Ready(None) => {
                self.arrived_whole(&[]);
                assert_eq!(end.streams.trailers(key).is_some(), self.trailers, "trailers of call {}", self.call);
            }
            Poll::Ready(Some(Err(gone))) => {
                assert!(self.may_break, "call {} {:?} broke: {gone:?}", self.call, self.way);
                self.read_end = true;
            }
        }
        true
    }
}

/// One call, as both programs see it.
pub(super) struct Call {
    client: Option<Key>,
    pub(super) server: Option<Key>,
    /// It has reached the server, which may know it no more.
    arrived: bool,
    pub(super) one_way: bool,
    pub(super) replied: bool,
    answered: bool,
    broken: bool,
    pub(super) up: Flow,
    pub(super) down: Flow,
}

impl Call {
    pub(super) fn new(client: Key, up: Flow, down: Flow) -> Self {
        Self {
            client: Some(client),
            server: None,
            arrived: false,
            one_way: false,
            replied: false,
            answered: false,
            broken: false,
            up,
            down,
        }
    }

    /// The server has it.
    pub(super) fn called(&mut self, body: Option<Bytes>, one_way: bool) {
        assert!(!std::mem::replace(&mut self.arrived, true), "a call came twice");
        assert_eq!(one_way, self.one_way);
        if let Some(body) = body {
            self.up.arrived_whole(&body);
        }
    }

    /// The server answers with all of a body.
    pub(super) fn reply_whole(&mut self, length: usize) -> Bytes {
        (self.replied, self.down.ended) = (true, true);
        self.down.next(length)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// The client has its reply.
    pub(super) fn answered(&mut self, body: Option<Bytes>) {
        assert!(
            self.replied && !std::mem::replace(&mut self.answered, true),
            "a reply that was not made, or made once"
        );
        if let Some(body) = body {
            self.down.arrived_whole(&body);
        }
    }

    pub(super) fn sender<'a>(
        &'a mut self,
        way: Way,
        client: &'a mut End,
        server: &'a mut End,
    ) -> Option<(&'a mut End, Key, &'a mut Flow)> {
        match way {
            Way::Up => Some((client, self.client?, &mut self.up)),
            Way::Down if !self.replied => None,
            Way::Down => Some((server, self.server?, &mut self.down)),
        }
    }

    pub(super) fn reader<'a>(
        &'a mut self,
        way: Way,
        client: &'a mut End,
        server: &'a mut End,
    ) -> Option<(&'a mut End, Key, &'a mut Flow)> {
        match way {
            Way::Up => Some((server, self.server?, &mut self.up)),
            // Before the reply there is no body to read; without one there never is.
            Way::Down if !self.answered => None,
            Way::Down => Some((client, self.client?, &mut self.down)),
        }
    }

    pub(super) fn break_off(&mut self, by: Role, client: &mut End, server: &mut End) {
        let (end, key) = match by {
            Role::Client => (client, self.client),
            Role::Server => (server, self.server),
        };
        let Some(key) = key else { return };
        end.streams.reset(key, ResetCode::Cancelled, "");
        self.stalled();
    }

    /// It may have been broken off.
    pub(super) fn stalled(&mut self) {
        self.broken = true;
        self.up.may_break = true;
        self.down.may_break = true;
    }

    /// After everything was sent and read.
    pub(super) fn check_whole(&self) {
        assert!(self.broken || self.arrived, "a call never arrived");
        assert!(self.broken || self.answered || self.one_way, "a call was never answered");
        for (flow, expected) in [(&self.up, true), (&self.down, !self.one_way)] {
            let done = flow.read_end || flow.unwanted || flow.may_break;
            assert!(done || !expected, "call {} {:?} hangs: {} of {}", flow.call, flow.way, flow.read, flow.sent);
        }
    }

    pub(super) fn release(&mut self, client: &mut End, server: &mut End) {
        for (end, key) in [(client, self.client.take()), (server, self.server.take())] {
            let Some(key) = key else { continue };
            end.streams.discard(key);
            end.streams.release(key);
            assert_eq!(end.streams.tag(key), None, "{:?} still names call {}", end.role, self.up.call);
        }
    }
}
