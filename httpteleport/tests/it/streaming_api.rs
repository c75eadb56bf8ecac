//! Streamed HTTP calls at their edges: what is ahead, what is given back, what a body may not do. Time is virtual.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as Cx, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use httpteleport::codec::framed::Protocol;
use httpteleport::stream::{Context, Incoming, StreamHandler};
use httpteleport::{
    BoxError, Client, ClientBuilder, Error, ErrorKind, Limits, RecordCodec, Server, ServerBuilder, Wire,
};
use testkit::pipe::End;
use testkit::port::Port;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};

mod bodies;
mod silence;
mod unsent;

const S: Duration = Duration::from_secs(1);

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

fn ours(wire: Wire) -> ClientBuilder {
    Client::builder(Limits::default())
        .wire(wire)
        .framed_compression(RecordCodec::None)
        .backoff(S / 1000, S / 1000)
        .write_timeout(60 * S)
}

fn theirs(wire: Wire) -> ServerBuilder {
    Server::builder(Limits::default()).wire(wire).framed_compression(RecordCodec::None)
}

fn serving<F: StreamHandler>(builder: ServerBuilder, handler: F) -> (Server, impl Fn(End) + Send + 'static) {
    let (server, handler) = (builder.build().unwrap(), Arc::new(handler));
    let serves = server.clone();
    let accept = move |end| {
        let (server, handler) = (serves.clone(), handler.clone());
        tokio::spawn(async move { server.serve_streams_connection(end, None, handler).await });
    };
    (server, accept)
}

fn dials(port: &Port, builder: ClientBuilder) -> Client {
    builder.connect_with("port", port.dial()).unwrap()
}

/// A client of this wire whose calls `handler` answers.
fn connected<F: StreamHandler>(wire: Wire, handler: F) -> (Client, Port) {
    let port = Port::new(serving(theirs(wire), handler).1);
    (dials(&port, ours(wire)), port)
}

fn full(bytes: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(bytes.into()).map_err(Into::into).boxed_unsync())
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://far.example{path}")).body(Empty::new()).unwrap()
}

fn post<B>(path: &str, body: B) -> Request<B> {
    Request::post(format!("http://far.example{path}")).body(body).unwrap()
}

async fn text(response: Response<Incoming>) -> Result<Bytes, Error> {
    Ok(response.into_body().collect().await?.to_bytes())
}

/// A body of these frames, one a poll, with what it says of its length; errors are errors.
#[derive(Default)]
struct Frames {
    frames: Vec<Result<Frame<Bytes>, io::Error>>,
    says: Option<u64>,
    polled: Arc<AtomicUsize>,
}

impl Frames {
    fn new(pieces: impl IntoIterator<Item = &'static str>) -> Self {
        let mut frames: Vec<_> = pieces.into_iter().map(|piece| Ok(Frame::data(Bytes::from(piece)))).collect();
        frames.reverse();
        Self { frames, ..Self::default() }
    }

    fn saying(self, length: u64) -> Self {
        Self { says: Some(length), ..self }
    }

    fn broken(mut self) -> Self {
        self.frames.insert(0, Err(io::Error::other("the disk broke")));
        self
    }

    fn trailed(mut self) -> Self {
        let trailers = HeaderMap::from_iter([("x-after".parse().unwrap(), "all".parse().unwrap())]);
        self.frames.insert(0, Ok(Frame::trailers(trailers)));
        self
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Cx<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.polled.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(self.frames.pop())
    }

    fn size_hint(&self) -> SizeHint {
        self.says.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A body of what comes through a channel.
struct Fed(mpsc::Receiver<Bytes>);

impl Body for Fed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(ready!(self.0.poll_recv(cx)).map(|piece| Ok(Frame::data(piece))))
    }
}

fn fed() -> (mpsc::Sender<Bytes>, Fed) {
    let (feed, fed) = mpsc::channel(16);
    (feed, Fed(fed))
}

async fn echo(request: Request<Incoming>) -> Answer {
    Response::new(request.into_body().map_err(Into::into).boxed_unsync())
}

/// Reads all of a request, and tells its length or what was wrong with it.
async fn measure(request: Request<Incoming>) -> Answer {
    match request.into_body().collect().await {
        Ok(body) => full(body.to_bytes().len().to_string()),
        Err(error) => {
            let mut answer = full(error.to_string());
            *answer.status_mut() = StatusCode::BAD_REQUEST;
            answer
        }
    }
}

struct Hints;

impl StreamHandler for Hints {
    type Body = Full<Bytes>;

    async fn call(&self, _: Request<Incoming>, context: Context) -> Response<Full<Bytes>> {
        for (status, sent) in [(103, true), (100, true), (101, false), (200, false)] {
            let (mut head, ()) = Response::new(()).into_parts();
            head.status = StatusCode::from_u16(status).unwrap();
            head.headers.insert("link", "</a.css>".parse().unwrap());
            assert_eq!(context.interim(&head).is_ok(), sent || !context.is_streaming(), "{status}");
            sleep(S).await;
        }
        Response::new(Full::new(Bytes::from(if context.is_streaming() { "streams" } else { "whole" })))
    }
}

#[tokio::test(start_paused = true)]
async fn heads_ahead_of_the_response_are_heard_when_they_come() {
    for (wire, heads, says) in [(Wire::Framed, vec![(103, 0), (100, 1)], "streams"), (Wire::Classic, vec![], "whole")] {
        let (client, _port) = connected(wire, Hints);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (hears, start) = (heard.clone(), Instant::now());
        let response = client.stream(get("/")).on_interim(move |head| {
            assert_eq!(head.headers["link"], "</a.css>");
            hears.lock().unwrap().push((head.status.as_u16(), start.elapsed().as_secs()));
        });
        assert_eq!(text(response.await.unwrap()).await.unwrap(), says);
        assert_eq!(*heard.lock().unwrap(), heads);
        // Whoever does not listen is not disturbed.
        assert_eq!(text(client.stream(get("/")).await.unwrap()).await.unwrap(), says);
    }
}

#[tokio::test(start_paused = true)]
async fn failures_of_the_server_are_answered_and_counted() {
    for wire in [Wire::Framed, Wire::Classic] {
        let gate = Arc::new(Notify::new());
        let waits = gate.clone();
        let handler = move |request: Request<Incoming>| {
            let gate = waits.clone();
            async move {
                match request.uri().path() {
                    "/panic" => panic!("as asked"),
                    "/slow" => gate.notified().await,
                    _ => {}
                }
                full("fine")
            }
        };
        let (server, accept) = serving(theirs(wire).concurrency(1), handler);
        let port = Port::new(accept);
        let client = dials(&port, ours(wire));
        let response = client.stream(get("/panic")).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let held = tokio::spawn({
            let client = client.clone();
            async move { client.stream(get("/slow")).await.map(|response| response.status()) }
        });
        while server.stats().pending == 0 {
            sleep(S / 1000).await;
        }
        let response = client.stream(get("/")).await.unwrap();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(text(response).await.unwrap().starts_with(b"concurrency limit exceeded: 1."));
        gate.notify_one();
        assert_eq!(held.await.unwrap().unwrap(), StatusCode::OK);
        assert_eq!(text(client.stream(get("/")).await.unwrap()).await.unwrap(), "fine");
        let stats = server.stats();
        let counted = (stats.calls, stats.replies, stats.errors, stats.overloads, stats.pending);
        assert_eq!(counted, (4, 2, 1, 1, 0), "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn on_the_classic_wire_bodies_are_collected_within_limits_and_time() {
    let limits = Limits::default().with_max_body(10_000);
    let server = Server::builder(limits).wire(Wire::Classic).max_collected(10_000);
    let (_, accept) = serving(server, |request: Request<Incoming>| async move {
        match request.uri().path() {
            "/long" => full(vec![0; 20_000]),
            "/broken" => Response::new(Frames::new(["abc"]).broken().map_err(Into::into).boxed_unsync()),
            _ => echo(request).await,
        }
    });
    let port = Port::new(accept);
    let client = dials(&port, Client::builder(limits).wire(Wire::Auto).max_collected(10_000));
    let pieces = Frames::new(["some ", "pieces"]);
    assert_eq!(text(client.stream(post("/", pieces)).await.unwrap()).await.unwrap(), "some pieces");
    for path in ["/long", "/broken"] {
        let response = client.stream(get(path)).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{path}");
    }
    let error = client.stream(post("/", Full::new(Bytes::from(vec![0; 10_001])))).await.err().unwrap();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Encode, StatusCode::PAYLOAD_TOO_LARGE), "{error:?}");
    let (feed, body) = fed();
    let start = Instant::now();
    let error = client.stream(post("/", body)).timeout(2 * S).await.err().unwrap();
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(start.elapsed().as_secs(), 2);
    assert!(feed.is_closed(), "the body is dropped");
    assert_eq!((port.wires().as_str(), client.pending()), ("FC", 0));
}
