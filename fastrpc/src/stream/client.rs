//! Makes calls whose bodies stream.

use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::HeadCodec;
use super::begun::Begun;
use super::channel::Channel;
use crate::client::dial::Dialer;
use crate::client::groups::Groups;
use crate::client::settings::{Settings, client_setters};
use crate::config::{Wire, link_setters};
use crate::error::{Error, ErrorKind};
use crate::io::Io;
use crate::mux::admission::Admission;
use crate::mux::conn::{Deadline, closed};
use crate::mux::link::Peer;
use crate::mux::session::{self, BodyReader, BodyWriter, NoCalls, SendBody};
use crate::stats::{Counters, Stats, add};
use crate::wire::framed::frame::ResetCode;

/// Settings of a [`Client`]. Made by [`Client::builder`].
#[derive(Clone)]
#[must_use]
pub struct ClientBuilder<C> {
    codec: C,
    settings: Settings,
}

impl<C: HeadCodec> ClientBuilder<C> {
    link_setters!();
    client_setters!(Client<C>);

    pub(crate) fn of(codec: C, settings: Settings) -> Self {
        Self { codec, settings }
    }

    /// Opens one connection over `io` now. The caller drives it: the [`Driver`] must be polled, usually by spawning it.
    /// The client is for this connection alone; when it has ended, calls fail. The settings of pools and of dialling do not
    /// apply.
    ///
    /// # Errors
    ///
    /// An unusable setting, or what went wrong in the opening exchange; the source is [`NotFramed`](super::NotFramed) if the peer does not speak
    /// this wire.
    pub async fn handshake(mut self, io: impl Io) -> Result<(Client<C>, Driver), Error> {
        self.check()?;
        let client = Client::of(Arc::new(self.codec), self.settings, None, None, Arc::default());
        let driver = client.inner.share.open(Box::new(io), &client.inner.settings).await?;
        Ok((client, driver))
    }

    fn check(&mut self) -> Result<(), Error> {
        self.settings.check()?;
        if self.settings.link.wire == Wire::Classic {
            return Err(Error::config("wire is Classic, on which no body streams: set Framed or Auto"));
        }
        Ok(())
    }

    fn with_dialer<D, F, S>(mut self, peer: Peer, dial: D) -> Result<Client<C>, Error>
    where
        D: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: Io,
    {
        self.check()?;
        let settings = &self.settings;
        let dialer = Dialer::new(dial, settings, peer.clone());
        Ok(Client::of(Arc::new(self.codec), self.settings, peer, Some(dialer), Arc::default()))
    }
}

/// Drives the one connection of [`ClientBuilder::handshake`]. It ends when the connection has: `Ok` after it was drained or
/// closed, the cause otherwise. Dropping it ends the connection.
#[must_use = "nothing moves on the connection until its driver is polled: spawn it"]
pub struct Driver(pub(crate) Box<session::Driver<NoCalls>>);

impl Future for Driver {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

struct Inner<C> {
    share: Share<C>,
    settings: Settings,
    peer: Peer,
    /// `None`: one connection, given from outside.
    dialer: Option<Dialer>,
    admission: Arc<Admission>,
    counters: Arc<Counters>,
    groups: Groups<Client<C>>,
}

/// What a call needs of its client, whether that still lives or not.
struct Share<C>(Arc<Part<C>>);

struct Part<C> {
    codec: Arc<C>,
    channel: Channel,
}

impl<C> Clone for Share<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> Deref for Share<C> {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        &self.0.channel
    }
}

impl<C> Drop for Inner<C> {
    fn drop(&mut self) {
        self.share.begin_drain();
    }
}

/// Makes calls whose bodies stream. Cheap to clone; clones share the pool, its limits and its counters.
///
/// Connections live in the runtime whose task first needed them, as those of [`fastrpc::Client`](crate::Client).
pub struct Client<C> {
    inner: Arc<Inner<C>>,
}

impl<C> Clone for Client<C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<C: HeadCodec> Client<C> {
    /// Settings for a client whose heads `codec` reads and writes.
    pub fn builder(codec: C) -> ClientBuilder<C> {
        ClientBuilder::of(codec, Settings::new())
    }

    fn of(codec: Arc<C>, settings: Settings, peer: Peer, dialer: Option<Dialer>, counters: Arc<Counters>) -> Self {
        let admission = Arc::new(Admission::new(settings.max_pending, settings.max_unsent));
        let channel = Channel::new(&settings, peer.clone(), dialer.clone(), admission.clone(), counters.clone());
        let groups = Groups::new(settings.max_groups, settings.link.idle_timeout);
        let share = Share(Arc::new(Part { codec, channel }));
        Self { inner: Arc::new(Inner { share, settings, peer, dialer, admission, counters, groups }) }
    }

    /// The client of a group of callers, with connections of its own; see
    /// [`fastrpc::Client::for_group`](crate::Client::for_group).
    ///
    /// # Errors
    ///
    /// There are as many groups as may, all with calls; this client was closed; or the key has over 1,024 bytes.
    pub fn for_group(&self, key: impl AsRef<[u8]>) -> Result<Self, Error> {
        self.inner.groups.get(key.as_ref(), Self::pending, || self.apart())
    }

    /// Another client of the same settings.
    #[doc(hidden)]
    pub fn apart(&self) -> Result<Self, Error> {
        let Inner { share, settings, peer, dialer, counters, .. } = &*self.inner;
        let Part { codec, channel } = &*share.0;
        if channel.is_closed() {
            return Err(closed());
        }
        let dialer = Some(dialer.clone().ok_or_else(crate::client::no_groups)?);
        Ok(Self::of(codec.clone(), settings.clone(), peer.clone(), dialer, counters.clone()))
    }

    /// Begins a call: what comes back is awaited for the reply, and if the body goes in pieces, they are given to the writer.
    /// The client's timeout holds until the reply's head has come; the server is told, and drops what nobody awaits.
    ///
    /// # Errors
    ///
    /// A limit is met, the head cannot be encoded, or there is no connection.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or later what it gave, cancels the call.
    pub async fn call(&self, request: &C::Request, body: SendBody) -> Result<(Answer<C>, Option<BodyWriter>), Error> {
        self.begin(request, body, Deadline::After(self.inner.share.timeout())).await
    }

    /// The same with a deadline of its own.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub async fn call_before(
        &self,
        deadline: Instant,
        request: &C::Request,
        body: SendBody,
    ) -> Result<(Answer<C>, Option<BodyWriter>), Error> {
        self.begin(request, body, Deadline::At(deadline)).await
    }

    /// The same with a body that is at hand, if there is a connection and room for a call, so that nothing is to be waited for.
    /// `waker` is called when there is something to see, as if the answer had been polled.
    #[doc(hidden)]
    pub fn call_at_once(
        &self,
        deadline: Instant,
        request: &C::Request,
        body: &Bytes,
        waker: &Waker,
    ) -> Option<Result<Answer<C>, Error>> {
        let Inner { share, counters, .. } = &*self.inner;
        let Part { codec, channel } = &*share.0;
        let encode = |out: &mut Vec<u8>| codec.encode_request(request, out);
        let begun = Channel::begin_now(share.clone(), encode, body, deadline, waker)?;
        add(&counters.calls, 1);
        let begun = begun.inspect_err(|error| channel.count_error(error));
        Some(begun.map(|begun| Answer { begun }))
    }

    async fn begin(
        &self,
        request: &C::Request,
        body: SendBody,
        deadline: Deadline,
    ) -> Result<(Answer<C>, Option<BodyWriter>), Error> {
        let Inner { share, .. } = &*self.inner;
        let codec = &share.0.codec;
        let (begun, writer) = Channel::begin(share, |out| codec.encode_request(request, out), body, deadline).await?;
        Ok((Answer { begun }, writer))
    }

    /// Calls with a body that is at hand, and waits for the reply. A call that never left, because its connection ended first,
    /// is made once more on another.
    ///
    /// # Errors
    ///
    /// As those of [`Client::call`] and of [`Answer`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call.
    pub async fn exchange(&self, request: &C::Request, body: Bytes) -> Result<Reply<C::Reply>, Error> {
        let deadline = Instant::now() + self.inner.share.timeout().min(crate::config::FAR);
        let mut again = self.inner.share.can_dial();
        loop {
            let (answer, _) = self.call_before(deadline, request, SendBody::Whole(body.clone())).await?;
            match answer.await {
                Err(error) if again && error.kind() == ErrorKind::Connection && error.may_retry() => again = false,
                outcome => return outcome,
            }
        }
    }

    /// Calls that are not over: a measure of load.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.inner.admission.pending()
    }

    /// Whether the last attempt to open a connection failed and none has succeeded since.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.inner.share.is_failing()
    }

    /// What the client has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.counters.snapshot(self.pending())
    }

    /// Ends at once: pending calls fail, connections close, later calls are refused.
    pub fn close(&self) {
        self.inner.share.close();
        self.inner.groups.all().iter().for_each(Self::close);
    }

    /// Refuses new calls, waits for those that go on, bodies included, then closes. Cancel safe: what was refused stays so, and
    /// the connections still end after their last call.
    pub async fn drain(&self) {
        self.begin_drain();
        let groups = self.inner.groups.all();
        self.inner.share.drained().await;
        for group in groups {
            group.inner.share.drained().await;
        }
    }

    /// The first half of [`Client::drain`].
    #[doc(hidden)]
    pub fn begin_drain(&self) {
        self.inner.share.begin_drain();
        self.inner.groups.all().iter().for_each(Self::begin_drain);
    }

    /// The deadline of calls that are given none.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.inner.share.timeout()
    }
}

/// A reply: its head, and the body that follows it.
#[derive(Debug)]
pub struct Reply<R> {
    /// As the codec read it.
    pub head: R,
    /// Dropping it before its end cancels the call.
    pub body: BodyReader,
}

/// The answer to a call: await it for the reply's head.
///
/// # Errors
///
/// [`Error::kind`] tells the phase that failed; [`Error::may_retry`] whether the peer can have seen the call.
///
/// # Cancel safety
///
/// Dropping it cancels the call, at the server too.
#[must_use = "dropping it cancels the call"]
pub struct Answer<C: HeadCodec> {
    begun: Begun<Share<C>>,
}

impl<C: HeadCodec> Answer<C> {
    /// The next head that comes ahead of the reply, as its codec wrote it: a 103 of HTTP, for instance. `None` once the call
    /// has its outcome, which awaiting it then gives at once. Whoever does not ask finds the last 16 here.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has taken nothing.
    pub async fn interim(&mut self) -> Option<Bytes> {
        self.begun.interim().await
    }
}

impl<C: HeadCodec> Future for Answer<C> {
    type Output = Result<Reply<C::Reply>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut reply = ready!(self.begun.poll(cx))?;
        self.begun.give(&mut reply.body);
        Poll::Ready(match self.begun.channel().0.codec.decode_reply(&reply.head) {
            Ok(head) => Ok(Reply { head, body: reply.body }),
            Err(error) => {
                reply.body.refuse(ResetCode::Malformed, error.to_string());
                Err(self.begun.refused(error))
            }
        })
    }
}

impl<C: HeadCodec> fmt::Debug for Client<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("pending", &self.pending()).finish_non_exhaustive()
    }
}
