//! How clients of streams end.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_bodies_and_lets_through_what_had_begun() {
    let (_, port) = served(serves(), echo);
    let client = dials(&port, builder());
    let begun = client.call(&1, SendBody::Pieces);
    let mut drain = Box::pin(client.drain());
    let (begun, late) = tokio::join!(begun, async {
        assert!(poll_once(&mut drain).is_pending());
        client.call(&1, SendBody::empty()).await
    });
    assert!(late.err().unwrap().is_closed());
    let (answer, writer) = begun.unwrap();
    assert!(poll_once(&mut drain).is_pending(), "the connection lives as long as the call");
    let mut writer = writer.unwrap();
    writer.write(Bytes::from_static(b"still")).await.unwrap();
    writer.finish(None).unwrap();
    let mut reply = answer.await.unwrap();
    assert_eq!(all(&mut reply.body).await.unwrap(), b"still");
    timeout(secs(1), drain).await.expect("the last body has ended");
}

/// What goes on elsewhere is no reason to keep a connection that nobody can use any more.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_dropped_ends_its_idle_connections_while_a_body_lives() {
    let (server, open) = (serves().build().unwrap(), Arc::<AtomicUsize>::default());
    let (serving, count) = (server.clone(), open.clone());
    let port = Port::new(move |end| {
        let (server, alive) = (serving.clone(), Alive::new(&count));
        tokio::spawn(async move {
            let _alive = alive;
            let answer = |call: Call| async move {
                let (head, _, mut responder) = call.into_parts();
                if head == 1 {
                    let mut writer = responder.reply(&String::new(), SendBody::Pieces).unwrap().unwrap();
                    sleep(ms(10_000)).await;
                    writer.write(Bytes::from_static(b"at last")).await.unwrap();
                    writer.finish(None).unwrap();
                } else {
                    responder.reply(&String::new(), SendBody::empty()).unwrap();
                }
            };
            server.serve_streams_connection(end, None, Arc::new(answer)).await
        });
    });
    let client = dials(&port, builder().connections(2));
    let (answer, _) = client.call(&1, SendBody::empty()).await.unwrap();
    let mut reply = answer.await.unwrap();
    client.exchange(&2, Bytes::new()).await.unwrap();
    assert_eq!(open.load(Ordering::SeqCst), 2);
    drop(client);
    timeout(ms(5_000), async {
        while open.load(Ordering::SeqCst) > 1 {
            sleep(ms(1)).await;
        }
    })
    .await
    .expect("the idle one ends");
    assert_eq!(all(&mut reply.body).await.unwrap(), b"at last", "and the other one goes on");
}
