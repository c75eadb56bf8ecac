//! The client: calls over one connection or a pool of them.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::codec::Codec;
use crate::config::{Wire, link_setters};
use crate::error::Error;
use crate::io::{BoxIo, Io};
use crate::mux::client_driver::Driver as ClassicDriver;
use crate::mux::conn::{Deadline, closed};
use crate::mux::handshake;
use crate::mux::link::{Link, Peer};
use crate::stats::{Stats, add};
use crate::stream::{self, HeadCodec};

mod call;
pub(crate) mod dial;
pub(crate) mod door;
pub(crate) mod groups;
mod inner;
pub(crate) mod places;
pub(crate) mod pool;
pub(crate) mod route;
pub(crate) mod settings;

pub use call::PendingCall;
use dial::Dialer;
use inner::Inner;
pub(crate) use inner::no_groups;
use route::Route;
use settings::{Settings, client_setters};

/// Settings of a [`Client`]. Made by [`Client::builder`].
#[derive(Clone)]
#[must_use]
pub struct ClientBuilder<C> {
    codec: C,
    settings: Settings,
}

impl<C: Codec> ClientBuilder<C> {
    link_setters!();
    client_setters!(Client<C>);

    /// The same settings for a client of streamed calls.
    pub fn streams<H: HeadCodec>(&self, codec: H) -> stream::ClientBuilder<H> {
        stream::ClientBuilder::of(codec, self.settings.clone())
    }

    /// The same settings for a client of the classic wire that stands beside one of streamed calls.
    #[doc(hidden)]
    pub fn beside_streams(mut self) -> Self {
        self.settings.link.beside_framed = self.settings.link.wire == Wire::Auto;
        self.settings.link.wire = Wire::Classic;
        self
    }

    /// The wire that is set.
    #[doc(hidden)]
    pub fn wire_set(&self) -> Wire {
        self.settings.link.wire
    }

    /// Opens one connection over `io` now. The caller drives it: the [`Driver`] must be polled, usually by spawning it.
    /// The client is for this connection alone; when it has ended, calls fail. The settings of pools and of dialling do not
    /// apply. [`Client::drain`] needs the driver to be polled, like everything else.
    ///
    /// It is the framed wire that is opened if [`Wire::Framed`] is set, and the classic one otherwise: there is one stream, and
    /// so one attempt.
    ///
    /// # Errors
    ///
    /// An unusable setting, or what went wrong in the opening exchange.
    pub async fn handshake(mut self, io: impl Io) -> Result<(Client<C>, Driver<C>), Error> {
        self.settings.check()?;
        let io: BoxIo = Box::new(io);
        if self.settings.link.wire == Wire::Framed {
            return Box::pin(self.handshake_framed(io)).await; // Much larger, and rare.
        }
        self.settings.link.wire = Wire::Classic;
        let Settings { link, tls, .. } = &self.settings;
        let opened =
            handshake::client(io, &link.protocol, link.compression, tls.as_ref(), link.handshake_timeout, &None)
                .await?;
        let config = link.clone();
        let link = Link::new(opened, link);
        let inner = self.inner(None, None);
        let conn = inner.pool.adopt(&inner);
        let driver = Box::new(ClassicDriver::opened(conn, config, link));
        Ok((Client { inner }, Driver(Drives::Classic(driver))))
    }

    async fn handshake_framed(self, io: BoxIo) -> Result<(Client<C>, Driver<C>), Error> {
        let inner = self.inner(None, None);
        let driver = inner.framed.open(io, &inner.settings).await?;
        Ok((Client { inner }, driver.into()))
    }

    fn with_dialer<D, F, S>(mut self, peer: Peer, dial: D) -> Result<Client<C>, Error>
    where
        D: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: Io,
    {
        self.settings.check()?;
        let dialer = Dialer::new(dial, &self.settings, peer.clone());
        Ok(Client { inner: self.inner(peer, Some(dialer)) })
    }

    fn inner(self, peer: Peer, dialer: Option<Dialer>) -> Arc<Inner<C>> {
        let route = Route::new(self.settings.link.wire);
        Inner::new(Arc::new(self.codec), self.settings, route, peer, dialer, Arc::default())
    }
}

/// Drives the one connection of [`ClientBuilder::handshake`]. It ends when the connection has: `Ok` after it was drained or
/// closed, the cause otherwise. Dropping it ends the connection.
#[must_use = "nothing moves on the connection until its driver is polled: spawn it"]
pub struct Driver<C: Codec>(Drives<C>);

enum Drives<C: Codec> {
    Classic(Box<ClassicDriver<C>>),
    Framed(stream::Driver),
}

impl<C: Codec> From<stream::Driver> for Driver<C> {
    fn from(driver: stream::Driver) -> Self {
        Self(Drives::Framed(driver))
    }
}

impl<C: Codec> Future for Driver<C> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Drives::Classic(driver) => Pin::new(driver).poll(cx),
            Drives::Framed(driver) => Pin::new(driver).poll(cx),
        }
    }
}

/// Makes calls. Cheap to clone; clones share the pool, its limits and its counters.
///
/// Connections live in the runtime whose task first needed them: make all calls of one client from one runtime. In another
/// one they would wait for a driver that only moves while the first runtime runs.
///
/// Connections are opened when calls need them and again after they ended. When the last clone is dropped they end as
/// soon as what was handed over is sent.
pub struct Client<C: Codec> {
    inner: Arc<Inner<C>>,
}

impl<C: Codec> Clone for Client<C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<C: Codec> Client<C> {
    /// Settings for a client that speaks `codec`.
    pub fn builder(codec: C) -> ClientBuilder<C> {
        ClientBuilder { codec, settings: Settings::new() }
    }

    /// Calls the server: await what comes back for the reply. **Nothing happens before it is polled first**: to have calls
    /// travel together, poll them together, with `tokio::join!` or in tasks.
    ///
    /// A call whose connection ended before a byte of it left is made once more on another connection; otherwise calls
    /// are never repeated. Cancel safe: dropping the future forgets the call, and a late reply reaches nobody.
    pub fn call(&self, request: C::Request) -> PendingCall<'_, C> {
        PendingCall::new(&self.inner, request, Deadline::After(self.inner.settings.timeout))
    }

    /// The client of a group of callers, with connections of its own, so that calls of different groups share neither a
    /// connection nor its compression, whose sizes could tell one what another says. It has the settings of this one, whose limits
    /// count for each, while the counters are of all together; closing or draining this one does so to all.
    ///
    /// A group that nobody asked for in the idle timeout, and has no calls, is forgotten, and so is the longest unused one where
    /// there are `max_groups`. Ask for the client of each call, or keep it: both is cheap.
    ///
    /// # Errors
    ///
    /// There are as many groups as may, all with calls; this client was closed; it has but [one](ClientBuilder::handshake)
    /// connection; or the key has over 1,024 bytes.
    pub fn for_group(&self, key: impl AsRef<[u8]>) -> Result<Self, Error> {
        self.inner.groups.get(key.as_ref(), Self::pending, || self.apart())
    }

    /// Another client of the same settings, that knows of the peer what this one does.
    #[doc(hidden)]
    pub fn apart(&self) -> Result<Self, Error> {
        let Inner { codec, settings, route, peer, dialer, door, counters, .. } = &*self.inner;
        if door.is_closed() {
            return Err(closed());
        }
        let dialer = Some(dialer.clone().ok_or_else(no_groups)?);
        let (codec, settings, counters) = (codec.clone(), settings.clone(), counters.clone());
        Ok(Self { inner: Inner::new(codec, settings, route.clone(), peer.clone(), dialer, counters) })
    }

    /// Hands a request over for which no reply is wanted. It is sent with the next batch; whether it arrived is not
    /// known. Never waits: at a limit it fails.
    ///
    /// # Errors
    ///
    /// Overload, a request that cannot be encoded, or a client that was closed.
    pub fn send(&self, request: &C::Request) -> Result<(), Error> {
        let sent = match self.inner.route.attempt() {
            Some(attempt) => self.inner.send_framed(request, attempt),
            None => self.inner.send(request),
        };
        add(&self.inner.counters.calls, u64::from(sent.is_ok()));
        sent
    }

    #[doc(hidden)]
    pub fn max_groups(&self) -> usize {
        self.inner.settings.max_groups
    }

    #[doc(hidden)]
    pub fn idle_timeout(&self) -> Duration {
        self.inner.settings.link.idle_timeout
    }

    /// Calls that wait for their reply now: a measure of load.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.inner.admission.pending()
    }

    /// Whether the last attempt to open a connection failed and none has succeeded since: another server may be the
    /// better choice for now.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        let Inner { route, framed, pool, .. } = &*self.inner;
        if route.is_framed() { framed.is_failing() } else { pool.is_failing() }
    }

    /// The deadline of calls that are given none.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.inner.settings.timeout
    }

    /// What the client has done so far, its groups included. Calls that are pending are its own.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.counters.snapshot(self.pending())
    }

    /// Ends at once: pending calls fail, connections close, later calls are refused.
    pub fn close(&self) {
        door::close(&*self.inner);
        self.inner.closed.store(true, Ordering::Release);
        for conn in self.inner.pool.connections() {
            conn.close(closed());
        }
        self.inner.framed.close();
        self.inner.groups.all().iter().for_each(Self::close);
    }

    /// Refuses new calls, waits for the pending ones, then closes. Their deadlines bound the wait. Cancel safe: what
    /// was refused stays so, and the connections still end after their last call.
    pub async fn drain(&self) {
        self.begin_drain();
        let groups = self.inner.groups.all();
        self.drained().await;
        for group in groups {
            group.drained().await;
        }
    }

    /// The first half of [`Client::drain`].
    #[doc(hidden)]
    pub fn begin_drain(&self) {
        door::close(&*self.inner);
        self.inner.groups.all().iter().for_each(Self::begin_drain);
    }

    async fn drained(&self) {
        self.inner.door.empty().await;
        for conn in self.inner.pool.connections() {
            conn.wait_ended().await;
        }
        self.inner.framed.drained().await;
    }
}
