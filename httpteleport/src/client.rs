//! Makes HTTP calls over a teleport connection or a pool of them.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fastrpc::{AtLimit, Io, Stats};
use http::Method;
use tokio::time::Instant;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::forward::{forward_link_setters, forward_setters};
use crate::{ClassicCodec, CodecError, Eager, Error, Heads, Lazy, Limits, lazy, protocol};

/// Settings of a [`Client`]. Made by [`Client::builder`].
#[must_use]
pub struct ClientBuilder<H: Heads = Eager> {
    transport: fastrpc::ClientBuilder<Codec<H>>,
}

/// What a client sends is as it was given, and what it receives becomes what its caller wants where the caller is.
type Codec<H> = ClassicCodec<<H as Heads>::Request, lazy::Response>;

impl<H: Heads> Clone for ClientBuilder<H> {
    fn clone(&self) -> Self {
        Self { transport: self.transport.clone() }
    }
}

impl<H: Heads> ClientBuilder<H> {
    fn new(limits: Limits) -> Self {
        let transport = fastrpc::Client::builder(ClassicCodec::of(limits)).protocol(protocol());
        Self { transport: transport.max_undecoded(limits.max_undecoded()) }
    }

    forward_link_setters!("ClientBuilder");

    forward_setters! { "ClientBuilder":
        /// Connections in the pool.
        connections(n: usize);
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
        Ok(self.transport.connect(address.strip_suffix('/').unwrap_or(address))?.into())
    }

    /// A client of the server at the unix socket `path`.
    ///
    /// # Errors
    ///
    /// Names the setting that is unusable.
    #[cfg(unix)]
    pub fn connect_unix(self, path: impl Into<PathBuf>) -> Result<Client<H>, Error> {
        Ok(self.transport.connect_unix(path)?.into())
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
        Ok(self.transport.connect_with(name, dial)?.into())
    }

    /// Opens one connection over `io` now; the caller polls the driver, usually by spawning it.
    ///
    /// # Errors
    ///
    /// An unusable setting, or what went wrong in the opening exchange.
    pub async fn handshake(
        self,
        io: impl Io,
    ) -> Result<(Client<H>, fastrpc::Driver<ClassicCodec<H::Request, lazy::Response>>), Error> {
        let (client, driver) = self.transport.handshake(io).await?;
        Ok((client.into(), driver))
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
    transport: fastrpc::Client<Codec<H>>,
}

impl<H: Heads> Clone for Client<H> {
    fn clone(&self) -> Self {
        Self { transport: self.transport.clone() }
    }
}

impl<H: Heads> fmt::Debug for Client<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("pending", &self.pending()).finish_non_exhaustive()
    }
}

impl<H: Heads> From<fastrpc::Client<Codec<H>>> for Client<H> {
    fn from(transport: fastrpc::Client<Codec<H>>) -> Self {
        Self { transport }
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
        ClientBuilder::new(limits)
    }

    /// Settings for a client that speaks in the types of [`lazy`].
    pub fn lazy(limits: Limits) -> ClientBuilder<Lazy> {
        ClientBuilder::new(limits)
    }
}

impl<H: Heads> Client<H> {
    /// Calls the server: await what comes back for the response. Nothing happens before it is polled first.
    ///
    /// The request needs a host, in a `Host` header or in its URI. Request and response bodies are buffered whole: on
    /// this wire a message travels only when it is complete. Copy what is to be kept for long of a response: it shares
    /// [memory](crate::lazy#memory) with others.
    #[inline]
    pub fn call(&self, request: H::Request) -> Calling<'_, H> {
        let method = H::method(&request).clone();
        Calling { call: self.transport.call(request), method }
    }

    /// Calls that wait for their reply now: a measure of load.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.transport.pending()
    }

    /// Whether the server could not be reached the last time it was dialled.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.transport.is_failing()
    }

    /// What the client has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.transport.stats()
    }

    /// Ends at once: pending calls fail, connections close, later calls are refused.
    pub fn close(&self) {
        self.transport.close();
    }

    /// Refuses new calls, waits for the pending ones, then closes. Cancel safe.
    pub async fn drain(&self) {
        self.transport.drain().await;
    }
}

/// A call that was made with [`Client::call`]: await it for the response.
///
/// # Cancel safety
///
/// Dropping it forgets the call. A request still unsent is never sent; a reply that comes late reaches nobody.
#[must_use = "a call is made when it is first polled"]
pub struct Calling<'a, H: Heads = Eager> {
    call: fastrpc::PendingCall<'a, Codec<H>>,
    method: Method,
}

impl<H: Heads> Calling<'_, H> {
    /// Gives up when the whole reply has not come after `limit`, counted from the first poll.
    #[inline]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.call = self.call.timeout(limit);
        self
    }

    /// Gives up when the whole reply has not come at `at`.
    #[inline]
    pub fn deadline(mut self, at: Instant) -> Self {
        self.call = self.call.deadline(at);
        self
    }

    /// The request, after the call failed: to make it again elsewhere if [`Error::may_retry`] allows it.
    ///
    /// `None` before the end, after a response, and when it was taken already.
    pub fn take_request(&mut self) -> Option<H::Request> {
        self.call.take_request()
    }
}

impl<H: Heads> fmt::Debug for Calling<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calling").field("method", &self.method).finish_non_exhaustive()
    }
}

impl<H: Heads> Future for Calling<'_, H> {
    type Output = Result<H::Response, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = ready!(Pin::new(&mut self.call).poll(cx))?;
        let refused = |fault| fastrpc::Error::refused_reply(CodecError::reply(fault)).into();
        Poll::Ready(H::response(&self.method, reply).map_err(refused))
    }
}
