//! Hands what a peer answers to those who called.

use bytes::Bytes;

use crate::mux::framed::{Key, Streams};
use crate::mux::session::tag::Tag;

/// Heads ahead of a reply that are kept.
const MOST_INTERIMS: usize = 16;

/// Gives a head ahead of the reply to its caller. Who does not look at them finds the last ones.
pub(super) fn announced(streams: &mut Streams<Tag>, key: Key, head: Bytes) {
    let Some(Tag::Waiting(waiting)) = streams.tag_mut(key) else { return };
    if waiting.interims.len() == MOST_INTERIMS {
        waiting.interims.remove(0);
    }
    waiting.interims.push(head);
    let waker = waiting.waker.take();
    streams.wake_later(waker);
}

/// Gives a reply to its caller.
pub(super) fn answered(streams: &mut Streams<Tag>, key: Key, head: Bytes, body: Option<Bytes>) {
    let Some(Tag::Waiting(waiting)) = streams.tag_mut(key) else { return };
    waiting.reply = Some((head, body));
    waiting.deadline = None;
    let waker = waiting.waker.take();
    streams.wave.woken(usize::from(waker.is_some()));
    streams.wake_later(waker);
}
