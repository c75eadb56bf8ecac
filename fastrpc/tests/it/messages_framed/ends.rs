//! How clients and connections end, and what becomes of their calls.

use super::*;

#[tokio::test(start_paused = true)]
async fn close_fails_what_is_pending_and_refuses_what_comes() {
    let (client, port, handler) = open(framed(), serves()).await;
    let pending = spawned(&client, ask("never"));
    handler.runs(1).await;
    client.close();
    let error = pending.await.unwrap().unwrap_err();
    assert!(error.is_closed() && !error.may_retry(), "{error:?}");
    assert!(client.call(ask("later")).await.unwrap_err().is_closed());
    assert!(client.send(&ask("later")).unwrap_err().is_closed());
    handler.runs(0).await;
    assert_eq!((client.pending(), port.dialled()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_pending_calls_and_refuses_new_ones() {
    let (client, port, handler) = open(framed(), serves()).await;
    let pending = spawned(&client, ask("slow"));
    handler.runs(1).await;
    let mut drain = Box::pin(client.drain());
    assert!(poll_once(&mut drain).is_pending());
    assert!(client.call(ask("later")).await.unwrap_err().is_closed());
    assert!(client.send(&ask("later")).unwrap_err().is_closed());
    sleep(secs(1)).await;
    assert!(poll_once(&mut drain).is_pending());
    drop(drain); // What was refused stays so.
    assert!(client.call(ask("later")).await.unwrap_err().is_closed());
    handler.0.gate.add_permits(1);
    assert_eq!(pending.await.unwrap().unwrap().value, "slow");
    timeout(secs(1), client.drain()).await.expect("the last call is over");
    timeout(secs(1), port.ways(0).0.ended()).await.expect("so is the connection");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_client_sends_what_was_handed_over() {
    let (client, port, handler) = open(framed().batch_delay(ms(500)), serves()).await;
    client.send(&ask("one")).unwrap();
    client.clone().send(&Request::new("two", vec![0; 200_000])).unwrap();
    drop(client);
    timeout(secs(2), port.ways(0).0.ended()).await.expect("the connection ends");
    settle().await;
    assert_eq!((handler.begun("one"), handler.begun("two")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_driver_may_be_driven_by_the_caller() {
    let (server, _, handler) = scene(serves());
    let (here, there) = duplex();
    let serves = handler.clone();
    tokio::spawn(async move { server.serve_connection(there, None, Arc::new(serves)).await });
    let (client, driver) = framed().handshake(here).await.unwrap();
    let driving = tokio::spawn(driver);
    assert_eq!(client.call(ask("x")).await.unwrap().value, "x");
    let lost = spawned(&client, ask("never"));
    handler.runs(1).await;
    driving.abort();
    assert_eq!(lost.await.unwrap().unwrap_err().kind(), ErrorKind::Connection);
    for _ in 0..2 {
        let error = client.call(ask("later")).await.unwrap_err();
        assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, true), "{error:?}");
    }
    assert_eq!(client.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_left_is_made_once_more_and_one_that_did_is_not() {
    let (client, port, handler) = open(framed(), serves()).await;
    let filling = stop(&client, &port);
    settle().await;
    let unsent = spawned(&client, ask("unsent"));
    settle().await;
    port.cut(0);
    assert_eq!(unsent.await.unwrap().unwrap().value, "unsent");
    assert_eq!((handler.begun("unsent"), port.dialled()), (1, 2));
    for (n, call) in filling.into_iter().enumerate() {
        match call.await.unwrap() {
            Ok(_) => assert_eq!(handler.begun(&format!("fills {n}")), 1, "it had not left"),
            Err(error) => assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, false), "{error:?}"),
        }
    }
    let mut sent = Box::pin(client.call(ask("slow")));
    assert!(poll_once(&mut sent).is_pending());
    handler.runs(1).await;
    port.cut(1);
    let error = (&mut sent).await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, false), "{error:?}");
    assert_eq!(handler.begun("slow"), 1);
    assert_eq!((client.pending(), client.stats().reconnects), (0, 1));
}

/// Twice is too often: whoever made it decides, and gets the request back.
#[tokio::test(start_paused = true)]
async fn a_call_that_never_left_twice_fails_and_gives_its_request_back() {
    // A hello without settings, and a record with a close: done, and no call was taken.
    let closes = hex("66617374727063 00 80 00 0000 00 0500 0500 0b 00 02 00 00");
    let port = Port::new(move |mut end| {
        let closes = closes.clone();
        tokio::spawn(async move {
            end.write_all(&closes).await.unwrap();
            let _ = end.read_to_end(&mut Vec::new()).await;
        });
    });
    let client = port.client(framed());
    let mut call = client.call(ask("unsent"));
    let error = (&mut call).await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, true), "{error:?}");
    assert_eq!(port.dialled(), 4, "no more than two tries, of two connections each");
    assert_eq!(call.take_request().unwrap().name, "unsent");
    assert!(call.take_request().is_none());
    assert_eq!(client.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_request_comes_back_from_a_call_that_failed() {
    let (_, port, handler) = scene(serves());
    port.replace(drop);
    let client = port.client(framed().max_pending(1));
    let mut call = client.call(ask("x"));
    assert!(call.take_request().is_none(), "it has not ended");
    assert!((&mut call).await.unwrap_err().may_retry());
    assert_eq!(call.take_request().unwrap().name, "x");
    port.replace(serving(serves(), handler.clone()).1);
    let held = spawned(&client, ask("never"));
    handler.runs(1).await;
    let mut call = client.call(ask("y"));
    assert!((&mut call).await.unwrap_err().is_overload());
    assert_eq!(call.take_request().unwrap().name, "y");
    held.abort();
    handler.runs(0).await;
    let mut call = client.call(ask("never")).timeout(ms(5));
    assert!((&mut call).await.unwrap_err().is_timeout());
    assert_eq!(call.take_request().unwrap().name, "never");
    handler.runs(0).await;
    let mut call = client.call(ask("z"));
    (&mut call).await.unwrap();
    assert!(call.take_request().is_none(), "it was answered");
}

/// A reset that says "not begun" is told as such.
#[tokio::test(start_paused = true)]
async fn a_call_that_was_refused_may_be_made_again() {
    let port = streamed(|call: stream::Call<Raw>| async move {
        let (head, _, responder) = call.into_parts();
        let code = if head.ends_with(b"refused\0\0\0\0") { ResetCode::Refused } else { ResetCode::Failed };
        responder.fail(code, "for a reason");
    });
    let client = port.client(framed());
    for (name, again) in [("refused", true), ("failed", false)] {
        let error = client.call(ask(name)).await.unwrap_err();
        assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Reset, again), "{error:?}");
        assert!(error.to_string().contains("for a reason"), "{error}");
    }
    assert_eq!((client.stats().errors, client.pending(), port.dialled()), (2, 0, 1));
}
