//! Bodies as the programs of both sides hold them.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::held::Held;
use super::tag::Tag;
use crate::error::Error;
use crate::mux::framed::{Gone, Role, Streams};
use crate::wire::framed::frame::{ResetCode, TooLong};

/// A body that arrives. Dropping it before its end breaks a reply off at the server, and tells a client's connection to
/// throw the rest of a call away.
pub struct BodyReader(Source);

enum Source {
    /// It came whole.
    Whole(Bytes),
    Pieces {
        held: Held,
        role: Role,
        done: bool,
        /// What the body occupies until it has ended.
        kept: Option<Box<dyn Send + Sync>>,
    },
}

impl BodyReader {
    pub(super) fn whole(body: Bytes) -> Self {
        Self(Source::Whole(body))
    }

    pub(super) fn pieces(held: Held, role: Role) -> Self {
        Self(Source::Pieces { held, role, done: false, kept: None })
    }

    /// Drops `kept` when the body has ended or is dropped; at once if it has come whole.
    pub(crate) fn keep(&mut self, kept: impl Send + Sync + 'static) {
        if let Source::Pieces { kept: slot, .. } = &mut self.0 {
            *slot = Some(Box::new(kept));
        }
    }

    /// How long it is, if it came whole: what is left of it.
    #[must_use]
    pub fn whole_len(&self) -> Option<usize> {
        if let Source::Whole(body) = &self.0 { Some(body.len()) } else { None }
    }

    /// What is left of it, if it came whole; otherwise nothing, and nothing happens.
    #[must_use]
    pub fn take_whole(&mut self) -> Bytes {
        if let Source::Whole(body) = &mut self.0 { std::mem::take(body) } else { Bytes::new() }
    }

    /// Whether it came whole and nothing is left of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.whole_len() == Some(0)
    }

    /// The next piece, of any length; `None` at the end, and ever after.
    ///
    /// # Errors
    ///
    /// The stream or its connection broke before the end.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has taken nothing.
    pub async fn piece(&mut self) -> Option<Result<Bytes, Error>> {
        poll_fn(|cx| self.poll_piece(cx)).await
    }

    /// As [`BodyReader::piece`].
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        match &mut self.0 {
            Source::Whole(body) => Poll::Ready(Some(std::mem::take(body)).filter(|body| !body.is_empty()).map(Ok)),
            Source::Pieces { done: true, .. } => Poll::Ready(None),
            Source::Pieces { held, done, kept, .. } => {
                let polled = held.with(|streams, key| streams.poll_piece(key, cx.waker()));
                polled.map(|piece| match piece {
                    Some(Ok(piece)) => Some(Ok(piece)),
                    Some(Err(gone)) => {
                        (*done, *kept) = (true, None);
                        Some(Err(held.shared.explain(gone, false)))
                    }
                    None => {
                        *kept = None;
                        None
                    }
                })
            }
        }
    }

    /// Breaks the stream off because of what came, unless it is over.
    pub fn refuse(&mut self, code: ResetCode, text: String) {
        if let Source::Pieces { held, .. } = &self.0 {
            held.with(|streams, key| streams.reset(key, code, text));
        }
    }

    /// What came behind the body, as its codec wrote it; `None` before the end, or when nothing did. It is given once.
    pub fn trailers(&mut self) -> Option<Bytes> {
        match &mut self.0 {
            Source::Whole(_) => None,
            Source::Pieces { held, .. } => held.with(Streams::trailers),
        }
    }
}

impl std::fmt::Debug for BodyReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyReader").finish_non_exhaustive()
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        let Source::Pieces { held, role, .. } = &self.0 else { return };
        held.with(|streams, key| {
            if *role == Role::Client && !streams.has_come_whole(key) {
                streams.reset(key, ResetCode::Cancelled, "");
            } else {
                streams.discard(key);
            }
        });
    }
}

/// A body on its way out. Dropping it before [`BodyWriter::finish`] breaks the stream off: the peer must not take a part for
/// the whole.
pub struct BodyWriter {
    held: Held,
    finished: bool,
}

impl BodyWriter {
    pub(super) fn new(held: Held) -> Self {
        Self { held, finished: false }
    }

    /// Adds a piece, once there is room for it.
    ///
    /// # Errors
    ///
    /// Nobody takes it any more: the stream was reset, answered before its end, or its connection ended.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has added nothing, or where many bodies wait for room the beginning of the piece.
    pub async fn write(&mut self, mut piece: Bytes) -> Result<(), Error> {
        loop {
            let room = poll_fn(|cx| self.poll_room(cx)).await?;
            let rest = piece.split_off(room.min(piece.len()));
            self.held.with(|streams, key| streams.push(key, piece));
            if rest.is_empty() {
                return Ok(());
            }
            piece = rest;
        }
    }

    /// Has it travel past the compressor from here on, as it does not compress: it would only push better things out of the
    /// context.
    pub fn raw(&mut self) {
        self.held.with(Streams::send_raw);
    }

    /// Waits for room: so many bytes, at least one.
    ///
    /// # Errors
    ///
    /// As [`BodyWriter::write`].
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        let room = self.held.with(|streams, key| streams.poll_room(key, cx.waker()));
        room.map_err(|gone| self.broken(gone))
    }

    /// Waits until the head of its message was taken into a record, to leave with it: for whoever keeps the beginning of a
    /// body until its call can be made nowhere else.
    ///
    /// # Errors
    ///
    /// As [`BodyWriter::write`]. [`Error::may_retry`] is true when no byte of the call left.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has changed nothing.
    pub async fn sent(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_sent(cx)).await
    }

    /// As [`BodyWriter::sent`].
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let sent = self.held.with(|streams, key| streams.poll_sent(key, cx.waker()));
        sent.map_err(|gone| self.broken(gone))
    }

    /// Ready once nobody takes the body any more: for whoever waits for its next piece meanwhile.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let gone = self.held.with(|streams, key| streams.poll_gone(key, cx.waker()));
        gone.map(|gone| self.broken(gone))
    }

    fn broken(&self, gone: Gone) -> Error {
        let unsent = self.held.with(|streams, key| !streams.is_sent(key));
        self.held.shared.explain(gone, unsent)
    }

    /// Ends the body, with `trailers` behind it.
    ///
    /// # Errors
    ///
    /// The trailers are longer than the peer takes; the stream is broken off then.
    pub fn finish(mut self, trailers: Option<Bytes>) -> Result<(), TooLong> {
        self.held.with(|streams, key| streams.finish(key, trailers))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        if !self.finished {
            self.held.with(|streams, key| {
                streams.reset(key, ResetCode::Failed, "the body ended before its end");
                // Somebody else may wait for the reply, which does not come now.
                if let Some(Tag::Waiting(waiting)) = streams.tag_mut(key) {
                    let waker = waiting.waker.take();
                    streams.wake_later(waker);
                }
            });
        }
    }
}
