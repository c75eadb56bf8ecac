//! The client: calls over one connection or a pool of them.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use crate::codec::Codec;
use crate::config::{Wire, link_setters};
use crate::error::{Error, ErrorKind};
use crate::io::{BoxIo, Io};
use crate::mux::admission::Admission;
use crate::mux::client_driver::Driver as ClassicDriver;
use crate::mux::conn::{Conn, Deadline, NotRegistered, closed};
use crate::mux::handshake;
use crate::mux::link::{Link, Peer};
use crate::stats::{Counters, Stats, add};
use crate::stream::{self, Channel, HeadCodec, NotFramed};

mod call;
pub(crate) mod dial;
pub(crate) mod door;
pub(crate) mod places;
pub(crate) mod pool;
pub(crate) mod route;
pub(crate) mod settings;

pub use call::PendingCall;
use dial::Dialer;
use door::{Behind, Door, Within};
use pool::{Pool, runtime};
use route::{Attempt, Route};
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
            return self.handshake_framed(io).await;
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
        let driver = ClassicDriver::opened(conn, config, link);
        Ok((Client { inner }, Driver(Drives::Classic(Box::new(driver)))))
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
        let settings = self.settings;
        let admission = Arc::new(Admission::new(settings.max_pending, settings.max_unsent));
        let counters = Arc::<Counters>::default();
        Arc::new(Inner {
            codec: Arc::new(self.codec),
            peer: peer.clone(),
            route: Route::new(settings.link.wire),
            framed: Channel::new(&settings, peer, dialer.clone(), admission.clone(), counters.clone()),
            admission,
            counters,
            door: Door::default(),
            closed: AtomicBool::new(false),
            pool: Pool::new(if dialer.is_some() { settings.connections } else { 1 }, dialer, settings.backoff),
            settings,
        })
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

pub(crate) struct Inner<C: Codec> {
    codec: Arc<C>,
    settings: Settings,
    peer: Peer,
    route: Route,
    admission: Arc<Admission>,
    counters: Arc<Counters>,
    door: Door,
    /// No connection is opened any more.
    closed: AtomicBool,
    /// Connections of the classic wire.
    pool: Pool<C>,
    /// And those of the framed one.
    framed: Channel,
}

impl<C: Codec> Behind for Inner<C> {
    fn door(&self) -> &Door {
        &self.door
    }

    /// Connections end after their last call.
    fn all_through(&self) {
        self.closed.store(true, Ordering::Release);
        for conn in self.pool.connections() {
            conn.drain();
        }
        self.framed.begin_drain();
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

    /// What the client has done so far.
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
    }

    /// Refuses new calls, waits for the pending ones, then closes. Their deadlines bound the wait. Cancel safe: what
    /// was refused stays so, and the connections still end after their last call.
    pub async fn drain(&self) {
        door::close(&*self.inner);
        self.inner.door.empty().await;
        for conn in self.inner.pool.connections() {
            conn.wait_ended().await;
        }
        self.inner.framed.drained().await;
    }
}

impl<C: Codec> Inner<C> {
    /// Runs `register` on a usable connection, opening one if need be.
    fn on_connection<T>(
        &self,
        mut register: impl FnMut(&Conn<C>) -> Result<T, NotRegistered>,
    ) -> Result<(T, Arc<Conn<C>>), Error> {
        // A connection may end between being chosen and being used; that it happens time and again is not plausible.
        for _ in 0..8 {
            if self.is_closed() {
                return Err(closed());
            }
            let conn = self.pool.connection(self)?;
            match register(&conn) {
                Ok(registered) => return Ok((registered, conn)),
                Err(NotRegistered::Error(error)) => return Err(error.with_peer(self.peer.clone())),
                Err(NotRegistered::Unusable) => {}
            }
        }
        Err(Error::new(ErrorKind::Connection, "connections end as soon as they begin")
            .with_peer(self.peer.clone())
            .with_retry(true))
    }

    fn send(&self, request: &C::Request) -> Result<(), Error> {
        if self.door.is_closed() {
            return Err(closed());
        }
        self.admit_now()?;
        let admitted = Admitted(self);
        self.on_connection(|conn| conn.send(request))?;
        std::mem::forget(admitted); // From here the connection gives the admission back.
        Ok(())
    }

    /// With what goes out next, if there is a connection, or else once there is one.
    fn send_framed(self: &Arc<Self>, request: &C::Request, attempt: Attempt) -> Result<(), Error> {
        let within = Within::enter(&**self).ok_or_else(closed)?;
        self.admit_now()?;
        let admitted = Admitted(self);
        let mut message = Vec::new();
        let encoded = self.codec.encode_request(request, &mut message).map_err(Error::encode);
        encoded.inspect_err(|error| self.framed.count_error(error))?;
        let message = message.into();
        if let Some(sent) = self.framed.try_send(&message) {
            if sent.is_ok() {
                self.route.went_framed();
            }
            return sent.inspect_err(|error| self.framed.count_error(error));
        }
        let runtime = runtime()?;
        std::mem::forget(admitted);
        within.set_aside();
        let inner = self.clone();
        runtime.spawn(async move {
            let (_within, _attempt) = (Within::take_up(&*inner), attempt);
            let sent = inner.send_later(&message, Admitted(&inner)).await;
            let _ = sent.inspect_err(|error| inner.framed.count_error(error)); // Nobody waits for it.
        });
        Ok(())
    }

    /// Once there is a connection, of whichever wire. Of a fallback nothing is learnt unless a hello of the classic wire came:
    /// nobody hears whether what is sent arrives.
    async fn send_later(&self, message: &Bytes, admitted: Admitted<'_, C>) -> Result<(), Error> {
        let error = match self.framed.send(message).await {
            Ok(()) => {
                self.route.went_framed();
                return Ok(());
            }
            Err(error) => error,
        };
        match NotFramed::of(&error).filter(|_| self.route.may_fall_back()) {
            Some(NotFramed::Classic) => self.route.went_classic(),
            Some(NotFramed::NoTls) => {}
            None => return Err(error),
        }
        self.on_connection(|conn| conn.send_encoded(message))?;
        std::mem::forget(admitted); // From here the connection gives the admission back.
        Ok(())
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn admit_now(&self) -> Result<(), Error> {
        self.admission.try_admit().map_err(|full| self.overload(full))
    }
}

/// Gives an admission back unless the call got onto a connection; on unwind of the codec too.
struct Admitted<'a, C: Codec>(&'a Inner<C>);

impl<C: Codec> Drop for Admitted<'_, C> {
    fn drop(&mut self) {
        self.0.admission.release(1);
    }
}

impl<C: Codec> Drop for Inner<C> {
    fn drop(&mut self) {
        self.all_through();
    }
}
