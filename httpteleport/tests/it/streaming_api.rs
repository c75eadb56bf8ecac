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

// ---- bodies ----

#[tokio::test(start_paused = true)]
async fn an_upload_of_any_length_streams_a_bounded_way_ahead_of_its_reader() {
    let read = Arc::new(Notify::new());
    let reads = read.clone();
    let (client, _port) = connected(Wire::Auto, move |request: Request<Incoming>| {
        let read = reads.clone();
        async move {
            read.notified().await;
            measure(request).await
        }
    });
    let polled = Arc::new(AtomicUsize::new(0));
    struct Endless(Arc<AtomicUsize>, usize);
    impl Body for Endless {
        type Data = Bytes;
        type Error = io::Error;
        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Cx<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
            if self.1 == 0 {
                return Poll::Ready(None);
            }
            self.1 -= 1;
            self.0.fetch_add(1, Ordering::SeqCst);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 10_000])))))
        }
    }
    let upload = tokio::spawn(async move {
        let body = Endless(polled.clone(), 10_000);
        let call = client.stream(post("/", body)).timeout(1000 * S);
        tokio::join!(call, async {
            sleep(5 * S).await;
            let ahead = 10_000 * polled.load(Ordering::SeqCst);
            assert!((64 << 10..3 << 20).contains(&ahead), "{ahead} bytes are ahead");
            read.notify_one();
        })
        .0
    });
    assert_eq!(text(upload.await.unwrap().unwrap()).await.unwrap(), "100000000");
}

#[tokio::test(start_paused = true)]
async fn a_response_may_come_while_the_request_still_goes() {
    let (client, _port) = connected(Wire::Auto, echo);
    let (feed, body) = fed();
    let mut response = client.stream(post("/", body)).await.unwrap().into_body();
    for piece in ["one", "two", "three"] {
        feed.try_send(Bytes::from(piece)).unwrap();
        assert_eq!(response.frame().await.unwrap().unwrap().into_data().unwrap(), piece);
    }
    assert_eq!(client.pending(), 1);
    drop(feed);
    assert!(response.frame().await.is_none());
    assert_eq!(client.pending(), 0);
}

/// On the framed wire trailers come behind, both ways; on the classic one they are dropped.
#[tokio::test(start_paused = true)]
async fn trailers_go_as_far_as_the_wire_has_them() {
    for (wire, comes) in [(Wire::Framed, true), (Wire::Classic, false)] {
        let (client, _port) = connected(wire, |request: Request<Incoming>| async move {
            let got = request.into_body().collect().await.unwrap().trailers().is_some();
            Response::new(Frames::new([if got { "with" } else { "without" }]).trailed())
        });
        let response = client.stream(post("/", Frames::new(["a", "b"]).trailed())).await.unwrap();
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().is_some(), comes);
        assert_eq!(body.to_bytes(), if comes { "with" } else { "without" });
    }
}

#[tokio::test(start_paused = true)]
async fn responses_without_a_body_have_none_on_either_wire() {
    for wire in [Wire::Framed, Wire::Classic] {
        let (client, port) = connected(wire, |request: Request<Incoming>| async move {
            let mut answer = full("what nobody wants");
            *answer.status_mut() = request.uri().path()[1..].parse().unwrap();
            answer
        });
        for (path, status) in [("/204", 204), ("/304", 304)] {
            let response = client.stream(get(path)).await.unwrap();
            assert_eq!(response.status(), status);
            assert_eq!(text(response).await.unwrap(), "", "{wire:?} {path}");
        }
        let head = Request::head("http://far.example/200").body(Empty::<Bytes>::new()).unwrap();
        let response = client.stream(head).await.unwrap();
        assert_eq!(response.headers()["content-length"], "17", "{wire:?}");
        assert!(response.body().is_end_stream());
        assert_eq!(text(response).await.unwrap(), "");
        assert_eq!(text(client.stream(get("/200")).await.unwrap()).await.unwrap(), "what nobody wants");
        assert_eq!((port.dialled(), client.pending()), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_as_long_as_it_says_is_broken_off() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = seen.clone();
    let handler = move |request: Request<Incoming>| {
        let seen = sees.clone();
        async move {
            let body = request.into_body().collect().await;
            seen.lock().unwrap().push(body.map(|_| ()).map_err(|error| error.codec().map(ToString::to_string)));
            full("never")
        }
    };
    let (server, accept) = serving(theirs(Wire::Framed), handler);
    let port = Port::new(accept);
    let client = dials(&port, ours(Wire::Framed));
    for said in ["5", "7"] {
        let mut request = post("/", Frames::new(["abc", "def"]));
        request.headers_mut().insert("content-length", said.parse().unwrap());
        let error = client.stream(request).await.err().unwrap();
        assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Reset, false));
        assert!(error.to_string().contains("malformed") && error.to_string().contains("Content-Length"), "{error}");
    }
    let seen = seen.lock().unwrap().clone();
    assert!(
        seen.iter()
            .all(|end| end.as_ref().is_err_and(|error| error.as_ref().is_some_and(|e| e.contains("Content-Length"))))
    );
    assert_eq!((seen.len(), server.stats().pending, client.pending(), port.dialled()), (2, 0, 0, 1));

    // A server of whole messages breaks it off as well, and its handler never sees it.
    let never = |_: Request<httpteleport::Body>| async { Response::new(httpteleport::Body::from("never")) };
    let server = theirs(Wire::Framed).build().unwrap();
    port.replace(move |end| {
        let (server, never) = (server.clone(), Arc::new(never));
        tokio::spawn(async move { server.serve_connection(end, None, never).await });
    });
    let client = dials(&port, ours(Wire::Framed));
    let mut request = post("/", Frames::new(["abc", "def"]));
    request.headers_mut().insert("content-length", "7".parse().unwrap());
    assert_eq!(client.stream(request).await.err().unwrap().kind(), ErrorKind::Reset);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_never_passes_for_a_whole_one() {
    for wire in [Wire::Framed, Wire::Auto, Wire::Classic] {
        // Auto meets a classic server: what was taken of the body before that is not forgotten.
        let speaks = if wire == Wire::Framed { Wire::Framed } else { Wire::Classic };
        let port = Port::new(serving(theirs(speaks), measure).1);
        let bodies: [fn() -> Frames; 4] = [
            || Frames::new([]).broken().saying(3),
            || Frames::new(["abc"]).broken().saying(3),
            || Frames::new([]).broken(),
            || Frames::new(["abc", "def"]).broken(),
        ];
        for body in bodies {
            let client = dials(&port, ours(wire));
            let outcome = client.stream(post("/", body())).await;
            let error = outcome.err().unwrap_or_else(|| panic!("{wire:?}: it was taken for a whole one"));
            assert!(!error.may_retry(), "{error:?}");
            assert_eq!(client.pending(), 0);
        }
    }
}

// ---- what comes ahead, and limits ----

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

// ---- silence ----

#[tokio::test(start_paused = true)]
async fn a_body_that_falls_silent_is_broken_off_both_ways() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let drops = dropped.clone();
    let (server, accept) = serving(theirs(Wire::Framed).body_pause(3 * S), move |request: Request<Incoming>| {
        let dropped = drops.clone();
        async move {
            if request.uri().path() == "/measure" {
                return measure(request).await;
            }
            let (feed, body) = fed();
            feed.try_send(Bytes::from("begins")).unwrap();
            tokio::spawn(async move {
                feed.closed().await;
                dropped.fetch_add(1, Ordering::SeqCst);
            });
            Response::new(body.map_err(Into::into).boxed_unsync())
        }
    });
    let port = Port::new(accept);
    let client = dials(&port, ours(Wire::Framed).body_pause(5 * S).timeout(3600 * S));
    let mut body = client.stream(get("/")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    let start = Instant::now();
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(error.is_timeout() && error.to_string().contains("5s"), "{error}");
    assert_eq!(start.elapsed().as_secs(), 5);
    assert!(body.frame().await.is_none());
    sleep(S).await;
    assert_eq!((dropped.load(Ordering::SeqCst), client.pending()), (1, 0));

    let (feed, body) = fed();
    let upload = tokio::spawn(async move { client.stream(post("/measure", body)).await.unwrap() });
    for _ in 0..4 {
        sleep(2 * S).await; // Each piece begins the pause anew.
        feed.try_send(Bytes::from("more")).unwrap();
    }
    let start = Instant::now();
    let response = upload.await.unwrap();
    assert_eq!(
        (response.status(), start.elapsed().as_secs()),
        (StatusCode::BAD_REQUEST, 3),
        "its handler still answers"
    );
    assert_eq!(text(response).await.unwrap(), "nothing of the body came for 3s");
    feed.closed().await;
    assert_eq!(server.stats().pending, 0);
}

/// Nor does a server of whole messages wait for ever for the rest of one.
#[tokio::test(start_paused = true)]
async fn a_whole_message_that_falls_silent_is_408() {
    let server = theirs(Wire::Framed).body_pause(3 * S).concurrency(1).build().unwrap();
    let serves = server.clone();
    let port = Port::new(move |end| {
        let (server, never) = (serves.clone(), |_: Request<httpteleport::Body>| async { Response::default() });
        tokio::spawn(async move { server.serve_connection(end, None, Arc::new(never)).await });
    });
    let client = dials(&port, ours(Wire::Framed).timeout(3600 * S));
    let (feed, body) = fed();
    feed.try_send(Bytes::from("begins")).unwrap();
    let start = Instant::now();
    let response = client.stream(post("/", body)).await.unwrap();
    assert_eq!((response.status(), start.elapsed().as_secs()), (StatusCode::REQUEST_TIMEOUT, 3));
    assert_eq!(text(response).await.unwrap(), "nothing of the body came for 3s\n");
    feed.closed().await;
    assert_eq!(client.stream(get("/")).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_upgraded_may_be_silent() {
    let port = Port::new(serving(theirs(Wire::Framed).body_pause(S), echo).1);
    let client = dials(&port, ours(Wire::Framed).body_pause(S).ping(Some(20 * S)));
    let (feed, body) = fed();
    let mut request = Request::get("http://far.example/chat").body(body).unwrap();
    request.extensions_mut().insert(Protocol::new("websocket").unwrap());
    let mut body = client.stream(request).await.unwrap().into_body();
    for piece in ["hello", "again"] {
        sleep(100 * S).await;
        feed.try_send(Bytes::from(piece)).unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), piece);
    }
    drop(feed);
    assert!(body.frame().await.is_none());
}

// ---- what comes back ----

/// A client whose connection is open and takes nothing more, at a port that is gone.
async fn stuck() -> (Client, Port) {
    let (client, port) = connected(Wire::Auto, echo);
    text(client.stream(get("/")).await.unwrap()).await.unwrap();
    port.ways(0).0.choke();
    for _ in 0..5 {
        let client = client.clone();
        let body = Full::new(Bytes::from(vec![0; 100_000]));
        tokio::spawn(async move { client.stream(post("/", body)).await.map(drop) });
    }
    sleep(3 * S).await; // What waits to be written fills when the driver looks, once a second.
    port.replace(drop);
    (client, port)
}

async fn comes_back(body: Frames) -> Result<http_body_util::Collected<Bytes>, BoxError> {
    let polled = body.polled.clone();
    let short = body.says.is_some();
    let (client, port) = stuck().await;
    let mut request = post("/kept", body);
    request.headers_mut().insert("x-kept", "yes".parse().unwrap());
    let mut call = client.stream(request);
    tokio::select! {
        _ = &mut call => panic!("nothing can leave"),
        () = sleep(3 * S) => {}
    }
    assert_eq!(polled.load(Ordering::SeqCst), usize::from(short), "a long body is not asked for anything");
    port.cut(0);
    let error = (&mut call).await.err().unwrap();
    assert!(error.may_retry(), "{error:?}");
    let (head, body) = call.take_unsent().expect("nothing of it left").into_parts();
    assert!(call.take_unsent().is_none());
    assert_eq!((head.uri.path(), &head.headers["x-kept"]), ("/kept", &"yes".parse().unwrap()));
    body.collect().await
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_left_comes_back_untouched() {
    for body in [
        || Frames::new(["one ", "two ", "three"]),
        || Frames::new(["one ", "two ", "three"]).saying(13), // Its first piece was taken.
        || Frames::new(["one two three"]).saying(13),
        || Frames::new(["one ", "two ", "three"]).trailed(),
    ] {
        let trailed = body().frames.len() == 4;
        let collected = comes_back(body()).await.unwrap();
        assert_eq!(collected.trailers().is_some(), trailed);
        assert_eq!(collected.to_bytes(), "one two three");
    }
    for body in [|| Frames::new(["one"]).broken().saying(3), || Frames::new([]).broken().saying(3)] {
        assert!(comes_back(body()).await.is_err(), "its error comes back as well");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_left_is_made_once_more_where_there_is_a_connection() {
    let (client, port) = stuck().await;
    port.replace(serving(theirs(Wire::Framed), echo).1);
    let calls: Vec<_> = [Frames::new(["one ", "two"]), Frames::new(["one ", "two"]).saying(7)]
        .map(|body| {
            let client = client.clone();
            tokio::spawn(async move { text(client.stream(post("/", body)).await.unwrap()).await.unwrap() })
        })
        .into_iter()
        .collect();
    sleep(3 * S).await;
    port.cut(0);
    for call in calls {
        assert_eq!(call.await.unwrap(), "one two");
    }
    assert_eq!(port.wires(), "FF");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_left_does_not_come_back_but_its_head_does() {
    for wire in [Wire::Classic, Wire::Framed] {
        let (client, port) = connected(wire, |_: Request<Incoming>| std::future::pending::<Answer>());
        let mut call = client.stream(post("/", Frames::new(["one"])));
        let cut = async {
            sleep(S).await;
            port.cut(0);
        };
        let (error, ()) = tokio::join!(&mut call, cut);
        let error = error.err().unwrap();
        assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, false), "{wire:?}");
        assert!(call.take_unsent().is_none());
        let head = call.take_head().expect("but its head does");
        assert_eq!((head.method, head.uri.path()), (http::Method::POST, "/"));
        assert!(call.take_head().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_a_limit_stops_comes_back() {
    let (_, port) = connected(Wire::Framed, |_: Request<Incoming>| std::future::pending::<Answer>());
    let client = dials(&port, ours(Wire::Framed).max_pending(1));
    let held = tokio::spawn({
        let client = client.clone();
        async move { client.stream(get("/")).await.map(drop) }
    });
    sleep(S).await;
    let mut over = client.stream(post("/", Frames::new(["one"])));
    assert!((&mut over).await.err().unwrap().is_overload());
    assert_eq!(over.take_unsent().unwrap().into_body().collect().await.unwrap().to_bytes(), "one");
    held.abort();
    let _ = held.await;
    // So does one whose head is too long.
    let mut request = post("/", Frames::new(["one"]));
    request.headers_mut().insert("x-long", "x".repeat(62_000).parse().unwrap());
    let mut call = client.stream(request);
    let error = timeout(S, &mut call).await.unwrap().err().unwrap();
    assert_eq!((error.kind(), error.status().as_u16()), (ErrorKind::Encode, 431), "{error:?}");
    assert_eq!(call.take_unsent().unwrap().into_body().collect().await.unwrap().to_bytes(), "one");
}
