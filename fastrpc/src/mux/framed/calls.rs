//! Calls and replies on their way out.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use bytes::Bytes;

use super::outbox::HeadKind;
use super::stream::{Outgoing, Stream};
use super::streams::{Role, Streams, WHOLE};
use super::table::Key;
use crate::wire::framed::frame::{self, TooLong};

impl<T> Streams<T> {
    /// Begins a call (of a client): its head waits for the next record, and `body` with it if it is short. With `more`, further
    /// pieces and the end follow.
    ///
    /// The key is held once; see [`Streams::release`].
    ///
    /// # Errors
    ///
    /// What `encode` said, or the head is longer than the peer takes. Nothing has happened then.
    pub fn open<E: From<TooLong>>(
        &mut self,
        tag: T,
        time_left: u32,
        one_way: bool,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        body: &Bytes,
        more: bool,
    ) -> Result<Key, E> {
        debug_assert_eq!(self.role, Role::Client, "clients call");
        let table = &self.table;
        self.heads.compact(|key| table.get(key).is_some_and(|stream| !stream.is_over()));
        let mut stream = Stream::new(tag, 0, self.theirs.stream_credit);
        stream.one_way = one_way;
        stream.got_end = one_way;
        let key = self.table.insert(stream);
        let most = self.theirs.head as usize;
        let put =
            |out: &mut Vec<u8>, inline: &[u8], end| frame::put_call(out, time_left, one_way, most, encode, inline, end);
        let begin = || self.begin(key, |end| HeadKind::Call { end }, put, body, more);
        let begun = catch_unwind(AssertUnwindSafe(begin)).unwrap_or_else(|panic| {
            self.table.remove(key, |_| true, |_| ());
            resume_unwind(panic)
        });
        begun.inspect_err(|_| _ = self.table.remove(key, |_| true, |_| ()))?;
        self.begun(key);
        self.drain_in_time();
        Ok(key)
    }

    /// Begins the reply to a call (of a server), in the way of [`Streams::open`]. One for a call that is gone is forgotten.
    ///
    /// # Errors
    ///
    /// As those of [`Streams::open`].
    ///
    /// # Panics
    ///
    /// When it was begun already.
    pub fn reply<E: From<TooLong>>(
        &mut self,
        key: Key,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        body: &Bytes,
        more: bool,
    ) -> Result<(), E> {
        let Some(stream) = self.live(key).filter(|stream| !stream.one_way) else { return Ok(()) };
        assert!(!stream.replied, "a call is answered once");
        let id = stream.id;
        let most = self.theirs.head as usize;
        let put = |out: &mut Vec<u8>, inline: &[u8], end| frame::put_reply(out, id, most, encode, inline, end);
        self.begin(key, |end| HeadKind::Reply { end }, put, body, more)?;
        self.table.get_mut(key).expect("it is live").replied = true;
        Ok(())
    }

    /// Sends a head ahead of the reply (of a server).
    ///
    /// # Errors
    ///
    /// What `encode` said, or the head is longer than the peer takes.
    pub fn interim<E: From<TooLong>>(
        &mut self,
        key: Key,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(stream) = self.live(key).filter(|stream| !stream.replied && !stream.one_way) else { return Ok(()) };
        let id = stream.id;
        let limit = self.theirs.head as usize;
        let mut head = Vec::new();
        encode(&mut head)?;
        if head.len() > limit {
            return Err(TooLong { length: head.len(), limit }.into());
        }
        let length = self.heads.push(key, |out| {
            frame::put_interim(out, id, &head)?;
            Ok::<_, TooLong>(HeadKind::Interim)
        })?;
        self.table.get_mut(key).expect("it is live").heads += length;
        Ok(())
    }

    /// Puts a head into the queue, with the body if that is short and whole.
    fn begin<E>(
        &mut self,
        key: Key,
        kind: impl FnOnce(bool) -> HeadKind,
        put: impl FnOnce(&mut Vec<u8>, &[u8], bool) -> Result<bool, E>,
        body: &Bytes,
        more: bool,
    ) -> Result<(), E> {
        let whole = !more && body.len() <= WHOLE;
        let mut ended = false;
        let length = self.heads.push(key, |out: &mut Vec<u8>| {
            let inline = if whole { &body[..] } else { &[] };
            let fits = put(out, inline, whole)?;
            ended = whole && fits;
            Ok(kind(ended))
        })?;
        let stream = self.table.get_mut(key).expect("it was just found");
        stream.heads += length;
        if !ended {
            self.follow(key, body, more);
        }
        Ok(())
    }

    /// A body comes behind the head.
    pub(super) fn follow(&mut self, key: Key, body: &Bytes, more: bool) {
        let mut outgoing = Outgoing { ready: true, whole: !more, end: (!more).then_some(None), ..Outgoing::default() };
        self.queued += body.len();
        self.ready.add(body.len(), !more);
        if !body.is_empty() {
            outgoing.push(body.clone());
        }
        if let Some(stream) = self.table.get_mut(key) {
            stream.outgoing = Some(Box::new(outgoing));
        }
    }
}
