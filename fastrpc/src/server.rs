//! The server: accepts connections and runs a handler for each call.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_rustls::rustls;
use tokio_util::sync::CancellationToken;

use crate::codec::Codec;
use crate::config::{LinkConfig, MAX_PENDING, Wire, link_setters, within};
use crate::error::Error;
use crate::io::{BoxIo, Io};
use crate::mux::link::Link;
use crate::mux::server_driver::ServerDriver;
use crate::mux::session::Accepted;
use crate::stats::{Counters, Open, Stats, add};
use crate::stream::{Answering, FramedCall, HeadCodec, StreamHandler, Streaming, messages};

mod accept;
mod service;
pub use accept::{Listener, Serve};
pub use service::PermitHere;
pub(crate) use service::{Permit, Service};

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

    /// Answers one call of the framed wire as it came. For layers whose messages stream there. The call is there, and is taken
    /// from where it lies, as it is large.
    #[doc(hidden)]
    fn answer(&self, call: &mut Option<FramedCall<'_, C>>) -> impl Future<Output = ()> + Send {
        messages::answer(self, call)
    }

    /// Is told of a call of the classic wire that its codec has refused, and answered with that reply. Runs where the connection is
    /// driven.
    #[doc(hidden)]
    fn refused(&self, reply: &C::Reply, peer: Option<SocketAddr>) {
        let _ = (reply, peer);
    }
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
    settings: Settings,
}

impl<C> ServerBuilder<C> {
    link_setters!();

    /// Where handlers run. Default: inline first.
    pub fn dispatch(mut self, dispatch: Dispatch) -> Self {
        self.settings.dispatch = dispatch;
        self
    }

    /// Most handlers that run at once, over all connections, 1 to 1,048,575. Default: 10,000. A call beyond it is
    /// answered at once with the reply that [`Codec::failure`] makes of the overload.
    pub fn concurrency(mut self, limit: usize) -> Self {
        self.settings.concurrency = limit;
        self
    }

    /// Reply bytes that a client may leave unread before no more of its requests are taken. Default: 1 MiB. Handlers
    /// that run already may pass it by their replies; at 256 times as much the connection ends.
    pub fn max_unread(mut self, bytes: usize) -> Self {
        self.settings.max_unread = bytes;
        self
    }

    /// Calls of one connection that are dispatched before other tasks of the runtime have their turn. Default: 256.
    pub fn calls_per_turn(mut self, calls: usize) -> Self {
        self.settings.calls_per_turn = calls;
        self
    }

    /// Serves TLS only, with this configuration; clients that want clear text are refused. It begins after the hello,
    /// inside the connection. Default: clear text only.
    pub fn tls(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        self.settings.tls = Some(config);
        self
    }

    /// Checks the settings and makes the server.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) names the setting that is unusable.
    pub fn build(mut self) -> Result<Server<C>, Error> {
        let settings = &mut self.settings;
        settings.link.check()?;
        within("concurrency", settings.concurrency, 1, MAX_PENDING)?;
        within("max_unread", settings.max_unread, 1024, 1 << 30)?;
        // A batch that waits for more than may wait would wait for its delay.
        settings.link.write_buffer = settings.link.write_buffer.min(settings.max_unread);
        within("calls_per_turn", settings.calls_per_turn, 1, 1 << 20)?;
        let inner = Inner {
            codec: Arc::new(self.codec),
            settings: self.settings,
            counters: Arc::default(),
            running: Arc::default(),
            shutdown: CancellationToken::new(),
        };
        Ok(Server { inner: Arc::new(inner) })
    }
}

/// What a server is told.
#[derive(Clone, Debug)]
struct Settings {
    link: LinkConfig,
    dispatch: Dispatch,
    concurrency: usize,
    max_unread: usize,
    calls_per_turn: usize,
    tls: Option<Arc<rustls::ServerConfig>>,
}

struct Inner<C> {
    codec: Arc<C>,
    settings: Settings,
    counters: Arc<Counters>,
    running: Arc<AtomicUsize>,
    shutdown: CancellationToken,
}

/// Serves calls on any number of listeners and connections, which share its limits and counters. Cheap to clone.
pub struct Server<C> {
    inner: Arc<Inner<C>>,
}

impl<C> Clone for Server<C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<C> Server<C> {
    /// Settings for a server that speaks `codec`: a [`Codec`] to [`serve`](Server::serve) whole messages, a [`HeadCodec`] to
    /// [serve streams](Server::serve_streams).
    pub fn builder(codec: C) -> ServerBuilder<C> {
        let settings = Settings {
            link: LinkConfig::new(std::time::Duration::from_secs(120)),
            dispatch: Dispatch::default(),
            concurrency: 10_000,
            max_unread: 1 << 20,
            calls_per_turn: 256,
            tls: None,
        };
        ServerBuilder { codec, settings }
    }

    /// Stops taking connections and requests on every listener and connection; what has begun is finished.
    pub fn shutdown(&self) {
        self.inner.shutdown.cancel();
    }

    /// What the server has done so far.
    pub fn stats(&self) -> Stats {
        self.inner.counters.snapshot(self.inner.running.load(Ordering::Relaxed))
    }

    fn service<H>(&self, handler: &Arc<H>, shutdown: CancellationToken) -> Arc<Service<C, H>> {
        Arc::new(Service { inner: self.inner.clone(), handler: handler.clone(), shutdown })
    }
}

impl<C: Codec> Server<C> {
    /// Accepts connections from `listener` and answers their calls with `handler`. Await the value that comes back, or
    /// give it a signal first with [`Serve::with_graceful_shutdown`].
    pub fn serve<L: Listener, H: Handler<C>>(&self, listener: L, handler: H) -> Serve<L> {
        let (server, handler) = (self.clone(), Arc::new(handler));
        let connect = move |io, peer, shutdown| serve_connection(server.service(&handler, shutdown), io, peer);
        Serve::new(listener, &self.inner, connect)
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
        serve_connection(self.service(&handler, self.inner.shutdown.clone()), Box::new(io), peer).await
    }
}

impl<C: HeadCodec> Server<C> {
    /// The same for calls whose bodies stream. It speaks the framed wire alone.
    pub fn serve_streams<L: Listener, H: StreamHandler<C>>(&self, listener: L, handler: H) -> Serve<L> {
        let (server, handler) = (self.clone(), Arc::new(handler));
        let connect = move |io, peer, shutdown| serve_streams(server.service(&handler, shutdown), io, peer);
        Serve::new(listener, &self.inner, connect)
    }

    /// Serves one connection whose bodies stream until it ends, in the way of [`Server::serve_connection`].
    ///
    /// # Errors
    ///
    /// Why the connection ended, when it was not by the client's close or a shutdown.
    pub async fn serve_streams_connection<H: StreamHandler<C>>(
        &self,
        io: impl Io,
        peer: Option<SocketAddr>,
        handler: Arc<H>,
    ) -> Result<(), Error> {
        serve_streams(self.service(&handler, self.inner.shutdown.clone()), Box::new(io), peer).await
    }
}

/// Serves one connection of whole messages.
async fn serve_connection<C: Codec, H: Handler<C>>(
    service: Arc<Service<C, H>>,
    io: BoxIo,
    peer: Option<SocketAddr>,
) -> Result<(), Error> {
    let answering = Answering { service: service.clone(), peer };
    let classic = service.link().wire != Wire::Framed;
    let Some(accepted) = service.accept(io, classic, answering).await? else { return Ok(()) };
    match accepted {
        Accepted::Framed(driver) => service.drive(driver).await,
        Accepted::Classic(opened) => {
            let _open = Open::new(service.counters());
            let link = Link::new(opened, service.link());
            let make = |service: Arc<Service<C, H>>, call| async move { service.handler().call(call).await };
            let ended = ServerDriver::new(service.clone(), make, link, peer).await;
            ended.inspect_err(|_| add(&service.counters().connection_errors, 1))
        }
    }
}

/// Serves one connection of streams.
async fn serve_streams<C: HeadCodec, H: StreamHandler<C>>(
    service: Arc<Service<C, H>>,
    io: BoxIo,
    peer: Option<SocketAddr>,
) -> Result<(), Error> {
    let streaming = Streaming { service: service.clone(), peer };
    match service.accept(io, false, streaming).await? {
        None => Ok(()),
        Some(Accepted::Framed(driver)) => service.drive(driver).await,
        Some(Accepted::Classic(_)) => {
            Err(Error::config("wire is Classic, on which no body streams: set Framed or Auto"))
        }
    }
}
