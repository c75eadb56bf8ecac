//! Peers that are gone, and those that are only quiet.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_dead_peer_is_noticed_in_ten_seconds() {
    let (serve, ..) = endless();
    let scene = scene(RecordCodec::None, serve);
    let reply = scene.call("never answered", b"");
    tokio::time::sleep(7 * S).await;
    let start = Instant::now();
    scene.down.hold();
    let Err(error) = reply.await else { panic!("nobody answers") };
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert_eq!(error.to_string(), "nothing was heard from the peer for 10 s");
    assert!(start.elapsed() <= 10 * S && !error.may_retry(), "{:?}", start.elapsed());
    let Err(error) = scene.caller.call(text("late"), SendBody::Pieces, None) else { panic!("it is over") };
    assert!(error.may_retry());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_lives_by_its_pings() {
    let (serve, ..) = endless();
    let scene = scene(RecordCodec::None, serve);
    let mut reply = scene.call("long", b"");
    tokio::time::sleep(1000 * S).await;
    assert!(poll_fn(|cx| Poll::Ready(Pin::new(&mut reply).poll(cx).is_pending())).await);
    drop(reply);
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_fails_everything_with_its_cause() {
    let (serve, alive, begun) = endless();
    let scene = scene(RecordCodec::None, serve);
    let reply = scene.call("waits", b"");
    begun.notified().await;
    scene.down.end();
    let Err(error) = reply.await else { panic!("nobody answers") };
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Connection, "the peer closed"));
    assert!(!error.may_retry(), "it was sent");
    until_none(&alive).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_taken_for_dead_is_told_so() {
    let scene = scene(RecordCodec::None, echo);
    tokio::time::sleep(S).await;
    scene.down.hold();
    scene.up.record();
    let error = scene.client.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "nothing was heard from the peer for 10 s");
    let said = scene.up.recorded();
    assert!(
        said.windows(5).any(|window| window[..2] == [11, 0] && window[3..] == [6, 0]),
        "a close of code 6: {said:x?}"
    );
}
