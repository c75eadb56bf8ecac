//! Replies as a client's program waits for them.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::body::BodyReader;
use super::held::Held;
use super::tag::{GivenUp, Tag};
use crate::error::Error;
use crate::mux::conn::DISPLACED;
use crate::mux::framed::{Gone, Key, Role, Streams, remember};
use crate::wire::framed::frame::ResetCode;

/// The head of a reply, as its codec wrote it, and what comes behind it.
pub struct Reply {
    /// For the codec.
    pub head: Bytes,
    /// The body.
    pub body: BodyReader,
}

/// Waits for the head of a reply. Dropping it cancels the call, at the server too.
#[must_use = "the call is cancelled when this is dropped"]
pub struct ReplyFuture {
    held: Option<Held>,
}

impl ReplyFuture {
    /// The next head that comes ahead of the reply, as its codec wrote it: 103 of HTTP, for instance. `None` once the call
    /// has its outcome, which awaiting the future then gives at once. Whoever does not ask finds the last 16 here.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has taken nothing.
    pub async fn interim(&mut self) -> Option<Bytes> {
        poll_fn(|cx| {
            let Some(held) = &self.held else { return Poll::Ready(None) };
            held.with(|streams, key| poll_interim(streams, key, cx))
        })
        .await
    }
}

fn poll_interim(streams: &mut Streams<Tag>, key: Key, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
    let over = streams.reset_of(key).is_some();
    let Some(Tag::Waiting(waiting)) = streams.tag_mut(key) else { return Poll::Ready(None) };
    if !waiting.interims.is_empty() {
        return Poll::Ready(Some(waiting.interims.remove(0)));
    }
    if over || waiting.given_up.is_some() || waiting.reply.is_some() {
        return Poll::Ready(None);
    }
    let before = remember(&mut waiting.waker, cx.waker());
    streams.wake_later(before);
    Poll::Pending
}

impl ReplyFuture {
    pub(super) fn new(held: Held) -> Self {
        Self { held: Some(held) }
    }
}

impl Future for ReplyFuture {
    type Output = Result<Reply, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let held = self.held.as_mut().expect("it is polled until it ends");
        let whole = |outcome: &Outcome| matches!(outcome, Outcome::Reply(_, Some(_)));
        let outcome = held.with_last(|streams, key| poll_reply(streams, key, cx), whole);
        match outcome {
            Outcome::Waiting => Poll::Pending,
            Outcome::Reply(head, body) => {
                let held = self.held.take().expect("it was just used");
                let body = match body {
                    Some(body) => BodyReader::whole(body),
                    None => BodyReader::pieces(held, Role::Client),
                };
                Poll::Ready(Ok(Reply { head, body }))
            }
            Outcome::GivenUp(why, sent) => {
                self.held = None;
                Poll::Ready(Err(match why {
                    GivenUp::Late => Error::timeout(None, sent),
                    GivenUp::Displaced => Error::overload(DISPLACED),
                }))
            }
            Outcome::Broken(gone, sent) => {
                let error = held.shared.explain(gone, !sent);
                self.held = None;
                Poll::Ready(Err(error))
            }
        }
    }
}

enum Outcome {
    Waiting,
    Reply(Bytes, Option<Bytes>),
    GivenUp(GivenUp, bool),
    Broken(Gone, bool),
}

fn poll_reply(streams: &mut Streams<Tag>, key: Key, cx: &mut Context<'_>) -> Outcome {
    if let Some(Tag::Waiting(waiting)) = streams.tag_mut(key)
        && let Some((head, body)) = waiting.reply.take()
    {
        streams.wave.arrived();
        return Outcome::Reply(head, body);
    }
    let sent = streams.is_sent(key);
    let reset = streams.reset_of(key).cloned();
    let Some(Tag::Waiting(waiting)) = streams.tag_mut(key) else { return Outcome::Broken(Gone(None), sent) };
    if let Some(why) = waiting.given_up {
        return Outcome::GivenUp(why, sent);
    }
    if reset.is_some() {
        return Outcome::Broken(Gone(reset), sent);
    }
    let before = remember(&mut waiting.waker, cx.waker());
    streams.wake_later(before);
    Outcome::Waiting
}

impl Drop for ReplyFuture {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            held.with(|streams, key| streams.reset(key, ResetCode::Cancelled, ""));
        }
    }
}
