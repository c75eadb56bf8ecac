//! Bodies that fall silent.

use super::*;

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
