//! Origins that speak HTTP/2, by hyper, and some that misbehave, by hand.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Request, Response, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::node::{Certificates, PATIENCE};

/// A server of HTTP/2 that answers `/size/N` with N bytes, and otherwise with a field as long as `X-Long` says, and sends back each piece of a request's body as it comes, and behind them trailers: how many pieces there
/// were, and the request's own.
pub(crate) struct Http2Origin {
    /// `HOST:PORT`.
    pub(crate) address: String,
    connections: Arc<AtomicUsize>,
    sent: watch::Sender<usize>,
}

impl Http2Origin {
    pub(crate) async fn start() -> Http2Origin {
        Http2Origin::over(None, 200).await
    }

    /// One that takes so many requests at a time on a connection.
    pub(crate) async fn narrow(streams: u32) -> Http2Origin {
        Http2Origin::over(None, streams).await
    }

    /// The same over TLS.
    pub(crate) async fn tls(certificates: &Certificates) -> Http2Origin {
        let mut config = rustls::ServerConfig::clone(&certificates.identity.server_config());
        config.alpn_protocols = vec![b"h2".to_vec()];
        Http2Origin::over(Some(TlsAcceptor::from(Arc::new(config))), 200).await
    }

    async fn over(tls: Option<TlsAcceptor>, streams: u32) -> Http2Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (connections, sent) = (Arc::<AtomicUsize>::default(), watch::Sender::default());
        let (count, counted) = (Arc::clone(&connections), sent.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (tls, sent) = (tls.clone(), counted.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, streams, sent).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, streams, sent).await;
                            }
                        }
                    }
                });
            }
        });
        Http2Origin { address, connections, sent }
    }

    /// How many connections it was opened.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until it has had room to send so many bytes of bodies of `/size/N`.
    pub(crate) async fn has_sent(&self, bytes: usize) {
        let mut sent = self.sent.subscribe();
        timeout(PATIENCE, sent.wait_for(|sent| *sent >= bytes)).await.expect("in time").expect("an origin");
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, streams: u32, sent: watch::Sender<usize>) {
    let service = service_fn(|request: Request<Incoming>| {
        let sent = sent.clone();
        async move {
            let talk = request.extensions().get::<hyper::ext::Protocol>().is_some();
            Ok::<_, Infallible>(if talk { accept(request) } else { answer(request, sent) })
        }
    });
    let mut http = http2::Builder::new(TokioExecutor::new());
    let _ = http
        .max_concurrent_streams(streams)
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn answer(request: Request<Incoming>, sent: watch::Sender<usize>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    assert_eq!(request.version(), Version::HTTP_2);
    let uri = request.uri().to_string();
    let te = request.headers().get("te").cloned();
    if let Some(size) = request.uri().path().strip_prefix("/size/") {
        return Response::new(sized(size.parse().expect("a number"), sent));
    }
    let long = request.headers().get("x-long").and_then(|long| long.to_str().ok()?.parse().ok()).unwrap_or(0);
    let state = (request.into_body(), 0, Some(HeaderMap::new()));
    let pieces = futures_util::stream::unfold(state, |(mut body, count, trailers)| async move {
        let mut trailers = trailers?;
        match body.frame().await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Some((Ok(Frame::data(data)), (body, count + 1, Some(trailers)))),
                Err(frame) => {
                    trailers.extend(frame.into_trailers().unwrap_or_default());
                    Some((Ok(end(trailers, count)), (body, count, None)))
                }
            },
            _ => Some((Ok(end(trailers, count)), (body, count, None))),
        }
    });
    let mut reply = Response::new(StreamBody::new(pieces).boxed_unsync());
    reply.headers_mut().insert("content-type", "application/grpc".parse().expect("a value"));
    reply.headers_mut().insert("x-uri", uri.parse().expect("a value"));
    reply.headers_mut().insert("x-long", "l".repeat(long).parse().expect("a value"));
    reply.headers_mut().extend(te.map(|te| (http::header::HeaderName::from_static("x-te"), te)));
    reply
}

/// A body of so many bytes, which counts what is taken of it.
fn sized(size: usize, sent: watch::Sender<usize>) -> UnsyncBoxBody<Bytes, Infallible> {
    const PIECE: &[u8] = &[b'x'; 16 * 1024];
    let pieces = futures_util::stream::unfold((size, sent), |(left, sent)| async move {
        let piece = PIECE.get(..left.min(PIECE.len())).filter(|piece| !piece.is_empty())?;
        sent.send_modify(|sent| *sent += piece.len());
        Some((Ok(Frame::data(Bytes::from_static(piece))), (left - piece.len(), sent)))
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// A WebSocket that says what it hears.
fn accept(mut request: Request<Incoming>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    assert_eq!(
        (request.method(), request.headers().contains_key("sec-websocket-key")),
        (&http::Method::CONNECT, false)
    );
    tokio::spawn(async move {
        let stream = TokioIo::new(hyper::upgrade::on(&mut request).await.expect("a stream"));
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if !message.is_close() {
                socket.send(message).await.expect("sent");
            }
        }
    });
    Response::new(Empty::new().boxed_unsync())
}

fn end(mut trailers: HeaderMap, count: usize) -> Frame<Bytes> {
    trailers.insert("grpc-status", "0".parse().expect("a value"));
    trailers.insert("x-pieces", count.to_string().parse().expect("a value"));
    Frame::trailers(trailers)
}

/// What an origin does with the first request that reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Says of it alone that it did nothing with it.
    Stream,
    /// Takes no more requests on that connection, this one included.
    GoAway,
    /// The same when it has read the last of the request's body.
    GoAwayLate,
    /// Says with these codes that it takes no more behind this one, of which it has read all, and is gone.
    Taken(&'static [u8]),
    /// Resets it in the middle.
    Reset,
}

/// A server of HTTP/2 that refuses its first request, and answers every other one with 204.
pub(crate) async fn refusing(refusal: Refusal) -> String {
    refusing_often(refusal, 1).await
}

/// The same, with so many requests in a row that it refuses.
pub(crate) async fn refusing_often(refusal: Refusal, times: usize) -> String {
    numbered(move |number, stream| match refusal {
        Refusal::GoAway if number <= times => drop(tokio::spawn(go_away(stream, false))),
        Refusal::GoAwayLate if number <= times => drop(tokio::spawn(go_away(stream, true))),
        Refusal::Taken(codes) if number <= times => drop(tokio::spawn(leave_taken(stream, codes))),
        Refusal::Stream if number == 1 => drop(tokio::spawn(answer_all(stream, times, h2::Reason::REFUSED_STREAM))),
        Refusal::Reset if number == 1 => drop(tokio::spawn(answer_all(stream, times, h2::Reason::INTERNAL_ERROR))),
        _ => drop(tokio::spawn(answer_all(stream, 0, h2::Reason::NO_ERROR))),
    })
    .await
}

/// A server like [`Http2Origin`] that leaves the first request out on so many connections.
pub(crate) async fn leaving(times: usize) -> String {
    numbered(move |number, stream| {
        if number <= times {
            tokio::spawn(go_away(stream, false));
        } else {
            tokio::spawn(serve(stream, 200, watch::Sender::default()));
        }
    })
    .await
}

/// A server that takes requests for other protocols, as it says, and is gone when one has come.
pub(crate) async fn losing() -> String {
    numbered(|_, mut stream| drop(tokio::spawn(async move { read_request(&mut stream, false).await }))).await
}

/// A server that does this with its first connection, its second, and so on; gives its address.
async fn numbered(serve: impl Fn(usize, TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        for number in 1.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            serve(number, stream);
        }
    });
    address
}

/// Resets so many requests, and answers those that follow.
async fn answer_all(stream: TcpStream, mut resets: usize, reason: h2::Reason) {
    let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
    while let Some(Ok((_request, mut respond))) = connection.accept().await {
        match resets.checked_sub(1) {
            Some(rest) => {
                resets = rest;
                respond.send_reset(reason);
            }
            None => {
                let reply = Response::builder().status(204).body(()).expect("a reply");
                respond.send_response(reply, true).expect("sent");
            }
        }
    }
}

/// Waits for the head of a request, or if it is late for the end of one, and says that the last request that it has taken was none.
async fn go_away(mut stream: TcpStream, late: bool) {
    read_request(&mut stream, late).await;
    stream.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.expect("a goodbye");
    // Until the client has gone.
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}

/// Reads a request to its end, and says goodbye with each of these codes; the last request that it has taken was that one.
async fn leave_taken(mut stream: TcpStream, codes: &'static [u8]) {
    read_request(&mut stream, true).await;
    for code in codes {
        stream.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, *code]).await.expect("a goodbye");
    }
    stream.shutdown().await.expect("an end");
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}

/// Reads the head of a request, or all of it.
async fn read_request(stream: &mut TcpStream, all: bool) {
    const HEADERS: u8 = 1;
    const END_STREAM: u8 = 1;
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.expect("the preface");
    assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    // It can do extended CONNECT.
    stream.write_all(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1]).await.expect("settings");
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.expect("a frame");
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await.expect("its payload");
        // Of others the flag means something else.
        let is_end = head[3] <= HEADERS && head[4] & END_STREAM != 0;
        if is_end || (!all && head[3] == HEADERS) {
            break;
        }
    }
}

/// A server of HTTP/2 that answers nothing: its address, what tells that a request has come, and how that ended.
pub(crate) async fn waiting() -> (String, mpsc::Receiver<()>, oneshot::Receiver<h2::Reason>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let ((tell_came, came), (tell_gone, gone)) = (mpsc::channel(1), oneshot::channel());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
        let (_request, mut respond) = connection.accept().await.expect("a request").expect("a good one");
        tell_came.send(()).await.expect("somebody waits");
        let reason = std::future::poll_fn(|cx| {
            // Polled for what comes in.
            let _ = connection.poll_closed(cx);
            respond.poll_reset(cx)
        });
        let _ = tell_gone.send(reason.await.expect("a reason"));
    });
    (address, came, gone)
}
