//! HTTP over framed connections, both ends, in virtual time.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use httpteleport::stream::{Incoming, StreamHandler};
use httpteleport::{Client, ErrorKind, Limits, Server, Wire};
use testkit::pipe::{Way, duplex};
use tokio::time::{Instant, sleep_until, timeout};

const S: Duration = Duration::from_secs(1);

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A client whose calls `handler` answers.
fn connected(handler: impl StreamHandler) -> Client {
    watched(handler).0
}

/// The same, and the way on which it hears.
fn watched(handler: impl StreamHandler) -> (Client, Way) {
    let (near, far) = duplex();
    let down = near.incoming();
    let server = Server::builder(Limits::default()).build().unwrap();
    tokio::spawn(async move { server.serve_streams_connection(far, None, Arc::new(handler)).await });
    let near = Mutex::new(Some(near));
    let dial = move || {
        let near = near.lock().unwrap().take();
        async move { near.ok_or_else(|| std::io::Error::other("there is one connection")) }
    };
    let client = Client::builder(Limits::default()).wire(Wire::Framed).connect_with("far", dial).unwrap();
    (client, down)
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://far.example{path}")).body(Empty::new()).unwrap()
}

fn full(bytes: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(bytes.into()).boxed_unsync())
}

/// Gives the bytes of a request back as they come, and its trailers.
async fn echo(request: Request<Incoming>) -> Answer {
    let body = request.into_body();
    let mut body = Box::pin(body);
    let frames = polled(move |cx| body.as_mut().poll_frame(cx).map(|frame| frame.and_then(Result::ok)));
    Response::new(frames)
}

/// A body of whatever `poll` gives.
fn polled(
    poll: impl FnMut(&mut Context<'_>) -> Poll<Option<Frame<Bytes>>> + Send + 'static,
) -> UnsyncBoxBody<Bytes, Infallible> {
    struct Polled<P>(P);
    impl<P: FnMut(&mut Context<'_>) -> Poll<Option<Frame<Bytes>>> + Unpin> Body for Polled<P> {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            (self.0)(cx).map(|frame| frame.map(Ok))
        }
    }
    // Boxed, so that whatever the closure holds need not be Unpin.
    let mut poll = Box::new(poll);
    Polled(move |cx: &mut Context<'_>| poll(cx)).boxed_unsync()
}

#[tokio::test(start_paused = true)]
async fn heads_and_bodies_arrive_as_they_were_sent() {
    let client = connected(async |request: Request<Incoming>| {
        let seen = format!("{} {} {:?}", request.method(), request.uri(), request.headers()["host"]);
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut answer = full(format!("{seen} {}", body.len()));
        *answer.status_mut() = StatusCode::CREATED;
        answer.headers_mut().insert("x-answer", "yes".parse().unwrap());
        answer
    });
    for length in [0, 10, 16_384, 16_385, 1_000_000] {
        let request = Request::post("http://far.example/a%2Fb?c").body(Full::new(Bytes::from(vec![7; length])));
        let response = client.stream(request.unwrap()).timeout(10 * S).await.unwrap();
        assert_eq!(
            (response.status(), &response.headers()["x-answer"]),
            (StatusCode::CREATED, &"yes".parse().unwrap())
        );
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, format!("POST /a%2Fb?c \"far.example\" {length}"));
    }
}

/// An event at once, and then one a second.
fn events(count: usize) -> UnsyncBoxBody<Bytes, Infallible> {
    let mut sent = 0;
    let mut next = Box::pin(sleep_until(Instant::now()));
    polled(move |cx| {
        if sent == count {
            return Poll::Ready(None);
        }
        ready!(next.as_mut().poll(cx));
        let after = next.deadline() + S;
        next.as_mut().reset(after);
        sent += 1;
        Poll::Ready(Some(Frame::data(Bytes::from(format!("data: {sent}\n\n")))))
    })
}

#[tokio::test(start_paused = true)]
async fn events_arrive_one_by_one_when_they_happen() {
    let client = connected(async |_| Response::new(events(5)));
    let start = Instant::now();
    let mut body = client.stream(get("/events")).await.unwrap().into_body();
    for n in 1..=5u32 {
        let event = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(event, format!("data: {n}\n\n"));
        let late = start.elapsed().checked_sub(S * (n - 1)).expect("not before it happened");
        assert!(late < Duration::from_millis(5), "event {n} came {late:?} late");
    }
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn bodies_stream_both_ways_and_trailers_come_behind() {
    let client = connected(echo);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let mut frames: Vec<Result<_, Infallible>> =
        (0..50u8).map(|n| Ok(Frame::data(Bytes::from(vec![n; 20_000])))).collect();
    frames.push(Ok(Frame::trailers(trailers.clone())));
    let body = {
        let mut frames = frames.into_iter();
        polled(move |_| Poll::Ready(frames.next().map(|frame| frame.unwrap())))
    };
    let request = Request::post("http://far.example/").header("te", "trailers").body(body).unwrap();
    let response = client.stream(request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(response.trailers(), Some(&trailers));
    let bytes = response.to_bytes();
    assert!((0..50u8).all(|n| bytes[usize::from(n) * 20_000..][..20_000].iter().all(|byte| *byte == n)));
}

/// Tells when it is dropped.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn until_none(alive: &AtomicUsize) {
    let none = std::future::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        if alive.load(Ordering::SeqCst) == 0 { Poll::Ready(()) } else { Poll::Pending }
    });
    timeout(S, none).await.expect("everything is dropped");
}

#[tokio::test(start_paused = true)]
async fn who_reads_no_more_ends_the_source_at_the_other_side() {
    let alive = Arc::new(AtomicUsize::new(0));
    let counted = alive.clone();
    let client = connected(move |_| {
        let held = Alive::new(&counted);
        async move {
            let mut events = Box::pin(events(usize::MAX));
            Response::new(polled(move |cx| {
                let _ = &held;
                events.as_mut().poll_frame(cx).map(|frame| frame.map(|frame| frame.unwrap()))
            }))
        }
    });
    let mut body = client.stream(get("/events")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(alive.load(Ordering::SeqCst), 1);
    drop(body);
    until_none(&alive).await;

    let call = client.stream(get("/events"));
    drop(call); // Never polled: nothing happened.
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_nobody_wants_ends_with_the_answer() {
    let client = connected(async |_| full("enough"));
    let alive = Arc::new(AtomicUsize::new(0));
    let held = Alive::new(&alive);
    let endless = polled(move |_| {
        let _ = &held;
        Poll::Ready(Some(Frame::data(Bytes::from_static(&[0; 10_000]))))
    });
    let request = Request::post("http://far.example/").body(endless).unwrap();
    let response = client.stream(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "enough");
    until_none(&alive).await;
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_waits_for_its_source_ends_with_the_call() {
    let client = connected(async |request: Request<Incoming>| {
        request.into_body().collect().await.unwrap();
        full("never")
    });
    let alive = Arc::new(AtomicUsize::new(0));
    let held = Alive::new(&alive);
    let silent = polled(move |_| {
        let _ = &held;
        Poll::Pending
    });
    let request = Request::post("http://far.example/").body(silent).unwrap();
    let error = client.stream(request).timeout(S).await.expect_err("the time is over");
    assert!(error.is_timeout(), "{error}");
    until_none(&alive).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_as_long_as_it_says_is_refused() {
    let client = connected(async |request: Request<Incoming>| {
        let said = request.headers()["x-length"].clone();
        let mut answer = full(vec![1; 20_000]);
        answer.headers_mut().insert("content-length", said);
        answer
    });
    for (said, whole) in [("20000", true), ("19999", false), ("20001", false)] {
        let request = Request::get("http://far.example/").header("x-length", said).body(Empty::<Bytes>::new());
        let body = client.stream(request.unwrap()).await.unwrap().into_body().collect().await;
        assert_eq!(body.is_ok(), whole, "{said}");
        if let Err(error) = body {
            assert_eq!(error.kind(), ErrorKind::Refused);
        }
    }
    let head = Request::head("http://far.example/").header("x-length", "5").body(Empty::<Bytes>::new()).unwrap();
    let response = client.stream(head).await.unwrap();
    assert_eq!(response.headers()["content-length"], "5");
}

#[tokio::test(start_paused = true)]
async fn a_response_that_cannot_be_sent_and_a_panic_cost_their_call_alone() {
    let client = connected(async |request: Request<Incoming>| match request.uri().path() {
        "/long" => {
            let mut answer = full("");
            answer.headers_mut().insert("x-long", "x".repeat(100_000).parse().unwrap());
            answer
        }
        "/panic" => panic!("as it was asked to"),
        _ => full("fine"),
    });
    let response = client.stream(get("/long")).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let response = client.stream(get("/panic")).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let response = client.stream(get("/")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "fine");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_compress_passes_by_the_compressor_and_its_context() {
    let mut random = 7u32;
    let mut noise = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        random.to_le_bytes()[3]
    };
    let noise: Bytes = (0..100_000).map(|_| noise()).collect();
    let bodies = [(noise, "application/octet-stream"), (Bytes::from(vec![b'a'; 100_000]), "image/png")];
    let (client, down) = watched(move |request: Request<Incoming>| {
        let (body, kind) = match request.uri().path() {
            "/noise" => bodies[0].clone(),
            "/image" => bodies[1].clone(),
            _ => (Bytes::from(vec![b'a'; 100_000]), "text/plain"),
        };
        let mut answer = full(body);
        answer.headers_mut().insert("content-type", kind.parse().unwrap());
        std::future::ready(answer)
    });
    let weigh = async |path| {
        let before = down.written();
        let body = client.stream(get(path)).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), 100_000);
        down.written() - before
    };
    assert!(weigh("/text").await < 1000);
    for path in ["/noise", "/noise", "/image", "/image"] {
        let weight = weigh(path).await;
        assert!((100_000..101_000).contains(&weight), "{path}: {weight}, for the second time too");
    }
}

struct Fails(u8);
impl Body for Fails {
    type Data = Bytes;
    type Error = std::io::Error;
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0 += 1;
        Poll::Ready((self.0 == 1).then(|| Err(std::io::Error::other("disk"))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_at_once_is_no_whole_one() {
    let client = connected(async |_: Request<Incoming>| Response::new(Fails(0)));
    let Ok(response) = client.stream(get("/")).await else { return }; // It may have broken before its head was seen.
    let collected = response.into_body().collect().await;
    assert!(collected.is_err(), "it was taken for {:?}", collected.unwrap().to_bytes());
}

#[tokio::test(start_paused = true)]
async fn trailers_alone_arrive() {
    let client = connected(async |_: Request<Incoming>| {
        let mut trailers = Some(HeaderMap::from_iter([("grpc-status".parse().unwrap(), "5".parse().unwrap())]));
        Response::new(polled(move |_| Poll::Ready(trailers.take().map(Frame::trailers))))
    });
    let response = client.stream(get("/")).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert!(collected.trailers().is_some(), "the trailers are lost");
}

#[tokio::test(start_paused = true)]
async fn a_response_to_head_has_no_body_whatever_its_handler_made() {
    let client = connected(async |_: Request<Incoming>| full("hello"));
    let request = Request::head("http://far.example/").body(Empty::<Bytes>::new()).unwrap();
    let response = client.stream(request).await.unwrap();
    response.into_body().collect().await.expect("a response to HEAD has no body, whatever its handler made");
}

#[tokio::test(start_paused = true)]
async fn a_whole_body_that_is_not_as_long_as_it_says_is_refused() {
    let client = connected(async |_| {
        let mut answer = full("abc");
        answer.headers_mut().insert("content-length", "10".parse().unwrap());
        answer
    });
    let refused = client.stream(get("/short")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");

    let asked = Arc::new(AtomicUsize::new(0));
    let seen = asked.clone();
    let client = connected(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        std::future::ready(full("never sent"))
    });
    let short = Request::post("http://far.example/").header("content-length", "10");
    let refused = client.stream(short.body(Full::new(Bytes::from("abc"))).unwrap()).await.unwrap_err();
    assert!(refused.to_string().contains("not as long as its Content-Length says"), "{refused}");
    assert_eq!(asked.load(Ordering::Relaxed), 0, "the handler saw it");
}
