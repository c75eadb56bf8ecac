//! The client: calls over one connection or a pool of them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::codec::Codec;
use crate::config::{FAR, LinkConfig, MAX_PENDING, link_setters, positive, within};
use crate::error::{Error, ErrorKind};
use crate::io::{BoxIo, Io};
use crate::mux::admission::{Admission, AtLimit};
use crate::mux::client_driver::Driver;
use crate::mux::conn::{Conn, Deadline, NotRegistered, closed};
use crate::mux::handshake::{self, ClientTls};
use crate::mux::link::{Link, Peer};
use crate::stats::{Counters, Stats, add};

mod call;
mod dial;
mod pool;

pub use call::PendingCall;
use dial::Dialer;
use pool::Pool;

/// Settings of a [`Client`]. Made by [`Client::builder`].
#[derive(Clone)]
#[must_use]
pub struct ClientBuilder<C> {
    codec: C,
    link: LinkConfig,
    connections: usize,
    max_pending: usize,
    max_unsent: usize,
    max_abandoned: usize,
    at_limit: AtLimit,
    timeout: Duration,
    dial_timeout: Duration,
    backoff: (Duration, Duration),
    tls: Option<ClientTls>,
}

impl<C: Codec> ClientBuilder<C> {
    link_setters!();

    /// Connections in the pool, 1 to 1,024. Default: 1. Each is dialled when a call first needs it; a call takes the
    /// one with the fewest pending calls.
    pub fn connections(mut self, n: usize) -> Self {
        self.connections = n;
        self
    }

    /// Most calls that may be pending over the whole pool, 1 to 1,048,575. Default: 32,768. Fire-and-forget calls count
    /// until their batch goes out.
    pub fn max_pending(mut self, calls: usize) -> Self {
        self.max_pending = calls;
        self
    }

    /// Most encoded bytes that may wait for the peer to read, over the whole pool. Default: 64 MiB. The last message
    /// admitted may pass it by its own length.
    pub fn max_unsent(mut self, bytes: usize) -> Self {
        self.max_unsent = bytes;
        self
    }

    /// Most calls of one connection that were dropped or timed out while the peer still owes their reply. Default:
    /// 10,000. Past it the connection takes no new calls, finishes, and another takes its place.
    pub fn max_abandoned(mut self, calls: usize) -> Self {
        self.max_abandoned = calls;
        self
    }

    /// What a call does when a limit is met. Default: it fails.
    pub fn at_limit(mut self, at_limit: AtLimit) -> Self {
        self.at_limit = at_limit;
        self
    }

    /// The deadline of calls that are given none. Default: 30 s. A peer that is silent for the read timeout ends its
    /// connection and its calls earlier; for calls that may take longer, raise both.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// The longest that reaching the peer may take, before the opening exchange. Default: 5 s.
    pub fn dial_timeout(mut self, limit: Duration) -> Self {
        self.dial_timeout = limit;
        self
    }

    /// The pause after a dial that failed: `first`, then twice as long each time up to `most`, each shortened by up to
    /// half at random so that clients do not come in step. Default: 50 ms to 1 s.
    pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
        self.backoff = (first, most);
        self
    }

    /// Speaks TLS with this configuration to a server of this name. Default: clear text.
    pub fn tls(mut self, config: Arc<rustls::ClientConfig>, name: ServerName<'static>) -> Self {
        self.tls = Some(ClientTls { config, name });
        self
    }

    /// A client of the server at `address`, `host:port`. Names are resolved at each dial. Nothing is dialled yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] names the setting that is unusable.
    pub fn connect(self, address: impl Into<String>) -> Result<Client<C>, Error> {
        let address = address.into();
        let has_port =
            address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !has_port {
            return Err(Error::config(format!("address {address:?} has no host or no port: give host:port")));
        }
        let peer = Some(Arc::from(address.as_str()));
        self.with_dialer(peer, move || {
            let address = address.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?; // Batches are made here; the kernel has nothing to wait for.
                Ok(stream)
            }
        })
    }

    /// A client of the server at the unix socket `path`.
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::connect`].
    #[cfg(unix)]
    pub fn connect_unix(self, path: impl Into<PathBuf>) -> Result<Client<C>, Error> {
        let path = path.into();
        let peer = Some(Arc::from(path.display().to_string()));
        self.with_dialer(peer, move || tokio::net::UnixStream::connect(path.clone()))
    }

    /// A client over streams that `dial` makes: one for each connection, and one more whenever a connection has ended
    /// and a call needs it again. `name` is what errors call the peer.
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::connect`].
    pub fn connect_with<D, F, S>(self, name: &str, dial: D) -> Result<Client<C>, Error>
    where
        D: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: Io,
    {
        self.with_dialer(Some(Arc::from(name)), dial)
    }

    /// Opens one connection over `io` now. The caller drives it: the [`Driver`] must be polled, usually by spawning it.
    /// The client is for this connection alone; when it has ended, calls fail. The settings of pools and of dialling do not
    /// apply. [`Client::drain`] needs the driver to be polled, like everything else.
    ///
    /// # Errors
    ///
    /// An unusable setting, or what went wrong in the opening exchange.
    pub async fn handshake(mut self, io: impl Io) -> Result<(Client<C>, Driver<C>), Error> {
        self.check()?;
        let link = &self.link;
        let io: BoxIo = Box::new(io);
        let opened =
            handshake::client(io, &link.protocol, link.compression, self.tls.as_ref(), link.handshake_timeout, &None)
                .await?;
        let link = Link::new(opened, link);
        let config = self.link.clone();
        let inner = self.inner(None, None);
        let conn = inner.pool.adopt(&inner);
        let driver = Driver::opened(conn, config, link);
        Ok((Client { inner }, driver))
    }

    fn with_dialer<D, F, S>(mut self, peer: Peer, dial: D) -> Result<Client<C>, Error>
    where
        D: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: Io,
    {
        self.check()?;
        let dialer = Dialer::new(dial, self.dial_timeout, self.tls.clone(), self.link.clone(), peer.clone());
        Ok(Client { inner: self.inner(peer, Some(dialer)) })
    }

    fn check(&mut self) -> Result<(), Error> {
        self.link.check()?;
        self.dial_timeout = self.dial_timeout.min(FAR);
        self.backoff = (self.backoff.0.min(FAR), self.backoff.1.min(FAR));
        within("connections", self.connections, 1, 1024)?;
        within("max_pending", self.max_pending, 1, MAX_PENDING)?;
        within("max_unsent", self.max_unsent, 1, 1 << 40)?;
        // A batch that waits for more than may wait would wait for its delay.
        self.link.write_buffer = self.link.write_buffer.min(self.max_unsent);
        within("max_abandoned", self.max_abandoned, 1, MAX_PENDING / 2)?;
        positive("timeout", self.timeout)?;
        positive("dial_timeout", self.dial_timeout)?;
        positive("backoff", self.backoff.0.min(self.backoff.1))
    }

    fn inner(self, peer: Peer, dialer: Option<Dialer>) -> Arc<Inner<C>> {
        let connections = if dialer.is_some() { self.connections } else { 1 };
        Arc::new(Inner {
            codec: Arc::new(self.codec),
            link: self.link,
            at_limit: self.at_limit,
            timeout: self.timeout,
            max_abandoned: self.max_abandoned,
            peer,
            admission: Arc::new(Admission::new(self.max_pending, self.max_unsent)),
            counters: Arc::default(),
            closed: AtomicBool::new(false),
            pool: Pool::new(connections, dialer, self.backoff),
        })
    }
}

pub(crate) struct Inner<C: Codec> {
    codec: Arc<C>,
    link: LinkConfig,
    at_limit: AtLimit,
    timeout: Duration,
    max_abandoned: usize,
    peer: Peer,
    admission: Arc<Admission>,
    counters: Arc<Counters>,
    closed: AtomicBool,
    pool: Pool<C>,
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
        ClientBuilder {
            codec,
            link: LinkConfig::new(Duration::from_secs(100)),
            connections: 1,
            max_pending: 32_768,
            max_unsent: 64 << 20,
            max_abandoned: 10_000,
            at_limit: AtLimit::default(),
            timeout: Duration::from_secs(30),
            dial_timeout: Duration::from_secs(5),
            backoff: (Duration::from_millis(50), Duration::from_secs(1)),
            tls: None,
        }
    }

    /// Calls the server: await what comes back for the reply. **Nothing happens before it is polled first**: to have calls
    /// travel together, poll them together, with `tokio::join!` or in tasks.
    ///
    /// A call whose connection ended before a byte of it left is made once more on another connection; otherwise calls
    /// are never repeated. Cancel safe: dropping the future forgets the call, and a late reply reaches nobody.
    pub fn call(&self, request: C::Request) -> PendingCall<'_, C> {
        PendingCall::new(&self.inner, request, Deadline::After(self.inner.timeout))
    }

    /// Hands a request over for which no reply is wanted. It is sent with the next batch; whether it arrived is not
    /// known. Never waits: at a limit it fails.
    ///
    /// # Errors
    ///
    /// Overload, a request that cannot be encoded, or a client that was closed.
    pub fn send(&self, request: &C::Request) -> Result<(), Error> {
        self.inner.admit_now()?;
        let admitted = Admitted(&self.inner);
        self.inner.on_connection(|conn| conn.send(request))?;
        std::mem::forget(admitted); // From here the connection gives the admission back.
        add(&self.inner.counters.calls, 1);
        Ok(())
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
        self.inner.pool.is_failing()
    }

    /// What the client has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.counters.snapshot(self.pending())
    }

    /// Ends at once: pending calls fail, connections close, later calls are refused.
    pub fn close(&self) {
        self.inner.closed.store(true, Ordering::Release);
        for conn in self.inner.pool.connections() {
            conn.close(closed());
        }
    }

    /// Refuses new calls, waits for the pending ones, then closes. Their deadlines bound the wait. Cancel safe: what
    /// was refused stays so, and the connections still end after their last call.
    pub async fn drain(&self) {
        self.inner.closed.store(true, Ordering::Release);
        for conn in self.inner.pool.connections() {
            conn.drain();
        }
        for conn in self.inner.pool.connections() {
            conn.wait_ended().await;
        }
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
        for conn in self.pool.connections() {
            conn.drain();
        }
    }
}
