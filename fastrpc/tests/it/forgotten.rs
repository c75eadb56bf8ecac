//! Law 4: a dropped call is forgotten, and a late reply reaches nobody.

use fastrpc::codec::tlv::Request;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_late_reply_reaches_nobody_also_after_the_slot_was_taken_again() {
    let (net, mut ends) = net();
    let client = net.client(client());
    let mut dropped = client.call(ask("dropped"));
    let mut peer = meanwhile(&mut dropped, ends.peer()).await;
    let old = meanwhile(&mut dropped, peer.request()).await.id;
    drop(dropped);
    assert_eq!(client.pending(), 0);

    let mut second = client.call(ask("second"));
    let id = meanwhile(&mut second, peer.request()).await.id;
    assert_ne!(id, old);
    peer.reply(old, "late").await;
    settle().await;
    assert!(poll_once(&mut second).is_pending());
    assert_eq!(client.stats().late_replies, 1);

    // The first slot is free again. Whatever id the next call gets, the old one is not it.
    let mut third = client.call(ask("third"));
    let third_id = meanwhile(&mut third, peer.request()).await.id;
    assert!(third_id != old && third_id != id);
    peer.reply(old, "twice").await;
    peer.reply(id, "second").await;
    peer.reply(third_id, "third").await;
    assert_eq!(second.await.unwrap().value, "second");
    assert_eq!(third.await.unwrap().value, "third");
    assert_eq!(client.stats().late_replies, 2);
}

#[tokio::test(start_paused = true)]
async fn replies_twice_unknown_and_with_id_zero_reach_nobody() {
    let (net, mut ends) = net();
    let client = net.client(client());
    let mut call = client.call(ask("call"));
    let mut peer = meanwhile(&mut call, ends.peer()).await;
    let id = meanwhile(&mut call, peer.request()).await.id;
    for unknown in [0, 1, id - 1, id + 1, id ^ (1 << 31), u32::MAX] {
        peer.reply(unknown, "unknown").await;
    }
    settle().await;
    assert!(poll_once(&mut call).is_pending());
    peer.reply(id, "first").await;
    peer.reply(id, "second").await;
    assert_eq!(call.await.unwrap().value, "first");
    settle().await;
    assert_eq!((client.stats().late_replies, client.pending()), (7, 0));
    let mut next = client.call(ask("next"));
    let next_id = meanwhile(&mut next, peer.request()).await.id;
    peer.reply(id, "third").await;
    peer.reply(next_id, "next").await;
    assert_eq!(next.await.unwrap().value, "next");
}

/// Ids can be guessed. A reply to a call that was not sent must not end it, or what waits for its place goes wrong.
#[tokio::test(start_paused = true)]
async fn a_reply_before_its_request_reaches_nobody() {
    let (net, mut ends) = net();
    let client = net.client(client().max_pending(2).at_limit(fastrpc::AtLimit::DropOldest).batch_delay(ms(100)));
    let mut warm = client.call(ask("warm"));
    let mut peer = meanwhile(&mut warm, ends.peer()).await;
    let id = meanwhile(&mut warm, peer.request()).await.id;
    let mut unsent = client.call(ask("unsent"));
    assert!(poll_once(&mut unsent).is_pending());
    for guess in 0..8 {
        peer.reply(id + guess, "warm").await;
    }
    settle().await;
    assert_eq!(warm.await.unwrap().value, "warm");
    assert!(poll_once(&mut unsent).is_pending(), "nobody can have answered it");
    let mut a = client.call(ask("a"));
    let mut b = client.call(ask("b"));
    assert!(poll_once(&mut a).is_pending() && poll_once(&mut b).is_pending());
    assert!(unsent.await.unwrap_err().is_overload());
    assert_eq!(client.pending(), 2);
    for call in [&mut a, &mut b] {
        let id = meanwhile(call, peer.request()).await.id;
        peer.reply(id, "done").await;
    }
    assert_eq!((a.await.unwrap().value, b.await.unwrap().value), ("done".into(), "done".into()));
    assert_eq!(client.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_unsent_dropped_call_is_never_sent() {
    let (net, mut ends) = net();
    let client = net.client(client().batch_delay(ms(10)));
    let mut a = client.call(ask("a"));
    let mut dropped = client.call(ask("dropped"));
    let mut b = client.call(ask("b"));
    let mut peer = meanwhile(&mut a, ends.peer()).await;
    assert!(poll_once(&mut dropped).is_pending() && poll_once(&mut b).is_pending());
    drop(dropped);
    assert_eq!(meanwhile(&mut a, peer.request()).await.message.name, b"a");
    assert_eq!(meanwhile(&mut a, peer.request()).await.message.name, b"b");
    drop((a, b));
    client.close();
    peer.expect_end().await;
}

/// While nothing can be sent, dropped calls must not use up the room of those to come.
#[tokio::test(start_paused = true)]
async fn unsent_dropped_calls_leave_no_bytes_behind() {
    let (net, ends) = net();
    let client = net.client(client().max_unsent(10_000).handshake_timeout(secs(60)));
    for _ in 0..100 {
        let mut call = client.call(Request::new("dropped", vec![0; 1000]));
        assert!(poll_once(&mut call).is_pending());
    }
    let mut call = client.call(ask("kept"));
    assert!(poll_once(&mut call).is_pending());
    let (_server, _serving) = serve(server(), ends, echo);
    assert_eq!(call.await.unwrap().value, "kept");
    assert_eq!(client.stats().bytes_out, request_bytes(1, "kept", b"").len() as u64);
}

/// A peer that owes too many replies is left: a new connection takes the new calls, the old one finishes.
#[tokio::test(start_paused = true)]
async fn a_connection_with_too_many_abandoned_calls_is_replaced() {
    let (net, mut ends) = net();
    let client = net.client(client().max_abandoned(3));
    let mut kept = client.call(ask("kept"));
    let mut old = meanwhile(&mut kept, ends.peer()).await;
    let kept_id = meanwhile(&mut kept, old.request()).await.id;
    for n in 0..4 {
        assert!(ends.is_empty(), "{n} abandoned calls are no reason yet");
        let mut call = client.call(ask("abandoned"));
        meanwhile(&mut call, old.request()).await;
        drop(call);
    }
    let mut fresh = client.call(ask("fresh"));
    let mut new = meanwhile(&mut fresh, ends.peer()).await;
    let id = meanwhile(&mut fresh, new.request()).await.id;
    new.reply(id, "fresh").await;
    assert_eq!(fresh.await.unwrap().value, "fresh");
    assert!(poll_once(&mut kept).is_pending());
    old.reply(kept_id, "kept").await;
    assert_eq!(kept.await.unwrap().value, "kept");
    old.expect_end().await;
    assert_eq!(client.pending(), 0);
}

/// The same when the calls expire instead of being dropped, and nothing else keeps the connection.
#[tokio::test(start_paused = true)]
async fn a_connection_whose_calls_all_expired_ends_by_itself() {
    let (net, mut ends) = net();
    let client = net.client(client().max_abandoned(1));
    let mut calls: Vec<_> = (0..2).map(|_| client.call(ask("late")).timeout(ms(100))).collect();
    let mut peer = meanwhile(&mut calls[0], ends.peer()).await;
    for call in &mut calls {
        meanwhile(call, peer.request()).await;
    }
    for call in calls {
        assert!(call.await.unwrap_err().is_timeout());
    }
    tokio::time::timeout(secs(1), peer.expect_end()).await.expect("the connection ends at once, not when it is idle");
}

/// Closing reaches connections that were replaced and still finish.
#[tokio::test(start_paused = true)]
async fn close_and_drain_reach_a_replaced_connection() {
    for drain in [false, true] {
        let (net, mut ends) = net();
        let client = net.client(client().max_abandoned(1));
        let mut kept = client.call(ask("kept"));
        let mut old = meanwhile(&mut kept, ends.peer()).await;
        let id = meanwhile(&mut kept, old.request()).await.id;
        for _ in 0..2 {
            let mut call = client.call(ask("abandoned"));
            meanwhile(&mut call, old.request()).await;
        }
        let mut fresh = client.call(ask("fresh"));
        let mut new = meanwhile(&mut fresh, ends.peer()).await;
        let fresh_id = meanwhile(&mut fresh, new.request()).await.id;
        new.reply(fresh_id, "fresh").await;
        fresh.await.unwrap();
        if drain {
            let mut draining = Box::pin(client.drain());
            assert!(poll_once(&mut draining).is_pending());
            settle().await;
            assert!(poll_once(&mut draining).is_pending(), "a call is still pending");
            old.reply(id, "kept").await;
            assert_eq!(kept.await.unwrap().value, "kept");
            tokio::time::timeout(secs(1), draining).await.expect("drained");
        } else {
            client.close();
            let error = tokio::time::timeout(secs(1), kept).await.expect("closed at once").unwrap_err();
            assert!(error.is_closed());
        }
    }
}
