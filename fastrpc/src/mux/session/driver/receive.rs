//! What a framed connection's driver does with the frames of a record.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::deliver::{announced, answered};
use super::{Driver, KEPT};
use crate::error::{Error, ErrorKind};
use crate::mux::framed::{Received, Role, Streams, Violation};
use crate::mux::session::Serve;
use crate::mux::session::tag::{Serving, Tag};
use crate::stats::add;
use crate::wire::framed::frame::{CloseCode, Frame};

impl<S: Serve> Driver<S> {
    /// Takes all frames of a record under one lock, then acts on them.
    pub(super) fn receive(&mut self, record: &Bytes, now: Instant) -> Result<(), Violation> {
        let (mut calls, mut replies) = (0, 0);
        let mut rest = &record[..];
        let mut received = std::mem::take(&mut self.received);
        self.cut.clear();
        let cut = &mut self.cut;
        let outcome = self.shared.with_many(&mut self.woken, |streams| {
            streams.begin_record();
            while !rest.is_empty() {
                let tag = || Tag::Serving(Serving::default());
                let frame = match Frame::take(&mut rest) {
                    Ok(frame) => streams.receive(frame, record, now, tag),
                    Err(error) => Err(error.into()),
                };
                match frame {
                    Ok(Received::Nothing) => {}
                    Ok(Received::Reply { key, head, body }) => {
                        replies += 1;
                        answered(streams, key, head, body);
                    }
                    Ok(Received::Interim { key, head }) => announced(streams, key, head),
                    Ok(other) => {
                        calls += u64::from(matches!(other, Received::Call { .. } | Received::Passing { .. }));
                        received.push(other);
                    }
                    Err(violation) => return Err(violation),
                }
            }
            streams.end_record(cut);
            Ok(())
        });
        add(&self.options.counted.0.replies, replies);
        add(&self.options.counted.0.calls, calls);
        debug_assert!(self.role == Role::Server || calls == 0, "clients are not called");
        received.drain(..).for_each(|one| self.act(one, record.len(), now));
        received.shrink_to(KEPT);
        self.woken.shrink_to(KEPT);
        self.received = received;
        outcome
    }

    /// Acts on what came in a record of so many bytes.
    fn act(&mut self, received: Received, record: usize, now: Instant) {
        match received {
            Received::Call { key, time_left, one_way, head, body } => {
                let deadline = (time_left > 0).then(|| now + Duration::from_millis(time_left.into()));
                self.called(key, deadline, one_way, head, body, record);
            }
            Received::Passing { id, time_left, head, body } => {
                let deadline = (time_left > 0).then(|| now + Duration::from_millis(time_left.into()));
                self.passed(id, deadline, head, body, record);
            }
            Received::Reset { key } => {
                let parked = self.shared.stop(key);
                self.parked.remove(parked);
            }
            Received::Pong(bytes) => {
                if let Some(round_trip) = self.keepalive.pong(bytes, now) {
                    self.shared.with(|streams| streams.measured(round_trip));
                }
            }
            Received::Drain if self.role == Role::Client => self.shared.with(Streams::drain),
            Received::Close { code: CloseCode::Done, .. } => self.closing = Some(Ok(())),
            Received::Close { code, text, .. } => {
                let message = format!("the peer closed the connection: {code} ({text})");
                self.closing = Some(Err(Error::new(ErrorKind::Connection, message)));
            }
            Received::Nothing
            | Received::Reply { .. }
            | Received::Interim { .. }
            | Received::Ping
            | Received::Drain => {}
        }
    }
}
