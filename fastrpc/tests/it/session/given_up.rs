//! Calls that nobody waits for any more, on one side or the other.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_dropped_call_drops_its_handler() {
    let (serve, alive, begun) = endless();
    let scene = scene(RecordCodec::Zstd, serve);
    let calls = [scene.call("one", b""), scene.call("two", &noise(200_000))];
    begun.notified().await;
    drop(calls);
    until_none(&alive).await;
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_call_on_both_sides() {
    let (serve, alive, begun) = endless();
    let scene = scene(RecordCodec::None, serve);
    let start = Instant::now();
    let (reply, _) = scene.caller.call(text("late"), SendBody::Whole(Bytes::new()), Some(3 * S)).unwrap();
    begun.notified().await;
    let Err(error) = reply.await else { panic!("nobody answers") };
    assert!(error.is_timeout() && start.elapsed() < 3 * S + Duration::from_millis(10), "{error} {:?}", start.elapsed());
    until_none(&alive).await;
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_drops_work_whose_time_is_over_even_if_its_caller_cannot_say_so() {
    let (serve, alive, begun) = endless();
    let scene = scene(RecordCodec::None, serve);
    let (_reply, _) = scene.caller.call(text("late"), SendBody::Whole(Bytes::new()), Some(3 * S)).unwrap();
    begun.notified().await;
    scene.up.choke();
    tokio::time::sleep(3 * S + Duration::from_millis(10)).await;
    until_none(&alive).await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_holds_while_the_peer_reads_nothing() {
    let (serve, ..) = endless();
    let scene = scene(RecordCodec::None, serve);
    scene.up.choke();
    let _long: Vec<_> = (0..10).map(|_| scene.call("fills what may wait", &noise(16_000))).collect();
    tokio::time::sleep(S / 2).await;
    let start = Instant::now();
    let (reply, _) = scene.caller.call(text("late"), SendBody::Whole(Bytes::new()), Some(S / 10)).unwrap();
    let Err(error) = reply.await else { panic!("it never left") };
    assert!(error.is_timeout() && error.may_retry(), "{error}");
    assert!(start.elapsed() <= S / 10 + Duration::from_millis(2), "{:?}", start.elapsed());
}
