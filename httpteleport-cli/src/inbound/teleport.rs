//! An input that speaks teleport, over TCP or TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use httpteleport::codec::framed::Protocol;
use httpteleport::stream::{Context, Incoming, StreamHandler};
use httpteleport::{BoxIo, CollectError, Limits, Server, prepare_tcp};
use tokio::time::{Instant, timeout_at};

use super::Inputs;
use crate::body::{Body, BoxError};
use crate::config::{MAX_REPLY_BODY, Settings};
use crate::ends::Ends;
use crate::headers::{self, BadHead};
use crate::listen::{Accepted, Client, Listener};
use crate::outbound::one_line;
use crate::proxy::Proxy;
use crate::request::{BodyFault, Outgoing, RequestBody};

/// See [`serve`](super::serve).
pub(super) async fn serve(inputs: Inputs<'_>) -> anyhow::Result<()> {
    let Inputs { listener, tls, settings, proxy, shutdown } = inputs;
    let teleport = settings.teleport;
    let mut server = Server::builder(limits(settings))
        .wire(teleport.wire)
        .compression(settings.input.compress.classic)
        .framed_compression(settings.input.compress.framed)
        .compress_alone(teleport.compress_alone)
        .ping(teleport.ping)
        .max_age(teleport.max_age)
        .max_collected(MAX_REPLY_BODY)
        .batch_delay(settings.input.delay)
        .concurrency(settings.concurrency);
    if let Some(tls) = tls {
        server = server.tls(tls);
    }
    let own_address = listener.local_addr();
    let begun = shutdown.clone();
    let ends = Ends::default();
    server
        .build()?
        .serve_streams(Accept(listener), Answer { proxy, own_address, max_body: settings.input.max_body_size })
        .with_graceful_shutdown(async move { begun.begun().await })
        .on_connection_end(move |peer, ended| {
            let peer = peer.map_or(Client::Unix, Client::Tcp);
            match ended {
                Ok(()) => tracing::debug!("teleport connection of {peer} ended"),
                Err(error) => ends.note(peer, error.kind(), &one_line(error)),
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
            Accepted::Tcp(stream, peer) => {
                prepare_tcp(&stream)?;
                (Box::new(stream), Some(peer.remote))
            }
            Accepted::Unix(stream) => (Box::new(stream), None),
        })
    }
}

/// Hands requests to the proxy and brings replies back.
struct Answer {
    proxy: Arc<Proxy>,
    /// Stands in for the `Host` that an HTTP/1.0 request may lack.
    own_address: Option<SocketAddr>,
    /// Most bytes of a request's body.
    max_body: usize,
}

impl StreamHandler for Answer {
    type Body = Body;

    async fn call(&self, request: Request<Incoming>, context: Context) -> Response<Body> {
        let client = context.peer_addr().map_or(Client::Unix, Client::Tcp);
        let deadline = Instant::now() + self.proxy.timeout();
        let reply = match self.prepare(request) {
            Ok(request) => self.proxy.forward(request, client).await,
            Err(BadHead(status, why)) => self.proxy.refuse(status, why),
        };
        if !context.is_streaming() {
            return self.whole(reply, deadline, client).await;
        }
        let mut reply = reply;
        if reply.extensions_mut().remove::<Protocol>().is_some() {
            *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        reply
    }
}

impl Answer {
    fn prepare(&self, request: Request<Incoming>) -> Result<Outgoing, BadHead> {
        let (parts, body) = request.into_parts();
        let (body, length) = match body.into_whole() {
            Ok(bytes) if bytes.len() > self.max_body => return Err(too_large()),
            Ok(bytes) => {
                let length = bytes.len() as u64;
                (bytes.into(), Some(length))
            }
            Err(stream) => {
                let length = stream.size_hint().exact();
                if length.is_some_and(|length| length > self.max_body as u64) {
                    return Err(too_large());
                }
                (RequestBody::stream(Passing { stream, left: self.max_body }), length)
            }
        };
        let mut request = Request::from_parts(parts, body);
        let own_address = || {
            let text = self.own_address.map_or_else(|| "localhost".to_owned(), |address| address.to_string());
            HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("localhost"))
        };
        headers::prepare_request(&mut request, own_address, length)?;
        Ok(Box::new(request))
    }

    /// On the classic wire a reply travels whole, so the time for it is over when its last byte has not come: there is no sense
    /// in reading on for a node that has given up as well.
    async fn whole(&self, reply: Response<Body>, deadline: Instant, client: Client) -> Response<Body> {
        match timeout_at(deadline, collect(reply)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(why)) => self.give_up(client, StatusCode::BAD_GATEWAY, &why),
            Err(_) => self.give_up(client, StatusCode::GATEWAY_TIMEOUT, "the reply did not end in time"),
        }
    }

    /// The answer to a request whose reply began and could not be brought whole.
    fn give_up(&self, client: Client, status: StatusCode, why: &str) -> Response<Body> {
        tracing::debug!("request of {client}: {why}");
        self.proxy.refuse(status, why)
    }
}

fn too_large() -> BadHead {
    BadHead(BodyFault::TooLarge.status(), BodyFault::TooLarge.why())
}

/// Reads the body of a reply to its end.
async fn collect(reply: Response<Body>) -> Result<Response<Body>, String> {
    let (parts, body) = reply.into_parts();
    match httpteleport::Body::collect_from(body, MAX_REPLY_BODY).await {
        Ok(body) => Ok(Response::from_parts(parts, body.into_bytes().into())),
        Err(CollectError::TooLarge { limit }) => {
            Err(format!("the reply's body is over the {limit} bytes that teleport carries"))
        }
        Err(CollectError::Body(error)) => Err(format!("the reply ended early: {}", one_line(&*error))),
    }
}

/// The body of a request on its way through.
struct Passing {
    stream: Incoming,
    /// How many more bytes it may have.
    left: usize,
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(frame) = ready!(Pin::new(&mut self.stream).poll_frame(cx)) else { return Poll::Ready(None) };
        let fault = |error: &httpteleport::Error| if error.is_timeout() { BodyFault::Slow } else { BodyFault::Broken };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Poll::Ready(Some(Err(fault(&error).into()))),
        };
        match self.left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Some(Err(BodyFault::TooLarge.into()))),
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.size_hint()
    }
}
