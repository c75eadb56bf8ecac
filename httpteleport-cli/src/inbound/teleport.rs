//! An input that speaks teleport, over TCP or TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::header::HeaderValue;
use http::{Request, Response, StatusCode};
use httpteleport::{Body, BoxIo, CollectError, Handler, Limits, Server};
use tokio::time::{Instant, timeout_at};

use super::Inputs;
use crate::config::{MAX_REPLY_BODY, Settings};
use crate::headers::{self, BadHead};
use crate::listen::{Accepted, Client, Listener};
use crate::outbound::one_line;
use crate::proxy::Proxy;
use crate::request::Outgoing;

/// See [`serve`](super::serve).
pub(super) async fn serve(inputs: Inputs<'_>) -> anyhow::Result<()> {
    let Inputs { listener, tls, settings, proxy, shutdown } = inputs;
    let mut server = Server::builder(limits(settings))
        .compression(settings.input.compress)
        .batch_delay(settings.input.delay)
        .concurrency(settings.concurrency);
    if let Some(tls) = tls {
        server = server.tls(tls);
    }
    let own_address = listener.local_addr();
    let begun = shutdown.clone();
    server
        .build()?
        .serve(Accept(listener), Answer { proxy, own_address })
        .with_graceful_shutdown(async move { begun.begun().await })
        .on_connection_end(|peer, ended| {
            let peer = peer.map_or(Client::Unix, Client::Tcp);
            match ended {
                Ok(()) => tracing::debug!("teleport connection of {peer} ended"),
                // Whoever can connect can cause these: they must not fill a disk.
                Err(error) => tracing::debug!("teleport connection of {peer}: {}", one_line(error)),
            }
        })
        .await;
    Ok(())
}

/// Requests are held to the input's limits; replies are sent as long as `--out-max-header-size` lets them in.
fn limits(settings: &Settings) -> Limits {
    Limits::default()
        .with_max_head(settings.input.max_header_size)
        .with_max_body(settings.input.max_body_size)
        .with_peer_max_head(settings.output.max_header_size)
}

struct Accept(Listener);

impl httpteleport::Listener for Accept {
    type Io = BoxIo;

    async fn accept(&mut self) -> io::Result<(BoxIo, Option<SocketAddr>)> {
        Ok(match self.0.accept().await {
            Accepted::Tcp(stream, peer) => (Box::new(stream), Some(peer.remote)),
            Accepted::Unix(stream) => (Box::new(stream), None),
        })
    }
}

/// Hands requests to the proxy and brings whole replies back.
struct Answer {
    proxy: Arc<Proxy>,
    /// Stands in for the `Host` that an HTTP/1.0 request may lack.
    own_address: Option<SocketAddr>,
}

impl Handler for Answer {
    async fn call(&self, request: Request<Body>, peer: Option<SocketAddr>) -> Response<Body> {
        let client = peer.map_or(Client::Unix, Client::Tcp);
        // A reply travels whole, so the time for it is over when its last byte has not come: there is no sense in
        // reading on for a node that has given up as well.
        let deadline = Instant::now() + self.proxy.timeout();
        let reply = match self.prepare(request) {
            Ok(request) => self.proxy.forward(request, client).await,
            Err(BadHead(status, why)) => self.proxy.refuse(status, why),
        };
        match timeout_at(deadline, self.collect(reply)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(why)) => self.give_up(client, StatusCode::BAD_GATEWAY, &why).await,
            Err(_) => self.give_up(client, StatusCode::GATEWAY_TIMEOUT, "the reply did not end in time").await,
        }
    }
}

impl Answer {
    fn prepare(&self, request: Request<Body>) -> Result<Outgoing, BadHead> {
        let length = request.body().len() as u64;
        // The request's body as upstreams take it.
        let mut request = request.map(|body| body.into_bytes().into());
        let own_address = || {
            let text = self.own_address.map_or_else(|| "localhost".to_owned(), |address| address.to_string());
            HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("localhost"))
        };
        headers::prepare_request(&mut request, own_address, Some(length))?;
        Ok(Box::new(request))
    }

    /// The answer to a request whose reply began and could not be brought whole.
    async fn give_up(&self, client: Client, status: StatusCode, why: &str) -> Response<Body> {
        tracing::debug!("request of {client}: {why}");
        self.collect(self.proxy.refuse(status, why)).await.unwrap_or_default()
    }

    /// The wire carries whole messages: the reply's body is read to its end first.
    async fn collect(&self, reply: Response<crate::body::Body>) -> Result<Response<Body>, String> {
        let (parts, body) = reply.into_parts();
        match Body::collect_from(body, MAX_REPLY_BODY).await {
            Ok(body) => Ok(Response::from_parts(parts, body)),
            Err(CollectError::TooLarge { limit }) => {
                Err(format!("the reply's body is over the {limit} bytes that teleport carries"))
            }
            Err(CollectError::Body(error)) => Err(format!("the reply ended early: {}", one_line(&*error))),
        }
    }
}
