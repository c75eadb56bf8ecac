//! Answers HTTP calls that arrive over teleport connections.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use fastrpc::{Call, Dispatch, Io, Listener, Serve, Stats};
use http::{Request, Response};
use tokio_rustls::rustls;

use crate::forward::{forward_link_setters, forward_setters};
use crate::{Body, ClassicCodec, Error, Limits, Reply, protocol};

/// Answers requests. Any `Fn(Request<Body>) -> impl Future<Output = Response<Body>>` is one.
///
/// The future may be dropped before it ends: when its connection breaks nobody can receive the response. A panic costs
/// this call alone; the caller gets a 500.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. `peer` is the other end of the connection, where the transport has addresses; it is the
    /// node that teleports, not its client.
    fn call(&self, request: Request<Body>, peer: Option<SocketAddr>) -> impl Future<Output = Response<Body>> + Send;
}

impl<F, Fut> Handler for F
where
    F: Fn(Request<Body>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response<Body>> + Send,
{
    fn call(&self, request: Request<Body>, _: Option<SocketAddr>) -> impl Future<Output = Response<Body>> + Send {
        self(request)
    }
}

/// Settings of a [`Server`]. Made by [`Server::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ServerBuilder {
    transport: fastrpc::ServerBuilder<ClassicCodec>,
}

impl ServerBuilder {
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
    pub fn build(self) -> Result<Server, Error> {
        Ok(Server { transport: self.transport.build()? })
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
#[derive(Clone)]
pub struct Server {
    transport: fastrpc::Server<ClassicCodec>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("running", &self.stats().pending).finish_non_exhaustive()
    }
}

impl Server {
    /// Settings for a server whose messages keep to `limits`.
    pub fn builder(limits: Limits) -> ServerBuilder {
        let transport = fastrpc::Server::builder(ClassicCodec::new(limits)).protocol(protocol());
        ServerBuilder { transport: transport.max_undecoded(limits.max_undecoded()) }
    }

    /// Accepts connections from `listener` and answers their requests with `handler`. Await what comes back, or give it
    /// a signal first with [`Serve::with_graceful_shutdown`].
    pub fn serve<L: Listener, H: Handler>(
        &self,
        listener: L,
        handler: H,
    ) -> Serve<ClassicCodec, L, impl fastrpc::Handler<ClassicCodec> + use<L, H>> {
        self.transport.serve(listener, Answering(Arc::new(handler)))
    }

    /// Serves one connection until it ends. For whoever accepts by other means. Connections may share a handler.
    ///
    /// # Errors
    ///
    /// Why the connection ended, when it was not by the client's close or a shutdown.
    pub async fn serve_connection<H: Handler>(
        &self,
        io: impl Io,
        peer: Option<SocketAddr>,
        handler: Arc<H>,
    ) -> Result<(), Error> {
        Ok(self.transport.serve_connection(io, peer, Arc::new(Answering(handler))).await?)
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

/// A [`Handler`] as fastrpc runs it: its response knows whether it answers `HEAD`.
struct Answering<H>(Arc<H>);

impl<H: Handler> fastrpc::Handler<ClassicCodec> for Answering<H> {
    async fn call(&self, call: Call<Request<Body>>) -> Reply {
        let peer = call.peer_addr();
        let request = call.into_request();
        let method = request.method().clone();
        Reply::answering(&method, self.0.call(request, peer).await)
    }
}
