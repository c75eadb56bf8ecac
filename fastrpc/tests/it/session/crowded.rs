//! Connections with more to carry than there is room for.

use super::*;

#[tokio::test(start_paused = true)]
async fn two_full_pipes_never_wait_for_each_other() {
    let scene = scene(RecordCodec::None, echo);
    scene.up.set_capacity(1000);
    scene.down.set_capacity(1000);
    let calls: Vec<_> = (0..8)
        .map(|n| {
            let (reply, mut writer) = scene.stream("pieces");
            let sent = tokio::spawn(async move {
                for _ in 0..50 {
                    writer.write(Bytes::from(vec![n; 10_000])).await.unwrap();
                }
                writer.finish(None).unwrap();
            });
            let received = tokio::spawn(async move {
                let body = all(&mut reply.await.unwrap().body).await.unwrap();
                assert!(body.len() == 500_000 && body.iter().all(|byte| *byte == n));
            });
            [sent, received]
        })
        .collect();
    for task in calls.into_iter().flatten() {
        timeout(60 * S, task).await.expect("nothing hangs").unwrap();
    }
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_lets_calls_wait_whose_replies_are_not_read() {
    let served = Arc::new(AtomicUsize::new(0));
    let counted = served.clone();
    let scene = scene(RecordCodec::None, move |call: Incoming| {
        counted.fetch_add(1, Ordering::SeqCst);
        echo(call)
    });
    scene.down.choke();
    let calls: Vec<_> = (0..400).map(|_| scene.call("call", &noise(10_000))).collect();
    tokio::time::sleep(S).await;
    let begun = served.load(Ordering::SeqCst);
    assert!((100..150).contains(&begun), "1 MiB of replies lie unread, and a record's calls: {begun}");
    scene.down.allow_all();
    for call in calls {
        assert_eq!(all(&mut call.await.unwrap().body).await.unwrap().len(), 10_000);
    }
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_had_to_wait_for_room_go_on_at_once() {
    let (mut near, far) = duplex();
    near.outgoing().set_capacity(1 << 20);
    near.incoming().set_capacity(1 << 20);
    let options = Options { codec: RecordCodec::None, max_unread: 1000, ..Options::default() };
    let settings = options.settings.clone();
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, echo);
    tokio::spawn(server);
    let (mut record, mut wire) = (Vec::new(), Vec::new());
    let head = |_: &mut Vec<u8>| -> Result<(), frame::TooLong> { Ok(()) };
    frame::put_call(&mut record, 0, false, 9, head, &[7; 2000], true).unwrap();
    for _ in 0..100 {
        RecordEncoder::new(RecordCodec::None, 22).encode_raw(&record, &mut wire);
    }
    near.write_all(&wire).await.unwrap();
    let start = Instant::now();
    let (mut replied, mut bytes) = (0, [0; 4096]);
    while replied < 100 * 2000 {
        replied += near.read(&mut bytes).await.unwrap();
    }
    assert!(start.elapsed() < S / 10, "{:?}", start.elapsed());
}
