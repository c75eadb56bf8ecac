//! The server: accepts connections and runs a handler for each call.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_rustls::rustls;
use tokio_util::sync::CancellationToken;

use crate::codec::Codec;
use crate::config::{LinkConfig, MAX_PENDING, link_setters, within};
use crate::error::Error;
use crate::io::{BoxIo, Io};
use crate::mux::handlers::encode_or_fail;
use crate::mux::handshake;
use crate::mux::link::Link;
use crate::mux::server_driver::ServerDriver;
use crate::stats::{Counters, Stats, add};

mod accept;
pub use accept::{Listener, Serve};

pub use crate::mux::dispatch::Dispatch;

/// One call, as its handler gets it.
#[derive(Debug)]
pub struct Call<R> {
    request: R,
    peer: Option<SocketAddr>,
    wants_reply: bool,
}

impl<R> Call<R> {
    pub(crate) fn new(request: R, peer: Option<SocketAddr>, wants_reply: bool) -> Self {
        Self { request, peer, wants_reply }
    }

    /// What the client sent.
    pub fn request(&self) -> &R {
        &self.request
    }

    /// What the client sent, to keep.
    pub fn into_request(self) -> R {
        self.request
    }

    /// The address of the client's end of the connection, where the transport has one.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// False for a fire-and-forget call, whose reply is dropped.
    pub fn wants_reply(&self) -> bool {
        self.wants_reply
    }
}

/// Answers calls. Any `Fn(Call<Request>) -> impl Future<Output = Reply>` is one.
///
/// The future may be dropped before it ends: when its connection breaks nobody can receive its reply. A panic in it
/// costs this call alone; the caller gets the reply that [`Codec::failure`] makes.
pub trait Handler<C: Codec>: Send + Sync + 'static {
    /// Answers one call.
    fn call(&self, call: Call<C::Request>) -> impl Future<Output = C::Reply> + Send;
}

impl<C, F, Fut> Handler<C> for F
where
    C: Codec,
    F: Fn(Call<C::Request>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = C::Reply> + Send,
{
    fn call(&self, call: Call<C::Request>) -> impl Future<Output = C::Reply> + Send {
        self(call)
    }
}

/// Settings of a [`Server`]. Made by [`Server::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ServerBuilder<C> {
    codec: C,
    link: LinkConfig,
    dispatch: Dispatch,
    concurrency: usize,
    max_unread: usize,
    calls_per_turn: usize,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl<C: Codec> ServerBuilder<C> {
    link_setters!();

    /// Where handlers run. Default: inline first.
    pub fn dispatch(mut self, dispatch: Dispatch) -> Self {
        self.dispatch = dispatch;
        self
    }

    /// Most handlers that run at once, over all connections, 1 to 1,048,575. Default: 10,000. A call beyond it is
    /// answered at once with the reply that [`Codec::failure`] makes of the overload.
    pub fn concurrency(mut self, limit: usize) -> Self {
        self.concurrency = limit;
        self
    }

    /// Reply bytes that a client may leave unread before no more of its requests are taken. Default: 1 MiB. Handlers
    /// that run already may pass it by their replies; at 256 times as much the connection ends.
    pub fn max_unread(mut self, bytes: usize) -> Self {
        self.max_unread = bytes;
        self
    }

    /// Calls of one connection that are dispatched before other tasks of the runtime have their turn. Default: 256.
    pub fn calls_per_turn(mut self, calls: usize) -> Self {
        self.calls_per_turn = calls;
        self
    }

    /// Serves TLS only, with this configuration; clients that want clear text are refused. It begins after the hello,
    /// inside the connection. Default: clear text only.
    pub fn tls(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// Checks the settings and makes the server.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) names the setting that is unusable.
    pub fn build(mut self) -> Result<Server<C>, Error> {
        self.link.check()?;
        within("concurrency", self.concurrency, 1, MAX_PENDING)?;
        within("max_unread", self.max_unread, 1024, 1 << 30)?;
        // A batch that waits for more than may wait would wait for its delay.
        self.link.write_buffer = self.link.write_buffer.min(self.max_unread);
        within("calls_per_turn", self.calls_per_turn, 1, 1 << 20)?;
        let settings = Settings {
            codec: self.codec,
            link: self.link,
            dispatch: self.dispatch,
            concurrency: self.concurrency,
            max_unread: self.max_unread,
            calls_per_turn: self.calls_per_turn,
            tls: self.tls,
            counters: Counters::default(),
            running: Arc::default(),
            shutdown: CancellationToken::new(),
        };
        Ok(Server { settings: Arc::new(settings) })
    }
}

struct Settings<C> {
    codec: C,
    link: LinkConfig,
    dispatch: Dispatch,
    concurrency: usize,
    max_unread: usize,
    calls_per_turn: usize,
    tls: Option<Arc<rustls::ServerConfig>>,
    counters: Counters,
    running: Arc<AtomicUsize>,
    shutdown: CancellationToken,
}

/// Serves calls on any number of listeners and connections, which share its limits and counters. Cheap to clone.
pub struct Server<C> {
    settings: Arc<Settings<C>>,
}

impl<C> Clone for Server<C> {
    fn clone(&self) -> Self {
        Self { settings: self.settings.clone() }
    }
}

impl<C: Codec> Server<C> {
    /// Settings for a server that speaks `codec`.
    pub fn builder(codec: C) -> ServerBuilder<C> {
        ServerBuilder {
            codec,
            link: LinkConfig::new(std::time::Duration::from_secs(120)),
            dispatch: Dispatch::default(),
            concurrency: 10_000,
            max_unread: 1 << 20,
            calls_per_turn: 256,
            tls: None,
        }
    }

    /// Accepts connections from `listener` and answers their calls with `handler`. Await the value that comes back, or
    /// give it a signal first with [`Serve::with_graceful_shutdown`].
    pub fn serve<L: Listener, H: Handler<C>>(&self, listener: L, handler: H) -> Serve<C, L, H> {
        Serve::new(self.clone(), listener, handler)
    }

    /// Serves one connection until it ends: hello, TLS if set, calls. For whoever accepts by other means.
    ///
    /// Dropping the future drops the handlers that run.
    ///
    /// # Errors
    ///
    /// Why the connection ended, when it was not by the client's close or a shutdown.
    pub async fn serve_connection<H: Handler<C>>(
        &self,
        io: impl Io,
        peer: Option<SocketAddr>,
        handler: Arc<H>,
    ) -> Result<(), Error> {
        let shutdown = self.settings.shutdown.clone();
        let service = Arc::new(Service { settings: self.settings.clone(), handler, shutdown });
        serve_connection(service, Box::new(io), peer).await
    }

    /// Stops taking connections and requests on every listener and connection; what has begun is finished.
    pub fn shutdown(&self) {
        self.settings.shutdown.cancel();
    }

    /// What the server has done so far.
    pub fn stats(&self) -> Stats {
        self.settings.counters.snapshot(self.settings.running.load(Ordering::Relaxed))
    }
}

async fn serve_connection<C: Codec, H: Handler<C>>(
    service: Arc<Service<C, H>>,
    io: BoxIo,
    peer: Option<SocketAddr>,
) -> Result<(), Error> {
    let counters = service.counters();
    let config = service.link();
    let tls = service.settings.tls.clone();
    let opening = handshake::server(io, &config.protocol, config.compression, tls, config.handshake_timeout);
    let opened = tokio::select! {
        opened = opening => opened.inspect_err(|_| add(&counters.connect_errors, 1))?,
        () = service.shutdown.cancelled() => return Ok(()),
    };
    add(&counters.connections, 1);
    let link = Link::new(opened, config);
    let make = |service: Arc<Service<C, H>>, call| async move { service.handler().call(call).await };
    let ended = ServerDriver::new(service.clone(), make, link, peer).await;
    ended.inspect_err(|_| add(&counters.connection_errors, 1))
}

/// What the driver of a connection needs of its server.
pub(crate) struct Service<C, H> {
    settings: Arc<Settings<C>>,
    handler: Arc<H>,
    /// The server's, or that of one of its listeners.
    shutdown: CancellationToken,
}

impl<C: Codec, H: Handler<C>> Service<C, H> {
    pub(crate) fn codec(&self) -> &C {
        &self.settings.codec
    }

    pub(crate) fn handler(&self) -> &H {
        &self.handler
    }

    pub(crate) fn link(&self) -> &LinkConfig {
        &self.settings.link
    }

    pub(crate) fn dispatch(&self) -> Dispatch {
        self.settings.dispatch
    }

    pub(crate) fn concurrency(&self) -> usize {
        self.settings.concurrency
    }

    pub(crate) fn max_unread(&self) -> usize {
        self.settings.max_unread
    }

    pub(crate) fn calls_per_turn(&self) -> usize {
        self.settings.calls_per_turn
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.settings.counters
    }

    pub(crate) fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// A permit to run one handler, unless as many run as may.
    pub(crate) fn admit(&self) -> Option<Permit> {
        let running = &self.settings.running;
        let one_more = |now: usize| (now < self.settings.concurrency).then_some(now + 1);
        running.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Permit(running.clone()))
    }

    pub(crate) fn encode_reply(&self, id: u32, reply: &C::Reply, out: &mut Vec<u8>) -> Option<bool> {
        encode_or_fail(&self.settings.codec, &self.settings.counters, id, reply, out)
    }
}

/// One of the handlers that may run at once.
pub(crate) struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
