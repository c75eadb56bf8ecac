//! How calls end before their replies.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_call_here_and_its_handler_there() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn, Dispatch::Pipeline] {
        let (client, port, handler) = open(framed().timeout(secs(2)), serves().dispatch(dispatch)).await;
        let start = Instant::now();
        let error = client.call(ask("never")).timeout(ms(500)).await.unwrap_err();
        assert!(error.is_timeout() && !error.may_retry() && error.peer() == Some("port"), "{error:?}");
        assert!(start.elapsed() >= ms(500) && start.elapsed() < ms(520), "{:?}", start.elapsed());
        handler.runs(0).await;
        // The client's own, of all calls; and the server's clock, if the client's reset does not come.
        let mut call = Box::pin(client.call(ask("never")));
        assert!(poll_once(&mut call).is_pending());
        handler.runs(1).await;
        port.ways(0).0.choke();
        assert!(call.await.unwrap_err().is_timeout());
        handler.runs(0).await;
        assert_eq!((client.pending(), client.stats().timeouts, client.stats().errors), (0, 2, 0), "{dispatch:?}");
    }
}

/// The deadline is one of the whole reply.
#[tokio::test(start_paused = true)]
async fn a_reply_that_stalls_ends_with_the_calls_deadline() {
    let alive = Arc::<AtomicUsize>::default();
    let counted = alive.clone();
    let port = streamed(move |call: stream::Call<Raw>| {
        let alive = Alive::new(&counted);
        async move {
            let _alive = alive;
            let (_, _, mut responder) = call.into_parts();
            let mut writer = responder.reply(&Bytes::new(), SendBody::Pieces).unwrap().unwrap();
            for _ in 0..100 {
                if writer.write(Bytes::from_static(&[0, 0, 1, 0])).await.is_err() {
                    return;
                }
                sleep(secs(1)).await;
            }
            std::future::poll_fn(|cx| writer.poll_gone(cx)).await;
        }
    });
    let client = port.client(framed());
    let start = Instant::now();
    let error = client.call(ask("x")).timeout(ms(2500)).await.unwrap_err();
    assert!(error.is_timeout() && !error.may_retry() && error.peer() == Some("port"), "{error:?}");
    assert_eq!(start.elapsed().as_millis() / 10, 250);
    until("the server stops", || alive.load(Ordering::SeqCst) == 0).await;
    assert_eq!((client.pending(), client.stats().timeouts), (0, 1));
}

/// A client that sends no more of a request does not hold a place at the server for ever.
#[tokio::test(start_paused = true)]
async fn a_request_that_stalls_is_given_up_after_the_read_timeout() {
    let (server, port, handler) = scene(serves().concurrency(1).read_timeout(secs(5)));
    let builder = stream::Client::builder(Raw).wire(Wire::Framed).timeout(secs(3600));
    let calls = builder.connect_with("port", port.dial()).unwrap();
    let (answer, writer) = calls.call(&Bytes::new(), SendBody::Pieces).await.unwrap();
    let mut writer = writer.unwrap();
    for _ in 0..3 {
        writer.write(Bytes::from_static(b"\x01\0\0\0")).await.unwrap();
        sleep(secs(4)).await;
        assert_eq!(server.stats().pending, 1);
    }
    let start = Instant::now();
    let error = answer.await.err().unwrap();
    assert!(error.is_timeout() && start.elapsed() <= secs(2), "{error:?} after {:?}", start.elapsed());
    settle().await;
    assert_eq!((server.stats().pending, handler.begun("")), (0, 0));
    assert_eq!(port.client(framed()).call(ask("x")).await.unwrap().value, "x");
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_drops_its_handler() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn, Dispatch::Pipeline] {
        let (client, _port, handler) = open(framed(), serves().dispatch(dispatch)).await;
        let mut calls: Vec<_> = (0..10).map(|_| client.call(ask("never"))).collect();
        for call in &mut calls {
            assert!(poll_once(call).is_pending());
        }
        let running = if dispatch == Dispatch::Pipeline { 1 } else { 10 };
        handler.runs(running).await;
        assert_eq!(client.pending(), 10);
        drop(calls);
        assert_eq!(client.pending(), 0);
        handler.runs(0).await;
        assert_eq!(handler.begun("never"), running, "those that waited are not begun");
        assert_eq!(client.call(ask("on")).await.unwrap().value, "on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_runs_one_call_at_a_time_in_order() {
    let (client, _port, handler) = open(framed(), serves().dispatch(Dispatch::Pipeline)).await;
    let calls: Vec<_> = ["slow", "a", "slow", "b"].map(|name| spawned(&client, ask(name))).into_iter().collect();
    handler.runs(1).await;
    settle().await;
    assert_eq!(*handler.0.begun.lock().unwrap(), ["opens", "slow"]);
    handler.0.gate.add_permits(2);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(*handler.0.begun.lock().unwrap(), ["opens", "slow", "a", "slow", "b"]);
    assert_eq!(handler.0.most.load(Ordering::SeqCst), 1);
}
