//! What goes wrong with one call costs that call alone.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_or_forgets_its_reply_costs_its_call_alone() {
    let scene = scene(RecordCodec::None, |call: Incoming| async move {
        match &call.head[..] {
            b"panic" => panic!("as it was asked to"),
            b"forget" => {}
            _ => echo(call).await,
        }
    });
    for head in ["panic", "forget"] {
        let Err(error) = scene.call(head, b"").await else { panic!("nobody answers") };
        let text = "the peer reset the stream: failed (its handler ended without a reply)";
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Reset, text));
    }
    assert_eq!(scene.call("fine", b"").await.unwrap().head, "fine");
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_never_taken_for_a_whole_one() {
    let (ends, mut told) = mpsc::channel(1);
    let scene = scene(RecordCodec::Lz4, move |mut call: Incoming| {
        let ends = ends.clone();
        async move {
            let end = all(&mut call.body).await.map(|body| body.len()).map_err(|error| error.to_string());
            ends.send(end).await.unwrap();
            pending::<()>().await;
        }
    });
    let (reply, mut writer) = scene.stream("upload");
    writer.write(Bytes::from(noise(100_000))).await.unwrap();
    drop(writer);
    let Err(error) = reply.await else { panic!("it broke off") };
    assert_eq!(error.to_string(), "this side reset the stream: failed (the body ended before its end)");
    // The handler is dropped with its call; if it saw an end before that, it saw an error.
    if let Ok(end) = told.try_recv() {
        end.unwrap_err();
    }
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_answers_a_call_that_wants_no_answer_does_no_harm() {
    let (ends, mut told) = mpsc::channel(1);
    let (near, far) = duplex();
    let options = Options::default();
    let settings = options.settings.clone();
    let serve = move |mut call: Incoming| {
        let ends = ends.clone();
        async move {
            let writer = call.responder.reply(text("answer"), SendBody::Pieces).unwrap();
            assert!(call.one_way && writer.is_none());
            ends.send(all(&mut call.body).await.unwrap().len()).await.unwrap();
        }
    };
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, serve);
    tokio::spawn(server);
    let (mut frames, mut record) = (Vec::new(), Vec::new());
    let head = |_: &mut Vec<u8>| -> Result<(), frame::TooLong> { Ok(()) };
    frame::put_call(&mut frames, 0, true, 9, head, b"", false).unwrap();
    frame::put_data(&mut frames, 1, [&[0; 3000][..]].into_iter(), false).unwrap();
    frame::put_data(&mut frames, 1, [&[0; 4000][..]].into_iter(), true).unwrap();
    RecordEncoder::new(RecordCodec::None, 22).encode_raw(&frames, &mut record);
    let mut near = near;
    near.write_all(&record).await.unwrap();
    assert_eq!(told.recv().await, Some(7000));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_reply_is_told_when_the_calls_own_body_breaks() {
    let (serve, alive, begun) = endless();
    let scene = scene(RecordCodec::None, serve);
    let (reply, mut writer) = scene.stream("broken");
    writer.write(Bytes::from_static(b"the first half")).await.unwrap();
    let waiting = tokio::spawn(reply);
    begun.notified().await;
    drop(writer);
    let outcome = timeout(S, waiting).await.expect("it is told").unwrap();
    assert_eq!(outcome.err().map(|error| error.kind()), Some(ErrorKind::Reset));
    until_none(&alive).await;
    scene.drained().await;
}
