//! Law 7: a limit of N admits N, and every permit comes back, however a call ends.

use fastrpc::codec::tlv::{Request, Tlv};
use fastrpc::{AtLimit, Client, ErrorKind, PendingCall};

use crate::support::*;

const N: usize = 5;

/// Makes N calls that are pending.
fn fill(client: &Client<Tlv>) -> Vec<PendingCall<'_, Tlv>> {
    let mut calls: Vec<_> = (0..N).map(|n| client.call(ask(&format!("call {n}")))).collect();
    for call in &mut calls {
        assert!(poll_once(call).is_pending());
    }
    assert_eq!(client.pending(), N);
    calls
}

/// Checks that exactly N calls are admitted now.
async fn admits_n(client: &Client<Tlv>) {
    assert_eq!(client.pending(), 0);
    let calls = fill(client);
    let error = client.call(ask("one too many")).await.unwrap_err();
    assert!(error.is_overload() && error.may_retry() && !error.is_remote());
    drop(calls);
    assert_eq!(client.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn n_calls_are_admitted_over_a_whole_pool() {
    for connections in [1, 3] {
        let (net, _ends) = net();
        let client = net.client(client().max_pending(N).connections(connections));
        for _ in 0..3 {
            admits_n(&client).await;
        }
        assert_eq!(client.stats().overloads, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn fire_and_forget_counts_until_it_is_written() {
    let (net, mut ends) = net();
    let client = net.client(client().max_pending(N).handshake_timeout(secs(60)));
    for _ in 0..N {
        client.send(&ask("sent")).unwrap();
    }
    assert_eq!(client.pending(), N);
    assert!(client.send(&ask("one too many")).unwrap_err().is_overload());
    let end = ends.next().await;
    end.incoming().allow(10); // The hello is in the pipe.
    let mut peer = testkit::raw::RawPeer::new(end);
    peer.hear_hello(b"fastrpc").await;
    peer.send(&hello(fastrpc::Compression::None).bytes()).await;
    settle().await;
    assert_eq!(client.pending(), N, "what is stuck on its way still counts");
    let end = peer.into_inner();
    end.incoming().allow_all();
    settle().await;
    admits_n(&client).await;
    assert_eq!(end.incoming().unread(), N * request_bytes(0, "sent", b"").len());
}

#[tokio::test(start_paused = true)]
async fn waiting_is_fair_and_a_cancelled_waiter_does_not_lose_the_turn() {
    let (net, mut ends) = net();
    let client = net.client(client().max_pending(1).at_limit(AtLimit::Wait));
    let mut first = client.call(ask("first"));
    let mut peer = meanwhile(&mut first, ends.peer()).await;
    let id = meanwhile(&mut first, peer.request()).await.id;
    let mut cancelled = client.call(ask("cancelled"));
    let mut second = client.call(ask("second"));
    let mut third = client.call(ask("third"));
    for call in [&mut cancelled, &mut second, &mut third] {
        assert!(poll_once(call).is_pending());
    }
    assert_eq!(client.pending(), 1);
    peer.reply(id, "done").await;
    first.await.unwrap();
    // The turn has been given to the one that goes away now; it must reach the next.
    drop(cancelled);
    let mut barging = client.call(ask("barging"));
    assert!(poll_once(&mut barging).is_pending());
    for (call, name) in [(second, "second"), (third, "third"), (barging, "barging")] {
        let mut call = call;
        let frame = meanwhile(&mut call, peer.request()).await;
        assert_eq!(frame.message.name, name.as_bytes());
        peer.reply(frame.id, name).await;
        assert_eq!(call.await.unwrap().value, name);
    }
    assert_eq!(client.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_newer_call_takes_the_place_of_the_oldest_unsent_one() {
    let (net, mut ends) = net();
    let client = net.client(client().max_pending(N).at_limit(AtLimit::DropOldest).batch_delay(ms(50)));
    let mut calls = fill(&client);
    let mut newer = client.call(ask("newer"));
    assert!(poll_once(&mut newer).is_pending());
    let error = calls.remove(0).await.unwrap_err();
    assert!(error.is_overload() && error.may_retry());
    assert_eq!(client.pending(), N);

    let mut peer = meanwhile(&mut newer, ends.peer()).await;
    let mut names = Vec::new();
    for _ in 0..N {
        names.push(String::from_utf8(meanwhile(&mut newer, peer.request()).await.message.name).unwrap());
    }
    assert_eq!(names, ["call 1", "call 2", "call 3", "call 4", "newer"]);
    // All are sent: there is none to take the place of.
    assert!(client.call(ask("newest")).await.unwrap_err().is_overload());
    drop((calls, newer));
    assert_eq!(client.pending(), 0);
    fill(&client);
}

#[tokio::test(start_paused = true)]
async fn unsent_bytes_are_limited() {
    let (net, mut ends) = net();
    let limit = 10_000;
    let client = net.client(client().max_unsent(limit));
    let mut warm = client.call(ask("warm"));
    let peer = meanwhile(&mut warm, ends.peer()).await;
    let end = peer.into_inner();
    end.incoming().choke();
    let mut calls = Vec::new();
    let error = loop {
        let mut call = client.call(Request::new("x", vec![0; 100]));
        match poll_once(&mut call) {
            std::task::Poll::Pending => calls.push(call),
            std::task::Poll::Ready(result) => break result.unwrap_err(),
        }
        settle().await; // The driver takes what it can into a batch of its own; that waits for the peer as well.
    };
    assert!(error.is_overload());
    let held = calls.len() * request_bytes(1, "x", &[0; 100]).len();
    assert!(held <= limit + 200 && held > limit - 200, "{held} bytes are held at a limit of {limit}");
    assert!(client.send(&ask("x")).unwrap_err().is_overload());
    end.incoming().allow_all();
    settle().await;
    assert!(poll_once(&mut client.call(ask("room again"))).is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_bytes_to_leave() {
    let (net, mut ends) = net();
    let client = net.client(client().max_unsent(1000).at_limit(AtLimit::Wait).handshake_timeout(secs(60)));
    let mut large = client.call(Request::new("large", vec![0; 5000]));
    let mut next = client.call(ask("next"));
    assert!(poll_once(&mut large).is_pending() && poll_once(&mut next).is_pending());
    let error = client.call(ask("late")).timeout(ms(100)).await.unwrap_err();
    assert!(error.is_timeout() && error.may_retry());
    let mut peer = meanwhile(&mut next, ends.peer()).await;
    meanwhile(&mut next, peer.request()).await;
    assert_eq!(meanwhile(&mut next, peer.request()).await.message.name, b"next");
    drop((large, next));
    assert_eq!(client.pending(), 0);
}

/// Every way in which a call can end gives its permit back, and gives it back once.
#[tokio::test(start_paused = true)]
async fn permits_come_back() {
    let (net, mut ends) = net();
    let client = net.client(client().max_pending(N).backoff(ms(1), ms(1)));
    let mut warm = client.call(ask("warm"));
    let mut peer = meanwhile(&mut warm, ends.peer()).await;
    let id = meanwhile(&mut warm, peer.request()).await.id;
    peer.reply(id, "done").await;
    warm.await.unwrap();
    admits_n(&client).await;
    settle().await;

    // By a failed encode.
    let huge = Request::new(vec![0; 2 << 20], "");
    assert_eq!(client.call(huge.clone()).await.unwrap_err().kind(), ErrorKind::Encode);
    assert_eq!(client.send(&huge).unwrap_err().kind(), ErrorKind::Encode);
    admits_n(&client).await;

    // By the deadline, seen and unseen.
    let mut unseen = client.call(ask("unseen")).timeout(ms(5));
    assert!(poll_once(&mut unseen).is_pending());
    client.call(ask("seen")).timeout(ms(10)).await.unwrap_err();
    admits_n(&client).await;
    drop(unseen);
    admits_n(&client).await;

    // By the end of the connection.
    let mut lost = client.call(ask("lost"));
    while meanwhile(&mut lost, peer.request()).await.message.name != b"lost" {}
    drop(peer);
    assert_eq!(lost.await.unwrap_err().kind(), ErrorKind::Connection);
    admits_n(&client).await;

    // With sends that were lost, too.
    client.send(&ask("sent")).unwrap();
    drop(ends.next().await);
    settle().await;
    admits_n(&client).await;

    // By close.
    let calls = fill(&client);
    client.close();
    for call in calls {
        assert!(call.await.unwrap_err().is_closed());
    }
    assert_eq!(client.pending(), 0);
}
