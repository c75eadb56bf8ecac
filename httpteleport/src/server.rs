//! Answers HTTP calls that arrive over teleport connections.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fastrpc::internals::FramedCall;
use fastrpc::{Call, ContextMemory, Dispatch, Io, Listener, RecordCodec, Serve, Stats, Wire};
use tokio_rustls::rustls;

use crate::codec::classic::{RequestMessage as _, refusal};
use crate::exchange::answer_whole;
use crate::forward::{Bodies, forward_framed_setters, forward_link_setters, forward_setters};
use crate::stream::StreamHandler;
use crate::stream::answer::AnsweringStreams;
use crate::{ClassicCodec, Eager, Error, Heads, Lazy, Limits, lazy, protocol};

/// Answers requests. Any `Fn(Request<Body>) -> impl Future<Output = Response<Body>>` is one, and for a
/// [lazy](Server::lazy) server any `Fn(lazy::Request) -> impl Future<Output = lazy::Response>`.
///
/// The future may be dropped before it ends: when its connection breaks nobody can receive the response. A panic costs
/// this call alone; the caller gets a 500. Copy what is to be kept for long of a request: it shares
/// [memory](crate::lazy#memory) with others.
pub trait Handler<H: Heads = Eager>: Send + Sync + 'static {
    /// Answers one request. `peer` is the other end of the connection, where the transport has addresses; it is the
    /// node that teleports, not its client.
    fn call(&self, request: H::Request, peer: Option<SocketAddr>) -> impl Future<Output = H::Response> + Send;
}

impl<H, F, Fut> Handler<H> for F
where
    H: Heads,
    F: Fn(H::Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = H::Response> + Send,
{
    fn call(&self, request: H::Request, _: Option<SocketAddr>) -> impl Future<Output = H::Response> + Send {
        self(request)
    }
}

/// Settings of a [`Server`]. Made by [`Server::builder`].
#[derive(Debug)]
#[must_use]
pub struct ServerBuilder<H: Heads = Eager> {
    transport: fastrpc::ServerBuilder<Codec<H>>,
    limits: Limits,
    bodies: Bodies,
}

/// What a server receives becomes what its handler wants where the handler is.
type Codec<H> = ClassicCodec<lazy::Request, <H as Heads>::Reply>;

impl<H: Heads> Clone for ServerBuilder<H> {
    fn clone(&self) -> Self {
        Self { transport: self.transport.clone(), limits: self.limits, bodies: self.bodies }
    }
}

impl ServerBuilder {
    forward_framed_setters!("ServerBuilder");
}

impl<H: Heads> ServerBuilder<H> {
    fn new(limits: Limits, wire: Wire) -> Self {
        let transport = fastrpc::Server::builder(ClassicCodec::of(limits)).protocol(protocol()).wire(wire);
        let transport = transport.max_head(limits.max_framed_head());
        Self { transport: transport.max_undecoded(limits.max_undecoded()), limits, bodies: Bodies::default() }
    }

    forward_link_setters!("ServerBuilder");

    forward_setters! { "ServerBuilder":
        /// Where handlers run: inline first, in tasks, or one by one in order.
        dispatch(dispatch: Dispatch);
        /// Most handlers that run at once, over all connections; a call beyond it is answered 429.
        concurrency(limit: usize);
        /// Reply bytes that a client may leave unread before no more of its requests are taken.
        max_unread(bytes: usize);
        /// Calls of one connection that are dispatched before others have their turn.
        calls_per_turn(calls: usize);
        /// Serves TLS only, with this configuration.
        tls(config: Arc<rustls::ServerConfig>);
    }

    /// Checks the settings and makes the server.
    ///
    /// # Errors
    ///
    /// Names the setting that is unusable.
    pub fn build(self) -> Result<Server<H>, Error> {
        Ok(Server { transport: self.transport.build()?, limits: self.limits, bodies: self.bodies })
    }
}

/// Serves HTTP calls on any number of listeners and connections, which share its limits and counters. Cheap to clone.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use httpteleport::{Body, Limits, Server};
///
/// let listener = tokio::net::TcpListener::bind("0.0.0.0:9876").await?;
/// let server = Server::builder(Limits::default()).build()?;
/// server.serve(listener, |request: http::Request<Body>| async move {
///     http::Response::new(Body::from(format!("you asked for {}", request.uri())))
/// }).await;
/// # Ok(())
/// # }
/// ```
pub struct Server<H: Heads = Eager> {
    transport: fastrpc::Server<Codec<H>>,
    limits: Limits,
    bodies: Bodies,
}

impl<H: Heads> Clone for Server<H> {
    fn clone(&self) -> Self {
        Self { transport: self.transport.clone(), limits: self.limits, bodies: self.bodies }
    }
}

impl<H: Heads> fmt::Debug for Server<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("running", &self.stats().pending).finish_non_exhaustive()
    }
}

impl Server {
    /// Settings for a server whose messages keep to `limits`.
    pub fn builder(limits: Limits) -> ServerBuilder {
        ServerBuilder::new(limits, Wire::Auto)
    }

    /// Settings for a server that speaks in the types of [`lazy`].
    pub fn lazy(limits: Limits) -> ServerBuilder<Lazy> {
        ServerBuilder::new(limits, Wire::Classic)
    }
}

impl<H: Heads> Server<H> {
    /// Accepts connections from `listener` and answers their requests with `handler`. Await what comes back, or give it
    /// a signal first with [`Serve::with_graceful_shutdown`].
    pub fn serve<L: Listener, F: Handler<H>>(&self, listener: L, handler: F) -> Serve<L> {
        self.transport.serve(listener, self.answering(Arc::new(handler)))
    }

    /// Serves one connection until it ends. For whoever accepts by other means. Connections may share a handler.
    ///
    /// # Errors
    ///
    /// Why the connection ended, when it was not by the client's close or a shutdown.
    pub async fn serve_connection<F: Handler<H>>(
        &self,
        io: impl Io,
        peer: Option<SocketAddr>,
        handler: Arc<F>,
    ) -> Result<(), Error> {
        Ok(self.transport.serve_connection(io, peer, Arc::new(self.answering(handler))).await?)
    }

    fn answering<F>(&self, handler: Arc<F>) -> Answering<F, H> {
        Answering { handler, limits: self.limits.on_framed(), pause: self.bodies.pause, heads: PhantomData }
    }

    /// Stops taking connections and requests everywhere; what has begun is finished.
    pub fn shutdown(&self) {
        self.transport.shutdown();
    }

    /// What the server has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.transport.stats()
    }
}

impl Server {
    /// Accepts connections from `listener` and answers their requests with `handler`, bodies streaming where the wire lets them.
    /// Await what comes back, or give it a signal first with [`Serve::with_graceful_shutdown`].
    pub fn serve_streams<L: Listener, F: StreamHandler>(&self, listener: L, handler: F) -> Serve<L> {
        self.transport.serve(listener, self.answering_streams(Arc::new(handler)))
    }

    /// Serves one connection until it ends, bodies streaming where the wire lets them. For whoever accepts by other means.
    /// Connections may share a handler.
    ///
    /// # Errors
    ///
    /// Why the connection ended, when it was not by the client's close or a shutdown.
    pub async fn serve_streams_connection<F: StreamHandler>(
        &self,
        io: impl Io,
        peer: Option<SocketAddr>,
        handler: Arc<F>,
    ) -> Result<(), Error> {
        Ok(self.transport.serve_connection(io, peer, Arc::new(self.answering_streams(handler))).await?)
    }

    fn answering_streams<F>(&self, handler: Arc<F>) -> AnsweringStreams<F> {
        AnsweringStreams { handler, limits: self.limits.on_framed(), bodies: self.bodies }
    }
}

/// A [`Handler`] as fastrpc runs it: its response knows whether it answers `HEAD`.
struct Answering<F, H> {
    handler: Arc<F>,
    limits: Limits,
    pause: Duration,
    heads: PhantomData<H>,
}

impl<F: Handler<H>, H: Heads> fastrpc::Handler<Codec<H>> for Answering<F, H> {
    async fn call(&self, call: Call<lazy::Request>) -> H::Reply {
        let peer = call.peer_addr();
        let request = call.into_request();
        let method = request.method().clone();
        match H::Request::received(request) {
            Ok(request) => H::reply(&method, self.handler.call(request, peer).await),
            Err(fault) => refusal(fault),
        }
    }

    async fn answer(&self, call: &mut Option<FramedCall<'_, Codec<H>>>) {
        let handler = |request, peer| self.handler.call(request, peer);
        answer_whole::<_, H, _>(call, &self.limits, self.pause, handler).await;
    }
}
