//! Close, drain, and dropping the last client.

use fastrpc::ErrorKind;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn close_fails_what_is_pending_and_refuses_what_comes() {
    let (net, mut ends) = net();
    let client = net.client(client());
    let mut call = client.call(ask("pending"));
    let mut peer = meanwhile(&mut call, ends.peer()).await;
    meanwhile(&mut call, peer.request()).await;
    client.close();
    let error = call.await.unwrap_err();
    assert!(error.is_closed() && !error.may_retry());
    peer.expect_end().await;
    assert!(client.call(ask("later")).await.unwrap_err().is_closed());
    assert!(client.send(&ask("later")).unwrap_err().is_closed());
    assert_eq!(client.pending(), 0);
    assert!(ends.is_empty());
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_pending_calls_and_refuses_new_ones() {
    let (net, mut ends) = net();
    let client = net.client(client());
    let mut call = client.call(ask("pending"));
    let mut peer = meanwhile(&mut call, ends.peer()).await;
    let id = meanwhile(&mut call, peer.request()).await.id;
    let mut drain = Box::pin(client.drain());
    assert!(poll_once(&mut drain).is_pending());
    assert!(client.call(ask("later")).await.unwrap_err().is_closed());
    settle().await;
    assert!(poll_once(&mut drain).is_pending());
    peer.reply(id, "done").await;
    assert_eq!(call.await.unwrap().value, "done");
    drain.await;
    peer.expect_end().await;
}

/// The last call may also go by being dropped; the drain must hear of it.
#[tokio::test(start_paused = true)]
async fn drain_ends_when_the_last_call_is_dropped() {
    let (net, mut ends) = net();
    let client = net.client(client());
    let mut call = client.call(ask("dropped"));
    let mut peer = meanwhile(&mut call, ends.peer()).await;
    meanwhile(&mut call, peer.request()).await;
    let mut drain = Box::pin(client.drain());
    assert!(poll_once(&mut drain).is_pending());
    settle().await;
    drop(call);
    tokio::time::timeout(ms(10), drain).await.expect("drained at once");
}

#[tokio::test(start_paused = true)]
async fn drain_of_a_client_that_never_called_ends_at_once() {
    let (net, ends) = net();
    let client = net.client(client());
    tokio::time::timeout(ms(1), client.drain()).await.expect("nothing to wait for");
    assert!(ends.is_empty());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_client_sends_what_was_handed_over() {
    let (net, mut ends) = net();
    let client = net.client(client().batch_delay(ms(500)));
    client.send(&ask("one")).unwrap();
    client.clone().send(&ask("two")).unwrap();
    drop(client);
    let mut peer = ends.peer().await;
    for name in ["one", "two"] {
        let frame = peer.request().await;
        assert_eq!((frame.id, &frame.message.name[..]), (0, name.as_bytes()));
    }
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_may_be_driven_by_the_caller() {
    let (here, there) = testkit::pipe::duplex();
    let server = server().build().unwrap();
    tokio::spawn(async move { server.serve_connection(there, None, std::sync::Arc::new(echo)).await });
    let (client, mut driver) = client().handshake(here).await.unwrap();
    let call = client.call(ask("driven"));
    let reply = tokio::select! {
        reply = call => reply.unwrap(),
        ended = &mut driver => panic!("the driver ended: {ended:?}"),
    };
    assert_eq!(reply.value, "driven");
    drop(client);
    driver.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_driver_fails_its_calls() {
    let (here, there) = testkit::pipe::duplex();
    let server = server().build().unwrap();
    tokio::spawn(async move { server.serve_connection(there, None, std::sync::Arc::new(echo)).await });
    let (client, driver) = client().handshake(here).await.unwrap();
    let mut call = client.call(ask("lost"));
    assert!(poll_once(&mut call).is_pending());
    drop(driver);
    let error = call.await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, true));
    assert_eq!(client.pending(), 0);
    assert_eq!(client.call(ask("later")).await.unwrap_err().kind(), ErrorKind::Connection);
}
