//! Bodies, both ways.

use super::*;

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
