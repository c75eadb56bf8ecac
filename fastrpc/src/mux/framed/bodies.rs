//! Bodies in pieces: what a side's programs send and read of them.

use std::task::{Poll, Waker};

use bytes::Bytes;

use super::stream::remember;
use super::streams::{Gone, PIECE, Streams};
use super::table::Key;
use crate::wire::framed::frame::{ResetCode, TooLong};

/// Body bytes of one stream that may wait here for credit and their turn.
const QUEUE: usize = 64 * 1024;

impl<T> Streams<T> {
    /// How many bytes may be added to a body. Where it is none `waker` is called when that has changed.
    ///
    /// Any number as long as all bodies have room. Beyond it, one that has nothing here but may send gets a piece: otherwise it would
    /// never have its turn, and with more than that many bodies which nobody reads would pass any bound.
    ///
    /// # Errors
    ///
    /// Nobody takes it any more.
    pub fn poll_room(&mut self, key: Key, waker: &Waker) -> Poll<Result<usize, Gone>> {
        let Some(stream) = self.table.get_mut(key) else { return Poll::Ready(Err(Gone(None))) };
        let Some(outgoing) = &mut stream.outgoing else { return Poll::Ready(Err(stream.gone())) };
        let crowded = self.queued >= self.most_queued;
        let alone = outgoing.queued == 0 && stream.credit.available() > 0;
        if if crowded { alone } else { outgoing.queued < QUEUE } {
            return Poll::Ready(Ok(if crowded { PIECE } else { usize::MAX }));
        }
        // One of before is called once more, for nothing, instead of being dropped under the lock.
        let before = remember(&mut outgoing.waker, waker);
        self.wakers.extend(before);
        Poll::Pending
    }

    /// Ready once the head of its message was taken into a record, so that pieces may follow. Otherwise `waker` is called
    /// when that has changed.
    ///
    /// # Errors
    ///
    /// Nobody takes the body any more.
    pub fn poll_sent(&mut self, key: Key, waker: &Waker) -> Poll<Result<(), Gone>> {
        if self.table.get(key).is_some_and(|stream| stream.head_sent && stream.outgoing.is_some()) {
            return Poll::Ready(Ok(()));
        }
        self.poll_gone(key, waker).map(Err)
    }

    /// Ready once nobody takes the body any more. `waker` is called then, and when there is room.
    pub fn poll_gone(&mut self, key: Key, waker: &Waker) -> Poll<Gone> {
        let Some(stream) = self.table.get_mut(key) else { return Poll::Ready(Gone(None)) };
        let Some(outgoing) = &mut stream.outgoing else { return Poll::Ready(stream.gone()) };
        // One of before is called once more, for nothing, instead of being dropped under the lock.
        let before = remember(&mut outgoing.waker, waker);
        self.wakers.extend(before);
        Poll::Pending
    }

    /// Adds a piece to a body. One that nobody takes any more is forgotten.
    pub fn push(&mut self, key: Key, piece: Bytes) {
        let outgoing = self.table.get_mut(key).and_then(|stream| stream.outgoing.as_mut());
        let Some(outgoing) = outgoing.filter(|_| !piece.is_empty()) else { return self.spent.push(piece) };
        debug_assert!(outgoing.end.is_none(), "nothing comes after the end");
        self.queued += piece.len();
        if outgoing.ready {
            self.ready.add(piece.len(), outgoing.whole);
        }
        outgoing.push(piece);
        self.schedule(key);
    }

    /// Ends a body, with what the codec wrote to come behind it.
    ///
    /// # Errors
    ///
    /// The trailers are longer than the peer takes: the body has not ended.
    pub fn finish(&mut self, key: Key, trailers: Option<Bytes>) -> Result<(), TooLong> {
        let (length, limit) = (trailers.as_ref().map_or(0, Bytes::len), self.theirs.head as usize);
        if length > limit {
            self.spent.extend(trailers);
            return Err(TooLong { length, limit });
        }
        let outgoing = self.table.get_mut(key).and_then(|stream| stream.outgoing.as_mut());
        match outgoing.filter(|outgoing| outgoing.end.is_none()) {
            Some(outgoing) => {
                outgoing.end = Some(trailers);
                self.schedule(key);
            }
            None => self.spent.extend(trailers),
        }
        Ok(())
    }

    /// Has a body travel past the compressor, as it does not compress.
    pub fn send_raw(&mut self, key: Key) {
        if let Some(outgoing) = self.table.get_mut(key).and_then(|stream| stream.outgoing.as_mut()) {
            outgoing.raw = true;
        }
    }

    /// The next piece of an arriving body; `None` at its end. `waker` is called when there is more.
    ///
    /// # Errors
    ///
    /// The stream was broken off before the end.
    pub fn poll_piece(&mut self, key: Key, waker: &Waker) -> Poll<Option<Result<Bytes, Gone>>> {
        let Some(stream) = self.table.get_mut(key) else { return Poll::Ready(Some(Err(Gone(None)))) };
        let Some(incoming) = &mut stream.incoming else {
            return Poll::Ready(if stream.got_end { None } else { Some(Err(stream.gone())) });
        };
        if let Some(piece) = incoming.pieces.pop() {
            incoming.unread_since = None;
            incoming.window.consume(piece.len());
            self.window.consume(piece.len());
            if incoming.window.is_due() && !stream.got_end && !std::mem::replace(&mut incoming.credit_due, true) {
                let credits = &mut self.control.credits;
                credits.push_back(key);
                self.table.tidy(credits, |stream| stream.incoming.as_ref().is_some_and(|incoming| incoming.credit_due));
            }
            return Poll::Ready(Some(Ok(piece)));
        }
        if stream.got_end {
            return Poll::Ready(None);
        }
        let before = remember(&mut incoming.waker, waker);
        self.wakers.extend(before);
        Poll::Pending
    }

    /// What came behind an arriving body, once it has ended; it is given once.
    pub fn trailers(&mut self, key: Key) -> Option<Bytes> {
        self.table.get_mut(key)?.incoming.as_mut()?.trailers.take()
    }

    /// Nobody is going to read the rest of an arriving body: it makes room for others. Its sender is not told and soon runs out
    /// of credit, until the reply ends the call; a client that wants no reply any more resets the stream instead.
    pub fn discard(&mut self, key: Key) {
        let Some(stream) = self.table.get_mut(key) else { return };
        if stream.one_way && !stream.got_end {
            return self.reset(key, ResetCode::Cancelled, "");
        }
        let Some(incoming) = &mut stream.incoming else { return };
        incoming.unwanted = true;
        let pieces = incoming.pieces.take();
        let lying = pieces.iter().map(Bytes::len).sum();
        self.spent.extend(pieces);
        incoming.window.consume(lying);
        self.window.consume(lying);
    }
}
