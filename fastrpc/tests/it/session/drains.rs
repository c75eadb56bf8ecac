//! How connections drain.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_drain_lets_everything_finish_and_refuses_nothing() {
    let (go, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (released, arrived) = (go.clone(), gate.clone());
    let scene = scene(RecordCodec::Zstd, move |call: Incoming| {
        let (go, gate) = (released.clone(), arrived.clone());
        async move {
            gate.notify_one();
            go.notified().await;
            echo(call).await;
        }
    });
    let first = scene.call("first", &noise(50_000));
    gate.notified().await;
    let last = scene.call("last", b"");
    scene.caller.drain();
    let Err(error) = scene.caller.call(text("late"), SendBody::Pieces, None) else { panic!("it drains") };
    assert!(error.is_closed() && error.may_retry());
    go.notify_one();
    assert_eq!(all(&mut first.await.unwrap().body).await.unwrap().len(), 50_000);
    gate.notified().await;
    go.notify_one();
    assert_eq!(last.await.unwrap().head, "last");
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_has_a_bound() {
    let (serve, alive, begun) = endless();
    let scene = scene(RecordCodec::None, serve);
    let reply = scene.call("never answered", b"");
    begun.notified().await;
    let start = Instant::now();
    scene.caller.drain();
    let Err(error) = reply.await else { panic!("nobody answers") };
    assert_eq!(error.to_string(), "calls went on for 60 s after the drain");
    assert!(start.elapsed() >= 60 * S && start.elapsed() <= 63 * S, "{:?}", start.elapsed());
    until_none(&alive).await;
    assert!(scene.server.await.unwrap().is_ok(), "it was told");
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_age_drains_whichever_side_is_told_so() {
    for old in [Role::Client, Role::Server] {
        let (near, far) = duplex();
        let of = |role| Options { max_age: (role == old).then_some(100 * S), ..Options::default() };
        let settings = Options::default().settings;
        let (caller, client) = Driver::new(Role::Client, Box::new(near), of(Role::Client), settings.clone(), NoCalls);
        let slow = |call: Incoming| async move {
            tokio::time::sleep(20 * S).await;
            echo(call).await;
        };
        let (_, server) = Driver::new(Role::Server, Box::new(far), of(Role::Server), settings, slow);
        let drivers = [tokio::spawn(client), tokio::spawn(server)];
        let (start, mut calls) = (Instant::now(), Vec::new());
        let refused = loop {
            match caller.call(text("call"), SendBody::Whole(Bytes::new()), None) {
                Ok((reply, _)) => calls.push(reply),
                Err(error) => break error,
            }
            tokio::time::sleep(S).await;
        };
        assert!(
            refused.may_retry() && start.elapsed() >= 90 * S && start.elapsed() <= 103 * S,
            "{:?}",
            start.elapsed()
        );
        for call in calls {
            assert_eq!(call.await.unwrap().head, "call", "what had begun is finished");
        }
        for driver in drivers {
            driver.await.unwrap().unwrap();
        }
    }
}
