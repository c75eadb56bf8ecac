//! Fuzz target `streams`: the two ends of a framed connection, what their programs do as a list of operations, and what
//! must come out of it.

use std::time::Duration;

use bytes::Bytes;
use fastrpc::internals::framed::{Role, Streams};

use self::ends::{End, OPENING};
use self::model::{Call, Flow};

mod ends;
mod model;

/// Calls of one input.
const MOST_CALLS: usize = 300;

/// Reads `input` as operations, two bytes each, and does them at the two ends of a connection. Every byte has to arrive at
/// the flow that it was sent on, once and in order; what was ended has to end; nothing that was not broken off may break; and
/// when all is over, no stream and no credit may be missing.
///
/// # Panics
///
/// A fault was found.
pub fn streams(input: &[u8]) {
    let mut world = World::new();
    for operation in input.chunks_exact(2) {
        world.step(operation[0] % 20, usize::from(operation[1]));
    }
    world.finish();
}

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

struct World {
    client: End,
    server: End,
    calls: Vec<Call>,
}

impl World {
    fn new() -> Self {
        Self { client: End::new(Role::Client), server: End::new(Role::Server), calls: Vec::new() }
    }

    fn step(&mut self, operation: u8, argument: usize) {
        let call = argument % self.calls.len().max(1);
        match operation {
            0 | 1 => self.open(argument, operation == 1),
            2 => self.open_one_way(argument),
            3 => self.reply(call, argument.is_multiple_of(2), argument * 37),
            4 | 5 => self.push(call, Way::Up, argument * 301),
            6 | 7 => self.push(call, Way::Down, argument * 301),
            8 => self.end(call, Way::Up, argument.is_multiple_of(3)),
            9 => self.end(call, Way::Down, argument.is_multiple_of(3)),
            10 => _ = self.read(call, Way::Up),
            11 => _ = self.read(call, Way::Down),
            12 => self.break_off(call, Role::Client),
            13 => self.break_off(call, Role::Server),
            14 => self.discard(call),
            15 | 16 => _ = self.carry(argument),
            17 => self.interim(call),
            18 => self.pass(argument),
            _ => self.client.streams.ping([argument.to_le_bytes()[0]; 8]),
        }
    }

    // ---- what programs do ----

    fn open(&mut self, argument: usize, more: bool) {
        if self.calls.len() == MOST_CALLS {
            return;
        }
        let number = self.calls.len();
        let mut up = Flow::new(number, Way::Up);
        let body = up.next(argument * 97);
        up.ended = !more;
        let head = u32::try_from(number).expect("a few hundred").to_le_bytes();
        let key = self.client.streams.open(number, 0, false, write(&head), &body, more).expect("the head is short");
        self.calls.push(Call::new(key, up, Flow::new(number, Way::Down)));
    }

    fn open_one_way(&mut self, argument: usize) {
        if self.calls.len() == MOST_CALLS {
            return;
        }
        let number = self.calls.len();
        let mut up = Flow::new(number, Way::Up);
        let body = up.next(argument * 3);
        up.ended = true;
        let head = u32::try_from(number).expect("a few hundred").to_le_bytes();
        let key = self.client.streams.open(number, 0, true, write(&head), &body, false).expect("the head is short");
        let mut call = Call::new(key, up, Flow::new(number, Way::Down));
        call.one_way = true;
        self.calls.push(call);
    }

    fn reply(&mut self, at: usize, more: bool, length: usize) {
        let Some(call) = self.calls.get_mut(at) else { return };
        let Some(key) = call.server.filter(|_| !call.replied && !call.one_way) else { return };
        call.replied = true;
        let body = call.down.next(length);
        call.down.ended = !more;
        // An answer that ends before the call has is an answer; the rest of the call is not wanted.
        call.up.may_break |= !more;
        let head = u32::try_from(at).expect("a few hundred").to_le_bytes();
        self.server.streams.reply(key, write(&head), &body, more).expect("the head is short");
    }

    fn interim(&mut self, at: usize) {
        let Some(call) = self.calls.get(at) else { return };
        let Some(key) = call.server.filter(|_| !call.replied && !call.one_way) else { return };
        self.server.streams.interim(key, write(b"soon")).expect("the head is short");
    }

    fn push(&mut self, at: usize, way: Way, length: usize) {
        let Some(call) = self.calls.get_mut(at) else { return };
        let Some((end, key, flow)) = call.sender(way, &mut self.client, &mut self.server) else { return };
        if flow.ended || !end.has_room(key) {
            return;
        }
        let piece = flow.next(length);
        end.streams.push(key, piece);
    }

    fn end(&mut self, at: usize, way: Way, trailers: bool) {
        let Some(call) = self.calls.get_mut(at) else { return };
        let Some((end, key, flow)) = call.sender(way, &mut self.client, &mut self.server) else { return };
        if std::mem::replace(&mut flow.ended, true) {
            return;
        }
        flow.trailers = trailers;
        end.streams.finish(key, trailers.then(|| Bytes::from_static(b"trailers"))).expect("they are short");
        if way == Way::Down {
            call.up.may_break = true;
        }
    }

    /// Reads a piece; tells whether there was anything to learn.
    fn read(&mut self, at: usize, way: Way) -> bool {
        let Some(call) = self.calls.get_mut(at) else { return false };
        let Some((end, key, flow)) = call.reader(way, &mut self.client, &mut self.server) else { return false };
        flow.read(end, key)
    }

    /// The server's program does not care for the rest of a call.
    fn discard(&mut self, at: usize) {
        let Some(call) = self.calls.get_mut(at) else { return };
        let Some((end, key, flow)) = call.reader(Way::Up, &mut self.client, &mut self.server) else { return };
        flow.unwanted = true;
        end.streams.discard(key);
    }

    fn break_off(&mut self, at: usize, by: Role) {
        let Some(call) = self.calls.get_mut(at) else { return };
        call.break_off(by, &mut self.client, &mut self.server);
    }

    /// Time passes, and slow readers may pay for it.
    fn pass(&mut self, argument: usize) {
        for end in [&mut self.client, &mut self.server] {
            end.now += Duration::from_millis(argument as u64);
            for number in end.reset_stalled() {
                self.calls[number].stalled();
            }
        }
    }

    // ---- what the connection does ----

    /// Fills records and takes them to the other end; which, and how many, the argument says.
    fn carry(&mut self, argument: usize) -> bool {
        let mut moved = false;
        if argument & 1 != 0 {
            moved |= self.client.fill();
        }
        if argument & 2 != 0 {
            moved |= self.server.fill();
        }
        if argument & 4 != 0
            && let Some(record) = self.client.sent.pop_front()
        {
            self.server.receive(&record, &mut self.calls);
            moved = true;
        }
        if argument & 8 != 0
            && let Some(record) = self.server.sent.pop_front()
        {
            self.client.receive(&record, &mut self.calls);
            moved = true;
        }
        moved
    }

    /// Ends and reads everything, until nothing moves any more; then looks at what is left.
    fn finish(&mut self) {
        loop {
            let mut moved = false;
            for at in 0..self.calls.len() {
                self.reply(at, false, 100);
                self.end(at, Way::Up, false);
                self.end(at, Way::Down, false);
                moved |= self.read(at, Way::Up) | self.read(at, Way::Down);
            }
            while self.carry(15) {
                moved = true;
            }
            if !moved {
                break;
            }
        }
        for call in &mut self.calls {
            call.check_whole();
            call.release(&mut self.client, &mut self.server);
        }
        while self.carry(15) {}
        assert!(self.client.streams.is_empty() && self.server.streams.is_empty(), "streams are left behind");
        assert_eq!((self.client.streams.open_calls(), self.server.streams.open_calls()), (0, 0));
        let (client, server) = (self.client.streams.balance(), self.server.streams.balance());
        assert_eq!((client.unread, server.unread), (0, 0), "nobody can read it any more");
        let waiting = [&self.client.streams, &self.server.streams].map(Streams::queued_bodies);
        assert_eq!(waiting, [0, 0], "body bytes wait to be sent on no stream");
        assert_eq!((client.credit, server.credit), (server.granted, client.granted), "credit was lost, or made");
        assert!(client.granted > OPENING / 2 && server.granted > OPENING / 2, "{client:?} {server:?}");
    }
}

fn write(head: &[u8]) -> impl FnOnce(&mut Vec<u8>) -> Result<(), fastrpc::wire::framed::frame::TooLong> {
    move |out| {
        out.extend_from_slice(head);
        Ok(())
    }
}
