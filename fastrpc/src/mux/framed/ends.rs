//! How streams end: broken off, over, forgotten.

use std::borrow::Cow;
use std::time::Duration;

use tokio::time::Instant;

use super::reserve::reserved;
use super::stream::{Reset, Stream};
use super::streams::{Role, Streams};
use super::table::Key;
use crate::error::human;
use crate::wire::framed::frame::ResetCode;

impl<T> Streams<T> {
    /// Breaks a stream off, at the peer too.
    pub fn reset(&mut self, key: Key, code: ResetCode, text: impl Into<Cow<'static, str>>) {
        let Some(stream) = self.live(key) else { return };
        let text = text.into();
        if stream.id > 0 {
            self.control.resets.push_back((stream.id, code, text.clone()));
        }
        self.break_off(key, Reset { code, text, by_peer: false });
    }

    /// To be called now and then: breaks off streams whose pieces have lain unread for `limit`, if long bodies of the whole connection
    /// wait for credit, so that slow readers do not stall the rest.
    pub fn reset_stalled(&mut self, now: Instant, limit: Duration) {
        let shut = self.window.open() <= reserved(self.ours.connection_credit);
        let mut stalled = Vec::new();
        for key in self.table.keys() {
            let Some(incoming) = self.table.get_mut(key).and_then(|stream| stream.incoming.as_mut()) else { continue };
            if incoming.pieces.is_empty() {
                incoming.unread_since = None;
            } else if now.saturating_duration_since(*incoming.unread_since.get_or_insert(now)) >= limit && shut {
                stalled.push(key);
            }
        }
        for key in stalled {
            let text = format!("nobody has read its body for {} while others waited", human(limit));
            let Some(stream) = self.table.get_mut(key) else { continue };
            stream.got_end = false; // A body that came whole is thrown away too, and its reader has to be told.
            if stream.reset.is_none() {
                self.reset(key, ResetCode::Stalled, text);
                continue;
            }
            stream.reset = Some(Box::new(Reset { code: ResetCode::Stalled, text: text.into(), by_peer: false }));
            if let Some(mut incoming) = stream.incoming.take() {
                self.window.consume(incoming.window.held() as usize);
                self.spent.extend(incoming.pieces.take());
                self.wakers.extend(incoming.waker);
            }
        }
    }

    /// To be called now and then while calls wait because so much does: breaks off streams of whose body nothing could be sent
    /// for `limit`, because nobody reads it at the peer.
    pub fn reset_unread(&mut self, now: Instant, limit: Duration) {
        let credit = self.credit.available();
        for key in self.table.keys() {
            let Some(stream) = self.table.get_mut(key) else { continue };
            let Some(outgoing) = &mut stream.outgoing else { continue };
            let stuck = self.reserve.usable(credit, outgoing) == 0 || stream.credit.available() == 0;
            if outgoing.queued == 0 || !stuck {
                outgoing.stuck_since = None;
            } else if now.saturating_duration_since(*outgoing.stuck_since.get_or_insert(now)) >= limit {
                let text = format!("nobody has read its body for {} while calls waited", human(limit));
                self.reset(key, ResetCode::Stalled, text);
            }
        }
    }

    /// The connection has ended: so have all its streams.
    pub fn end(&mut self, reset: &Reset) {
        for key in self.table.keys() {
            if self.live(key).is_some() {
                self.break_off(key, reset.clone());
            }
        }
        self.open = 0; // Replies of which nothing else is kept are not sent any more.
    }

    /// Another handle names the stream.
    pub fn hold(&mut self, key: Key) {
        if let Some(stream) = self.table.get_mut(key) {
            stream.holders += 1;
        }
    }

    /// A handle that names the stream is gone. Gives the tag when it was the last one and the stream is over.
    pub fn release(&mut self, key: Key) -> Option<T>
    where
        T: Copy,
    {
        self.release_with(key, |tag| *tag)
    }

    /// The same; `last` takes what is needed of the tag.
    pub fn release_with<R>(&mut self, key: Key, last: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.forget(key, 1, last)
    }

    /// Ends a stream in the middle. What arrived whole stays readable.
    pub(super) fn break_off(&mut self, key: Key, reset: Reset) {
        let Some(stream) = self.table.get_mut(key) else { return };
        stream.reset.get_or_insert_with(|| Box::new(reset));
        self.heads.bury(std::mem::take(&mut stream.heads));
        if let Some(mut outgoing) = stream.outgoing.take() {
            self.queued -= outgoing.queued;
            self.ready.take(&mut outgoing);
            self.spent.extend(outgoing.queue.into_iter().chain(outgoing.end.flatten()));
            self.wakers.extend(outgoing.waker);
        }
        if let Some(incoming) = &mut stream.incoming {
            self.wakers.extend(incoming.waker.take());
        }
        if !stream.got_end
            && let Some(mut incoming) = stream.incoming.take()
        {
            self.window.consume(incoming.window.held() as usize);
            self.spent.extend(incoming.pieces.take());
        }
        self.settle(key);
    }

    /// After a step that may have been the last on the wire.
    pub(super) fn settle(&mut self, key: Key) {
        let Some(stream) = self.table.get_mut(key).filter(|stream| stream.is_over()) else { return };
        if std::mem::take(&mut stream.open) {
            self.open -= 1;
            self.pending -= usize::from(self.role == Role::Client && !stream.one_way && !stream.replied);
        }
        let id = stream.id;
        if id > 0 {
            self.table.unname(id);
        }
        self.forget(key, 0, |_| ());
    }

    /// Forgets a stream that nothing names any more, so many handles of it less.
    fn forget<R>(&mut self, key: Key, less: u32, last: impl FnOnce(&mut T) -> R) -> Option<R> {
        let Self { table, window, spent, .. } = self;
        let unwanted = |stream: &mut Stream<T>| {
            stream.holders = stream.holders.saturating_sub(less);
            stream.holders == 0 && stream.is_over()
        };
        table.remove(key, unwanted, |stream| {
            if let Some(mut incoming) = stream.incoming.take() {
                window.consume(incoming.window.held() as usize);
                spent.extend(incoming.pieces.take());
            }
            last(&mut stream.tag)
        })
    }
}
