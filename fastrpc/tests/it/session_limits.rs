//! What a peer that does not read can make a framed connection hold, and that whoever reads goes on. Time is virtual.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fastrpc::Dispatch;
use fastrpc::internals::framed::Role;
use fastrpc::internals::session::{Driver, Incoming, Options, ReplyFuture, SendBody, Serve};
use fastrpc::wire::framed::codec::RecordCodec;
use fastrpc::wire::framed::frame::{self, TooLong};
use fastrpc::wire::framed::record::RecordEncoder;
use fastrpc::wire::framed::settings::Settings;
use testkit::pipe::duplex;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::session::{S, all, echo, endless, text, with_options};

fn raw() -> Options {
    let settings = Options::default().settings;
    let settings = Settings { connection_credit: 1 << 20, stream_credit: 1 << 16, ..settings };
    Options { codec: RecordCodec::None, settings, ..Options::default() }
}

/// Answers with as many bytes as the head says, whole; and counts.
fn sized() -> (impl Serve, Arc<AtomicUsize>) {
    let served = Arc::new(AtomicUsize::new(0));
    let counted = served.clone();
    let serve = move |mut call: Incoming| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let length = String::from_utf8_lossy(&call.head).parse().unwrap();
            call.responder.reply(text(""), SendBody::Whole(vec![7; length].into())).unwrap();
        }
    };
    (serve, served)
}

#[tokio::test(start_paused = true)]
async fn large_replies_that_a_peer_does_not_read_make_its_calls_wait() {
    let (serve, served) = sized();
    let scene = with_options(raw(), raw(), serve);
    scene.down.choke();
    let calls: Vec<_> = (0..400).map(|_| scene.call("100000", b"")).collect();
    tokio::time::sleep(S).await;
    let begun = served.load(Ordering::SeqCst);
    assert!((10..15).contains(&begun), "1 MiB of replies lie unread, and a record: {begun}");
    scene.down.allow_all();
    for call in calls {
        assert_eq!(all(&mut call.await.unwrap().body).await.unwrap().len(), 100_000);
    }
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn small_calls_go_on_while_large_replies_wait_for_their_readers() {
    let (serve, _) = sized();
    let scene = with_options(raw(), raw(), serve);
    let mut large = Vec::new();
    for _ in 0..60 {
        large.push(scene.call("1000000", b"").await.unwrap());
    }
    let mut small = scene.call("10", b"").await.unwrap();
    assert_eq!(all(&mut small.body).await.unwrap().len(), 10, "though nobody reads 60 MB");
    for reply in &mut large {
        assert_eq!(all(&mut reply.body).await.unwrap().len(), 1_000_000);
    }
    drop((large, small));
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn large_replies_without_readers_have_a_bound_and_end_in_time() {
    let (serve, served) = sized();
    let scene = with_options(raw(), raw(), serve);
    let calls: Vec<_> = (0..90).map(|_| scene.call("1000000", b"")).collect();
    tokio::time::sleep(S).await;
    let begun = served.load(Ordering::SeqCst);
    assert!((64..76).contains(&begun), "64 MiB may lie there, and what is under way: {begun}");
    let next = scene.call("10", b"");
    let start = tokio::time::Instant::now();
    next.await.unwrap();
    assert!(start.elapsed() <= 7 * S, "{:?}", start.elapsed());
    let mut told = 0;
    for call in calls {
        match all(&mut call.await.unwrap().body).await {
            Ok(body) => assert_eq!(body.len(), 1_000_000),
            Err(error) => {
                let text = "the peer reset the stream: stalled (nobody has read its body for 5 s while calls waited)";
                assert_eq!(error.to_string(), text);
                told += 1;
            }
        }
    }
    assert!(told >= begun, "{told}");
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_waited_go_on_when_replies_are_read() {
    let (serve, _) = sized();
    let scene = with_options(raw(), Options { max_unread: 10_000, ..raw() }, serve);
    let calls: Vec<_> = (0..50).map(|_| scene.call("200000", b"")).collect();
    let start = tokio::time::Instant::now();
    for call in calls {
        assert_eq!(all(&mut call.await.unwrap().body).await.unwrap().len(), 200_000);
    }
    assert!(start.elapsed() < S / 100, "nothing waits for a clock: {:?}", start.elapsed());
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_waited_go_on_when_what_is_before_them_has_left() {
    let (serve, _) = sized();
    let scene = with_options(raw(), Options { max_unread: 10_000, ..raw() }, serve);
    tokio::time::sleep(S).await;
    let start = tokio::time::Instant::now();
    let calls: Vec<_> = (0..5).map(|_| scene.call("20000", b"")).collect();
    for call in calls {
        call.await.unwrap();
    }
    assert!(start.elapsed() < S / 100, "nothing waits for a clock: {:?}", start.elapsed());
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn what_all_bodies_have_waiting_has_a_bound() {
    let (pushed, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, started) = (pushed.clone(), begun.clone());
    let serve = move |mut call: Incoming| {
        let (counted, started) = (counted.clone(), started.clone());
        async move {
            tokio::time::sleep(S).await; // So that all have begun before the first answers.
            started.fetch_add(1, Ordering::SeqCst);
            let Ok(Some(mut writer)) = call.responder.reply(text(""), SendBody::Pieces) else { return };
            for _ in 0..20 {
                if writer.write(vec![7; 10_000].into()).await.is_err() {
                    return;
                }
                counted.fetch_add(10_000, Ordering::SeqCst);
            }
            writer.finish(None).unwrap();
        }
    };
    let ours = Options { most_window: 1 << 20, ..raw() };
    let scene = with_options(ours, Options { max_unread: 50_000, ..raw() }, serve);
    let calls: Vec<_> = (0..100).map(|_| scene.call("", b"")).collect();
    tokio::time::sleep(3 * S).await;
    assert_eq!(begun.load(Ordering::SeqCst), 100);
    // 1 MiB is under way; 1.6 MB wait, and a piece of each that has credit.
    let most = (1 << 20) + 1_600_000 + 100 * 10_000;
    assert!(pushed.load(Ordering::SeqCst) <= most, "{} bytes of {most}", pushed.load(Ordering::SeqCst));
    let read = |call: ReplyFuture| async move { all(&mut call.await.unwrap().body).await.unwrap().len() };
    for read in calls.into_iter().map(|call| tokio::spawn(read(call))).collect::<Vec<_>>() {
        assert_eq!(read.await.unwrap(), 200_000);
    }
    scene.drained().await;
}

/// Answers with a body of as many bytes as the head says, in pieces of 400,000.
async fn in_large_pieces(mut call: Incoming) {
    let mut left: usize = String::from_utf8_lossy(&call.head).parse().unwrap();
    let Ok(Some(mut writer)) = call.responder.reply(text(""), SendBody::Pieces) else { return };
    while left > 0 {
        let piece = left.min(400_000);
        if writer.write(vec![7; piece].into()).await.is_err() {
            return;
        }
        left -= piece;
    }
    writer.finish(None).unwrap();
}

#[tokio::test(start_paused = true)]
async fn bodies_that_begin_come_through_while_long_ones_fill_the_connection_with_what_nobody_reads() {
    let ours = Options { most_window: 4 << 20, ..raw() };
    let settings = Settings { stream_credit: 1 << 19, ..ours.settings.clone() };
    let scene = with_options(Options { settings, ..ours }, raw(), in_large_pieces);
    let mut unread = Vec::new();
    for _ in 0..9 {
        unread.push(scene.call("5000000", b"").await.unwrap());
    }
    let start = tokio::time::Instant::now();
    for _ in 0..100 {
        for length in ["10", "20000", "60000"] {
            let mut reply = scene.call(length, b"").await.unwrap();
            assert_eq!(all(&mut reply.body).await.unwrap().len(), length.parse::<usize>().unwrap());
        }
    }
    assert!(start.elapsed() < S, "{:?}", start.elapsed());
    // A long one waits until those are broken off.
    let mut long = scene.call("5000000", b"").await.unwrap();
    assert_eq!(all(&mut long.body).await.unwrap().len(), 5_000_000);
    assert!(start.elapsed() > 3 * S && start.elapsed() < 12 * S, "{:?}", start.elapsed());
    let mut told = 0;
    for mut reply in unread {
        told += usize::from(all(&mut reply.body).await.is_err());
    }
    assert!(told > 4, "{told} of 9 were broken off");
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn small_calls_go_on_while_many_bodies_fill_the_way_to_their_readers() {
    let scene = with_options(raw(), raw(), in_large_pieces);
    // 10 MB/s.
    let down = scene.down.clone();
    down.choke();
    tokio::spawn(async move {
        loop {
            down.allow(10_000);
            tokio::time::sleep(S / 1000).await;
        }
    });
    let mut long = JoinSet::new();
    for _ in 0..60 {
        let reply = scene.call("5000000", b"");
        long.spawn(async move { all(&mut reply.await.unwrap().body).await.unwrap().len() });
    }
    tokio::time::sleep(S).await;
    for _ in 0..20 {
        let start = tokio::time::Instant::now();
        let mut reply = scene.call("10", b"").await.unwrap();
        assert_eq!(all(&mut reply.body).await.unwrap().len(), 10);
        assert!(start.elapsed() < S / 5, "{:?}", start.elapsed());
    }
    assert_eq!(long.len(), 60, "all of them run");
    assert_eq!(long.join_next().await.unwrap().unwrap(), 5_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_reader_gets_its_body_though_others_have_filled_what_may_wait() {
    let scene = with_options(raw(), Options { max_unread: 20_000, ..raw() }, |mut call: Incoming| async move {
        let Ok(Some(mut writer)) = call.responder.reply(text(""), SendBody::Pieces) else { return };
        for _ in 0..100 {
            // So that the credit of a stream is used up by a whole piece.
            if writer.write(vec![7; 8192].into()).await.is_err() {
                return;
            }
        }
        writer.finish(None).unwrap();
    });
    let mut lagging = Vec::new();
    for _ in 0..10 {
        lagging.push(scene.call("", b"").await.unwrap());
    }
    let mut quick = scene.call("", b"").await.unwrap();
    let start = tokio::time::Instant::now();
    assert_eq!(all(&mut quick.body).await.unwrap().len(), 819_200);
    assert!(start.elapsed() < S, "{:?}", start.elapsed());
    for reply in &mut lagging {
        assert_eq!(all(&mut reply.body).await.unwrap().len(), 819_200);
    }
    drop((lagging, quick));
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn two_full_pipes_do_not_wait_for_each_other_whatever_is_large() {
    let small = Options { max_unread: 3000, ..raw() };
    let credit = Settings { connection_credit: 20_000, stream_credit: 5000, ..small.settings.clone() };
    for settings in [small.settings.clone(), credit] {
        let options = Options { settings, most_window: 40_000, ..small.clone() };
        let scene = with_options(options.clone(), options, echo);
        scene.up.set_capacity(1000);
        scene.down.set_capacity(1000);
        let calls = (0..60).map(|n| {
            let length = [10, 15_000, 100_000][n % 3];
            let call = scene.call(if n % 2 == 0 { "whole" } else { "pieces" }, &vec![7; length]);
            tokio::spawn(async move {
                let mut reply = match call.await {
                    Ok(reply) => reply,
                    Err(error) => return assert!(error.may_retry(), "{error}"),
                };
                assert_eq!(all(&mut reply.body).await.unwrap().len(), length);
            })
        });
        for call in calls.collect::<Vec<_>>() {
            tokio::time::timeout(60 * S, call).await.expect("nothing hangs").unwrap();
        }
        scene.drained().await;
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_readers_are_refused_past_their_bound() {
    let (serve, _) = sized();
    let scene = with_options(raw(), Options { max_unread: 10_000, ..raw() }, serve);
    let mut large = scene.call("3000000", b"").await.unwrap();
    tokio::time::sleep(S).await;
    let head = format!("{:0>100}", 1);
    let calls: Vec<_> = (0..30).map(|_| scene.call(&head, &[7; 9900])).collect();
    tokio::time::sleep(S).await;
    assert_eq!(all(&mut large.body).await.unwrap().len(), 3_000_000);
    let (mut served, mut refused) = (0, 0);
    for call in calls {
        match call.await {
            Ok(_) => served += 1,
            Err(error) => {
                assert!(error.may_retry(), "{error}");
                refused += 1;
            }
        }
    }
    assert_eq!((served, refused), (16, 14));
    drop(large);
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_are_not_refused_where_reading_can_wait() {
    let (serve, served) = sized();
    let scene = with_options(raw(), Options { max_unread: 10_000, ..raw() }, serve);
    tokio::time::sleep(S).await;
    scene.down.choke();
    let head = format!("{:0>100}", 40_000);
    let calls: Vec<_> = (0..20).map(|_| scene.call(&head, &[7; 9900])).collect();
    tokio::time::sleep(S).await;
    assert!(served.load(Ordering::SeqCst) < 6);
    scene.down.allow_all();
    for call in calls {
        let mut reply = call.await.expect("it waited in the pipe");
        assert_eq!(all(&mut reply.body).await.unwrap().len(), 40_000);
    }
    scene.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_refusals_is_not_read_either() {
    let (serve, ..) = endless();
    let (mut near, far) = duplex();
    let (up, down) = (near.outgoing(), near.incoming());
    let options = Options { max_unread: 1000, dispatch: Dispatch::Pipeline, ..raw() };
    let settings = options.settings.clone();
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, serve);
    tokio::spawn(server);
    down.choke();
    up.set_capacity(10_000_000);
    let (mut frames, mut wire) = (Vec::new(), Vec::new());
    let head = |_: &mut Vec<u8>| -> Result<(), TooLong> { Ok(()) };
    frame::put_call(&mut frames, 0, false, 9, head, &[7; 100], true).unwrap();
    RecordEncoder::new(RecordCodec::None, 22).encode_raw(&frames, &mut wire);
    near.write_all(&wire.repeat(10_000)).await.unwrap();
    tokio::time::sleep(S).await;
    assert!(up.unread() > 500_000, "{} bytes lie in the pipe", up.unread());
}
