//! Calls of a server that pass: they came whole and are answered where they were read, so that nothing of them is kept.

use bytes::Bytes;

use super::outbox::HeadKind;
use super::receive::{Violation, behind_end};
use super::stream::Stream;
use super::streams::{LAST_ID, Role, Streams, WHOLE};
use super::table::Key;
use crate::wire::framed::frame::{self, ResetCode, TooLong};

/// Credits of a record that there is memory for between records.
const KEPT: usize = 256;

impl<T> Streams<T> {
    /// Gives whole calls that want a reply as [`Passing`](super::Received::Passing) from now on (at a server).
    pub fn let_calls_pass(&mut self) {
        debug_assert_eq!(self.role, Role::Server, "servers are called");
        self.passes = true;
    }

    /// The frames of another record come: calls of those before it were answered, or are streams.
    pub fn begin_record(&mut self) {
        self.before = if self.passes { self.last } else { LAST_ID };
        self.passed = 0;
        self.refused.clear();
        self.early.clear();
        self.early.shrink_to(KEPT);
    }

    /// Whether a call, which no id finds any more, passes in this record.
    pub(super) fn is_passing(&self, id: u32) -> bool {
        id > self.before && self.refused.binary_search(&id).is_err()
    }

    /// A call that passes has come whole.
    pub(super) fn check_not_passing(&self, id: u32) -> Result<(), Violation> {
        if self.is_passing(id) { Err(behind_end(id)) } else { Ok(()) }
    }

    /// All frames of the record have come. Puts the ids of calls that passed and were reset in it into `cut`, which is empty, in
    /// order: nobody waits for them.
    pub fn end_record(&mut self, cut: &mut Vec<u32>) {
        if !self.cut.is_empty() {
            std::mem::swap(&mut self.cut, cut);
            cut.sort_unstable();
        }
        self.early.sort_unstable_by_key(|(id, _)| *id);
    }

    /// Makes a call that passed a stream, which is held once; see [`Streams::release`].
    pub fn adopt(&mut self, id: u32, tag: T) -> Key {
        let mut stream = Stream::new(tag, id, self.theirs.stream_credit);
        stream.got_end = true;
        let first = self.early.partition_point(|(early, _)| *early < id);
        let early = self.early[first..].iter().take_while(|(early, _)| *early == id);
        early.for_each(|(_, bytes)| _ = stream.credit.grant(*bytes)); // What is too much is not taken.
        let key = self.table.insert(stream);
        self.table.name(id, key);
        self.begun(key);
        key
    }

    /// Answers a call that passed. If its reply is too long to go whole in its frame, the call becomes a stream with the tag that
    /// `tag` makes, whose key is given, held once.
    ///
    /// # Errors
    ///
    /// As those of [`Streams::reply`]. Nothing has happened then.
    pub fn reply_alone<E: From<TooLong>>(
        &mut self,
        id: u32,
        tag: impl FnOnce() -> T,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        body: &Bytes,
    ) -> Result<Option<Key>, E> {
        let (most, whole) = (self.theirs.head as usize, body.len() <= WHOLE);
        let inline = if whole { &body[..] } else { &[] };
        let mut ended = false;
        self.heads.push(Key::NONE, |out| {
            ended = frame::put_reply(out, id, most, encode, inline, whole)? && whole;
            Ok::<_, E>(HeadKind::Alone)
        })?;
        if ended {
            self.open += 1; // Until it is sent.
            return Ok(None);
        }
        let key = self.adopt(id, tag());
        let length = self.heads.belongs(key, HeadKind::Reply { end: false });
        let stream = self.table.get_mut(key).expect("it was just adopted");
        (stream.replied, stream.heads) = (true, length);
        self.follow(key, body, false);
        Ok(Some(key))
    }

    /// Breaks a call off that passed.
    pub fn reset_alone(&mut self, id: u32, code: ResetCode, text: String) {
        self.control.resets.push_back((id, code, text.into()));
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::wire::framed::frame::Frame;
    use crate::wire::framed::settings::Settings;

    #[test]
    fn memory_for_the_credits_of_a_record_is_given_back() {
        let (now, settings) = (Instant::now(), Settings::default());
        let mut streams = Streams::new(Role::Server, settings.clone(), settings, 1 << 20, now);
        streams.let_calls_pass();
        streams.begin_record();
        let call = Frame::Call { time_left: 0, one_way: false, head: b"", body: b"", end: true };
        streams.receive(call, &Bytes::new(), now, || ()).expect("it may");
        for _ in 0..10_000 {
            streams.receive(Frame::Credit { id: 1, bytes: 64 }, &Bytes::new(), now, || ()).expect("it may");
        }
        streams.end_record(&mut Vec::new());
        assert_eq!(streams.early.len(), 10_000);
        streams.begin_record();
        assert!(streams.early.capacity() <= KEPT, "{}", streams.early.capacity());
    }
}
