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
        let mut rest = &record[..];
        while !rest.is_empty() {
            let frame = Frame::take(&mut rest).expect("the other end writes whole frames");
            let received = self.streams.receive(frame, record, self.now, || usize::MAX);
            match received.expect("the other end keeps the rules") {
                Received::Call { key, head, body, one_way, .. } => {
                    let number = number(&head);
                    *self.streams.tag_mut(key).expect("it was just made") = number;
                    calls[number].called(key, body, one_way);
                }
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
    }

    pub(super) fn has_room(&mut self, key: Key) -> bool {
        matches!(self.streams.poll_room(key, Waker::noop()), Poll::Ready(Ok(())))
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
