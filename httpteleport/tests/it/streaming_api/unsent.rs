//! Requests that come back, as nothing of them has left.

use super::*;

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
