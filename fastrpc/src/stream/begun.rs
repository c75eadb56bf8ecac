//! Calls that were begun, and what they occupy.

use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::channel::Channel;
use crate::codec::BoxError;
use crate::error::Error;
use crate::mux::session::{self, BodyReader, ReplyFuture};
use crate::stats::add;

/// What a call occupies until it is over. `C` leads to the channel: a share of it where the call may outlive the client.
pub(crate) struct Occupied<C: Deref<Target = Channel>> {
    channel: C,
    admitted: bool,
    /// Where it counts in the pool.
    place: Option<usize>,
}

impl<C: Deref<Target = Channel>> Occupied<C> {
    /// Of a call that was admitted.
    pub(super) fn new(channel: C, place: Option<usize>) -> Self {
        Self { channel, admitted: true, place }
    }

    /// What leads to the channel.
    pub(super) fn channel(&self) -> &C {
        &self.channel
    }

    /// It counts at this place now.
    pub(super) fn move_to(&mut self, place: usize) {
        self.leave();
        self.place = Some(place);
    }

    /// Leaves its place in the pool.
    fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            self.channel.pool.leave(place);
        }
    }

    /// The call is over.
    fn end(&mut self) {
        self.leave();
        self.channel.admission.release(usize::from(std::mem::take(&mut self.admitted)));
    }

    /// All of it goes to somebody else.
    fn hand_over(&mut self) -> Self
    where
        C: Clone,
    {
        let (admitted, place) = (std::mem::take(&mut self.admitted), self.place.take());
        Self { channel: self.channel.clone(), admitted, place }
    }
}

impl<C: Deref<Target = Channel>> Drop for Occupied<C> {
    fn drop(&mut self) {
        self.end();
    }
}

/// A call that was begun: its reply, as bytes.
pub(crate) struct Begun<C: Deref<Target = Channel>> {
    reply: ReplyFuture,
    occupied: Occupied<C>,
}

impl<C: Deref<Target = Channel> + Clone> Begun<C> {
    pub(super) fn new(reply: ReplyFuture, occupied: Occupied<C>) -> Self {
        Self { reply, occupied }
    }

    /// What leads to the channel.
    pub(crate) fn channel(&self) -> &C {
        self.occupied.channel()
    }

    /// The next head that comes ahead of the reply; see [`ReplyFuture::interim`].
    pub(crate) async fn interim(&mut self) -> Option<Bytes> {
        self.reply.interim().await
    }

    /// Its codec does not take the reply.
    pub(crate) fn refused(&self, error: BoxError) -> Error {
        Error::refused(error, self.occupied.channel.peer.clone())
    }

    /// It broke off after its head had come.
    pub(crate) fn failed(&self, error: Error) -> Error {
        let channel = &self.occupied.channel;
        channel.count_error(&error);
        error.with_peer(channel.peer.clone())
    }

    /// It was given up after its head had come.
    pub(crate) fn late(&self) -> Error {
        let channel = &self.occupied.channel;
        add(&channel.counters.timeouts, 1);
        Error::timeout(channel.peer.clone(), true)
    }

    /// The reply. The call occupies its place until this is dropped, unless it [gives](Begun::give) that away.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<session::Reply, Error>> {
        Pin::new(&mut self.reply).poll(cx).map_err(|error| {
            self.occupied.end();
            self.failed(error)
        })
    }

    /// The call occupies its place until this body of its reply has ended.
    pub(crate) fn give(&mut self, body: &mut BodyReader)
    where
        C: Send + Sync + 'static,
    {
        match body.whole_len() {
            Some(_) => self.occupied.end(),
            None => body.keep(self.occupied.hand_over()),
        }
    }
}
