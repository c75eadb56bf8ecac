//! One end of the connection, with what it has sent and the other has not received.

use std::collections::VecDeque;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use fastrpc::internals::framed::{Filled, Key, Received, Role, Streams};
use fastrpc::wire::framed::frame::{Frame, MAX_FRAME};
use fastrpc::wire::framed::settings::Settings;
use tokio::time::Instant;

use super::model::Call;

/// The connection's credit to begin with: small, so that it runs out.
pub(super) const OPENING: usize = 100_000;
/// Unread for so long, a body may be broken off.
const STALLED: Duration = Duration::from_millis(300);

pub(super) struct End {
    pub(super) role: Role,
    /// Tagged with the call's number.
    pub(super) streams: Streams<usize>,
    pub(super) sent: VecDeque<Bytes>,
    pub(super) now: Instant,
}

impl End {
    pub(super) fn new(role: Role) -> Self {
        let settings =
            Settings { connection_credit: 100_000, stream_credit: 20_000, ping_ms: 0, ..Settings::default() };
        let now = Instant::now();
        let mut streams = Streams::new(role, settings.clone(), settings, 400_000, now);
        streams.measured(Duration::from_millis(50));
        streams.bound_queues(150_000);
        if role == Role::Server {
            streams.let_calls_pass();
        }
        Self { role, streams, sent: VecDeque::new(), now }
    }

    /// Fills a record; false when there is nothing to send.
    pub(super) fn fill(&mut self) -> bool {
        let mut record = Vec::new();
        let filled = self.streams.fill(&mut record, self.now);
        assert_eq!(filled == Filled::Nothing, record.is_empty(), "{filled:?} of {} bytes", record.len());
        assert!(record.len() <= MAX_FRAME, "a record of {} bytes", record.len());
        if record.is_empty() {
            return false;
        }
        self.sent.push_back(record.into());
        true
    }

    pub(super) fn receive(&mut self, record: &Bytes, calls: &mut [Call]) {
        let mut passing = Vec::new();
        self.streams.begin_record();
        let mut rest = &record[..];
        while !rest.is_empty() {
            let frame = Frame::take(&mut rest).expect("the other end writes whole frames");
            let received = self.streams.receive(frame, record, self.now, || usize::MAX);
            match received.expect("the other end keeps the rules") {
                Received::Call { key, head, body, one_way, .. } => {
                    let number = number(&head);
                    *self.streams.tag_mut(key).expect("it was just made") = number;
                    calls[number].called(body, one_way);
                    calls[number].server = Some(key);
                }
                Received::Passing { id, head, body, .. } => passing.push((id, number(&head), body)),
                Received::Reply { key, head, body } => {
                    assert_eq!(self.streams.tag(key), Some(&number(&head)), "a reply reached another call");
                    calls[number(&head)].answered(body);
                }
                Received::Interim { key, head } => {
                    assert_eq!(&head[..], b"soon");
                    assert!(self.streams.tag(key).is_some());
                }
                Received::Reset { key } => {
                    assert!(self.streams.reset_of(key).is_some_and(|reset| reset.by_peer));
                }
                Received::Nothing | Received::Ping | Received::Pong(_) => {}
                other => panic!("nobody sent {other:?}"),
            }
        }
        let mut cut = Vec::new();
        self.streams.end_record(&mut cut);
        for (id, number, body) in passing {
            if cut.binary_search(&id).is_err() {
                self.passed(id, number, body, &mut calls[number]);
            } else {
                assert!(calls[number].is_broken(), "call {number} was cancelled by nobody");
            }
        }
    }

    /// Answers a call that passes, or makes it a stream.
    fn passed(&mut self, id: u32, number: usize, body: Bytes, call: &mut Call) {
        call.called(Some(body), false);
        let streams = &mut self.streams;
        call.server = if number.is_multiple_of(3) {
            Some(streams.adopt(id, number))
        } else {
            let head = u32::try_from(number).expect("a few hundred").to_le_bytes();
            let reply = call.reply_whole(number * 97);
            streams.reply_alone(id, || number, super::write(&head), &reply).expect("the head is short")
        };
    }

    pub(super) fn has_room(&mut self, key: Key) -> bool {
        matches!(self.streams.poll_room(key, Waker::noop()), Poll::Ready(Ok(_)))
    }

    /// Breaks off what lies unread; the numbers of the calls.
    pub(super) fn reset_stalled(&mut self) -> Vec<usize> {
        let before: Vec<_> = self.streams.resets().collect();
        self.streams.reset_stalled(self.now, STALLED);
        self.streams.resets().filter(|number| !before.contains(number)).collect()
    }
}

fn number(head: &[u8]) -> usize {
    u32::from_le_bytes(head.try_into().expect("four bytes")) as usize
}
