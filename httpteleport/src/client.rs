//! Makes HTTP calls over a teleport connection or a pool of them.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fastrpc::internals::{Attempt, Groups, Route};
use fastrpc::{AtLimit, BoxError, BoxIo, ContextMemory, ErrorKind, Io, RecordCodec, Stats, Wire};
use http::Method;
use tokio::time::Instant;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::exchange::Exchanging;
use crate::forward::{Bodies, forward_framed_setters, forward_link_setters, forward_setters};
use crate::stream::{FramedClient, HeadsOf, Streaming};
use crate::{ClassicCodec, CodecError, Eager, Error, Heads, Lazy, Limits, lazy, protocol};

mod calling;

pub use calling::Calling;
use calling::Way;

/// Settings of a [`Client`]. Made by [`Client::builder`].
#[must_use]
pub struct ClientBuilder<H: Heads = Eager> {
    transport: fastrpc::ClientBuilder<Codec<H>>,
    limits: Limits,
    bodies: Bodies,
}

/// What a client sends is as it was given, and what it receives becomes what its caller wants where the caller is.
pub(crate) type Codec<H> = ClassicCodec<<H as Heads>::Request, lazy::Response>;

impl<H: Heads> Clone for ClientBuilder<H> {
    fn clone(&self) -> Self {
        Self { transport: self.transport.clone(), limits: self.limits, bodies: self.bodies }
    }
}

impl ClientBuilder {
    forward_framed_setters!("ClientBuilder");
}

impl<H: Heads> ClientBuilder<H> {
    fn new(limits: Limits, wire: Wire) -> Self {
        let transport = fastrpc::Client::builder(ClassicCodec::of(limits)).protocol(protocol()).wire(wire);
        let transport = transport.max_head(limits.max_framed_head());
        Self { transport: transport.max_undecoded(limits.max_undecoded()), limits, bodies: Bodies::default() }
    }

    forward_link_setters!("ClientBuilder");

    /// Framed wire: tells `observer` how each connection ended, as [`fastrpc::ClientBuilder::on_connection_end`].
    pub fn on_connection_end(mut self, observer: impl Fn(&Result<(), fastrpc::Error>) + Send + Sync + 'static) -> Self {
        self.transport = self.transport.on_connection_end(observer);
        self
    }

    forward_setters! { "ClientBuilder":
        /// Connections in the pool.
        connections(n: usize);
        /// Groups that may have a client of their own at a time; see [`Client::for_group`].
        max_groups(groups: usize);
        /// Most calls that may be pending over the whole pool.
        max_pending(calls: usize);
        /// Most encoded bytes that may wait for the peer to read.
        max_unsent(bytes: usize);
        /// Most calls of one connection whose reply is owed though nobody waits for it any more.
        max_abandoned(calls: usize);
        /// What a call does when a limit is met.
        at_limit(at_limit: AtLimit);
        /// The deadline of calls that are given none.
        timeout(limit: Duration);
        /// The longest that reaching the peer may take.
        dial_timeout(limit: Duration);
        /// The pauses after dials that failed.
        backoff(first: Duration, most: Duration);
        /// Speaks TLS with this configuration to a server of this name.
        tls(config: Arc<rustls::ClientConfig>, name: ServerName<'static>);
    }

    /// A client of the server at `address`, `host:port` or `teleport://host:port`. Nothing is dialled yet.
    ///
    /// # Errors
    ///
    /// Names the setting that is unusable.
    pub fn connect(self, address: &str) -> Result<Client<H>, Error> {
        let address = address.strip_prefix("teleport://").unwrap_or(address);
        let address = address.strip_suffix('/').unwrap_or(address);
        self.finish(|builder| builder.connect(address), |builder| builder.connect(address))
    }

    /// A client of the server at the unix socket `path`.
    ///
    /// # Errors
    ///
    /// Names the setting that is unusable.
    #[cfg(unix)]
    pub fn connect_unix(self, path: impl Into<PathBuf>) -> Result<Client<H>, Error> {
        let path = path.into();
        self.finish(|builder| builder.connect_unix(&path), |builder| builder.connect_unix(&path))
    }

    /// A client over streams that `dial` makes. `name` is what errors call the peer.
    ///
    /// # Errors
    ///
    /// Names the setting that is unusable.
    pub fn connect_with<D, F, S>(self, name: &str, dial: D) -> Result<Client<H>, Error>
    where
        D: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: Io,
    {
        let dial = Arc::new(dial);
        let again = dial.clone();
        self.finish(
            |builder| builder.connect_with(name, move || dial()),
            |builder| builder.connect_with(name, move || again()),
        )
    }

    /// Opens one connection over `io` now; the caller polls the driver, usually by spawning it. It is one of the framed wire if
    /// [`Wire::Framed`] is set, and of the classic one otherwise: there is one stream, and so one attempt.
    ///
    /// # Errors
    ///
    /// An unusable setting, or what went wrong in the opening exchange.
    pub async fn handshake(self, io: impl Io) -> Result<(Client<H>, fastrpc::Driver<Codec<H>>), Error> {
        if self.transport.wire_set() == Wire::Framed {
            return Box::pin(self.handshake_framed(io)).await; // Much larger, and rare.
        }
        let (classic, driver) = self.transport.wire(Wire::Classic).handshake(io).await?;
        Ok((Client::of(classic, None, Route::new(Wire::Classic), self.bodies.max_collected), driver))
    }

    async fn handshake_framed(self, io: impl Io) -> Result<(Client<H>, fastrpc::Driver<Codec<H>>), Error> {
        let limits = self.limits.on_framed();
        let (calls, driver) = self.transport.streams(HeadsOf(limits)).handshake(io).await?;
        let gone = || async { Err::<BoxIo, _>(io::Error::other("there is one connection")) };
        let client = self.finish(|builder| builder.connect_with("one connection", gone), |_| Ok(calls))?;
        Ok((client, driver.into()))
    }

    /// Makes the halves of a client that its wire needs.
    fn finish(
        self,
        classic: impl FnOnce(fastrpc::ClientBuilder<Codec<H>>) -> Result<fastrpc::Client<Codec<H>>, fastrpc::Error>,
        framed: impl FnOnce(
            fastrpc::stream::ClientBuilder<HeadsOf>,
        ) -> Result<fastrpc::stream::Client<HeadsOf>, fastrpc::Error>,
    ) -> Result<Client<H>, Error> {
        let Self { transport, limits, bodies } = self;
        let wire = transport.wire_set();
        let framed = match wire {
            Wire::Classic => None,
            Wire::Auto | Wire::Framed => {
                let limits = limits.on_framed();
                Some(FramedClient { calls: framed(transport.streams(HeadsOf(limits)))?, limits, pause: bodies.pause })
            }
        };
        let classic = classic(transport.beside_streams())?;
        Ok(Client::of(classic, framed, Route::new(wire), bodies.max_collected))
    }
}

/// Makes HTTP calls. Cheap to clone; clones share connections, limits and counters.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use httpteleport::{Body, Client};
///
/// let client = Client::new("teleport://10.0.0.2:9876")?;
/// let request = http::Request::get("http://example.com/foo").body(Body::empty())?;
/// let response = client.call(request).await?;
/// assert!(response.status().is_success());
/// # Ok(())
/// # }
/// ```
pub struct Client<H: Heads = Eager> {
    classic: fastrpc::Client<Codec<H>>,
    /// There unless the wire is the classic one alone.
    framed: Option<FramedClient>,
    route: Route,
    max_collected: usize,
    groups: Arc<Groups<Self>>,
}

impl<H: Heads> Clone for Client<H> {
    fn clone(&self) -> Self {
        let Self { classic, framed, route, max_collected, groups } = self;
        let (classic, framed, groups) = (classic.clone(), framed.clone(), groups.clone());
        Self { classic, framed, route: route.clone(), max_collected: *max_collected, groups }
    }
}

impl<H: Heads> fmt::Debug for Client<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("pending", &self.pending()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the server at `address`, `host:port` or `teleport://host:port`, with every setting at its default.
    ///
    /// # Errors
    ///
    /// The address has no host or no port.
    pub fn new(address: &str) -> Result<Self, Error> {
        Self::builder(Limits::default()).connect(address)
    }

    /// Settings for a client whose messages keep to `limits`.
    pub fn builder(limits: Limits) -> ClientBuilder {
        ClientBuilder::new(limits, Wire::Auto)
    }

    /// Settings for a client that speaks in the types of [`lazy`], on the classic wire, whose heads are text.
    pub fn lazy(limits: Limits) -> ClientBuilder<Lazy> {
        ClientBuilder::new(limits, Wire::Classic)
    }

    /// Calls the server with a body that streams, where the wire can: await what comes back for the response, which is there
    /// when its head is. Its body comes piece by piece, while the request's still goes. Nothing happens before it is polled.
    ///
    /// The request needs a host, in a `Host` header or in its URI. See [`stream`](crate::stream) for what becomes of bodies on
    /// the classic wire, and for upgrades. A call none of whose bytes left, because its connection ended, is made once more on
    /// another one.
    pub fn stream<B>(&self, request: http::Request<B>) -> Streaming<'_, B>
    where
        B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        Streaming::new(self, request)
    }
}

impl<H: Heads> Client<H> {
    fn of(
        classic: fastrpc::Client<Codec<H>>,
        framed: Option<FramedClient>,
        route: Route,
        max_collected: usize,
    ) -> Self {
        let groups = Arc::new(Groups::new(classic.max_groups(), classic.idle_timeout()));
        Self { classic, framed, route, max_collected, groups }
    }

    /// The client of a group of callers, with connections of its own: requests of different groups share neither a connection
    /// nor its compression, whose sizes could tell one what is in the other's cookies. Give each group of users who may see
    /// each other's data a key, the tenant for instance.
    ///
    /// It has the settings of this one, whose limits count for each, while the counters are of all together; closing or draining
    /// this one does so to all. A group that nobody asked for in the idle timeout, and has no calls, is forgotten, and so is the longest unused one where
    /// there are `max_groups`. Ask for the client of each call, or keep it: both is cheap.
    ///
    /// # Errors
    ///
    /// There are as many groups as may, all with calls; this client was closed; it has but [one](ClientBuilder::handshake)
    /// connection; or the key has over 1,024 bytes.
    pub fn for_group(&self, key: impl AsRef<[u8]>) -> Result<Self, Error> {
        Ok(self.groups.get(key.as_ref(), Self::pending, || self.apart())?)
    }

    fn apart(&self) -> Result<Self, fastrpc::Error> {
        let framed = self.framed.as_ref().map(FramedClient::apart).transpose()?;
        Ok(Self::of(self.classic.apart()?, framed, self.route.clone(), self.max_collected))
    }

    /// Calls the server: await what comes back for the response. Nothing happens before it is polled first.
    ///
    /// The request needs a host, in a `Host` header or in its URI. Request and response bodies are buffered whole, the response's
    /// up to [`Limits::max_body`]; see [`Client::stream`] for others. Copy what is to be kept for long of a response: it shares
    /// [memory](crate::lazy#memory) with others.
    #[inline]
    pub fn call(&self, request: H::Request) -> Calling<'_, H> {
        let method = H::method(&request).clone();
        if self.framed.is_none() || !self.route.may_attempt() {
            return Calling { way: Way::Classic(self.classic.call(request)), method };
        }
        Calling { way: Way::Framed(Exchanging::new(self, request)), method }
    }

    /// Calls that wait for their reply now, or whose bodies still stream: a measure of load.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.classic.pending() + self.framed.as_ref().map_or(0, |framed| framed.calls.pending())
    }

    /// Whether the server could not be reached the last time it was dialled.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        match &self.framed {
            Some(framed) if self.route.is_framed() => framed.calls.is_failing(),
            _ => self.classic.is_failing(),
        }
    }

    /// What the client has done so far, its groups included. Calls that are pending are its own.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let framed = self.framed.as_ref().map(|framed| framed.calls.stats());
        self.classic.stats() + framed.unwrap_or_default()
    }

    /// Ends at once: pending calls fail, connections close, later calls are refused.
    pub fn close(&self) {
        self.classic.close();
        if let Some(framed) = &self.framed {
            framed.calls.close();
        }
        self.groups.all().iter().for_each(Self::close);
    }

    /// Refuses new calls, waits for the pending ones, bodies that stream included, then closes. Cancel safe.
    pub async fn drain(&self) {
        self.begin_drain();
        for client in self.groups.all().iter().chain([self]) {
            client.classic.drain().await;
            if let Some(framed) = &client.framed {
                framed.calls.drain().await;
            }
        }
    }

    fn begin_drain(&self) {
        self.classic.begin_drain();
        if let Some(framed) = &self.framed {
            framed.calls.begin_drain();
        }
        self.groups.all().iter().for_each(Self::begin_drain);
    }

    /// The half that speaks the framed wire, if that is what a call takes that begins now.
    pub(crate) fn attempt(&self) -> Option<(&FramedClient, Attempt)> {
        Some((self.framed.as_ref()?, self.route.attempt()?))
    }

    pub(crate) fn framed(&self) -> Option<&FramedClient> {
        self.framed.as_ref()
    }

    pub(crate) fn classic(&self) -> &fastrpc::Client<Codec<H>> {
        &self.classic
    }

    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    /// Most bytes of a body that is collected for the classic wire.
    pub(crate) fn max_collected(&self) -> usize {
        self.max_collected
    }

    /// The deadline of calls that are given none.
    pub(crate) fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.classic.timeout()).unwrap_or(now + Duration::from_secs(60 * 60 * 24 * 365))
    }

    /// After a call that took the classic wire because the peer had ended the connection before a byte of TLS: one that was
    /// reached so speaks that wire alone.
    pub(crate) fn note_fallback(&self, error: Option<&Error>) {
        use ErrorKind::{Connection, Protocol, Refused, Timeout};
        let left =
            |error: &Error| !error.may_retry() && matches!(error.kind(), Connection | Protocol | Refused | Timeout);
        if error.is_none_or(left) {
            self.route.went_classic();
        }
    }
}

/// What a reply of the classic wire is to its caller.
pub(crate) fn whole_reply<H: Heads>(asked: &Method, reply: lazy::Response) -> Result<H::Response, Error> {
    let refused = |fault| fastrpc::Error::refused_reply(CodecError::reply(fault)).into();
    H::response(asked, reply).map_err(refused)
}
