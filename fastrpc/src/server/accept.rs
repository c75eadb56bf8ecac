//! Accepting connections, and stopping without losing what has begun.

use std::future::{Future, IntoFuture};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Inner;
use crate::error::Error;
use crate::io::{BoxIo, Io, prepare_tcp};
use crate::stats::{Counters, add};

/// After a failed accept, for instance for want of file descriptors, the next try waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where connections come from.
pub trait Listener: Send + 'static {
    /// The stream of one connection.
    type Io: Io;

    /// The next connection, and its address where it has one. Must be cancel safe.
    ///
    /// # Errors
    ///
    /// Errors pass: the server waits a moment and asks again.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, Option<SocketAddr>)>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        prepare_tcp(&stream)?;
        Ok((stream, Some(peer)))
    }
}

#[cfg(unix)]
impl Listener for tokio::net::UnixListener {
    type Io = tokio::net::UnixStream;

    async fn accept(&mut self) -> io::Result<(tokio::net::UnixStream, Option<SocketAddr>)> {
        let (stream, _) = tokio::net::UnixListener::accept(self).await?;
        Ok((stream, None))
    }
}

/// Hears how each connection ended.
type Observer = Arc<dyn Fn(Option<SocketAddr>, &Result<(), Error>) + Send + Sync>;

fn is_the_peers(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves one connection until it ends, or until the token tells it to finish.
type Connect = Arc<dyn Fn(BoxIo, Option<SocketAddr>, CancellationToken) -> Connection + Send + Sync>;
type Connection = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A server at its listener; await it to serve. Made by [`Server::serve`](super::Server::serve).
#[must_use = "a server serves while it is awaited"]
pub struct Serve<L> {
    listener: L,
    connect: Connect,
    /// The server's.
    shutdown: CancellationToken,
    counters: Arc<Counters>,
    signal: Option<Signal>,
    grace: Duration,
    observer: Option<Observer>,
}

impl<L: Listener> Serve<L> {
    pub(super) fn new<C, F>(
        listener: L,
        server: &Inner<C>,
        connect: impl Fn(BoxIo, Option<SocketAddr>, CancellationToken) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        Self {
            listener,
            connect: Arc::new(move |io, peer, shutdown| Box::pin(connect(io, peer, shutdown))),
            shutdown: server.shutdown.clone(),
            counters: server.counters.clone(),
            signal: None,
            grace: Duration::from_secs(30),
            observer: None,
        }
    }

    /// Shuts this listener and its connections down when `signal` ends: no more connections; calls that have arrived are served; calls that still come while
    /// these run are declined with what [`Codec::failure`](crate::Codec::failure) makes of [`Failure::Draining`](crate::Failure::Draining). Then
    /// the connections close, within the time of [`Serve::grace`].
    pub fn with_graceful_shutdown(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.signal = Some(Box::pin(signal));
        self
    }

    /// The longest a graceful shutdown may take; connections that are not done by then are dropped. Default: 30 s.
    pub fn grace(mut self, limit: Duration) -> Self {
        self.grace = limit;
        self
    }

    /// Tells `observer` how each connection ended, with the peer's address where it has one: for a log. It runs on the
    /// connection's task and should be quick.
    pub fn on_connection_end(
        mut self,
        observer: impl Fn(Option<SocketAddr>, &Result<(), Error>) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    async fn run(mut self) {
        // Its own signal stops this listener and its connections; the server's shutdown stops all of them.
        let shutdown = self.shutdown.child_token();
        let mut signal = self.signal.take().unwrap_or_else(|| Box::pin(std::future::pending()));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((io, peer)) => {
                        let serving = (self.connect)(Box::new(io), peer, shutdown.clone());
                        let observer = self.observer.clone();
                        connections.spawn(async move {
                            let ended = serving.await;
                            if let Some(observer) = observer {
                                observer(peer, &ended);
                            }
                        });
                    }
                    // A peer that was gone before it was accepted says nothing of the next one.
                    Err(error) if is_the_peers(&error) => {}
                    Err(_) => {
                        add(&self.counters.accept_errors, 1);
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                () = &mut signal => break,
                () = shutdown.cancelled() => break,
            }
        }
        drop(self.listener);
        shutdown.cancel();
        let finished = async { while connections.join_next().await.is_some() {} };
        // What is left after the grace is dropped with the set.
        let _ = tokio::time::timeout(self.grace, finished).await;
    }
}

impl<L: Listener> IntoFuture for Serve<L> {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
