//! Limits in time other than a call's own: dialling, the opening exchange, silence, idleness, on both sides.

use std::time::Duration;

use fastrpc::codec::tlv::{Reply, Request};
use fastrpc::{Call, Compression, Dispatch, ErrorKind};
use testkit::raw::RawPeer;
use tokio::time::{Instant, advance, sleep};

use crate::support::*;

/// Checks that `limit` has passed since `start`, and no more than 10 ms on top.
fn exactly(start: Instant, limit: Duration) {
    let took = start.elapsed();
    assert!(took >= limit && took <= limit + ms(10), "took {took:?} instead of {limit:?}");
}

#[tokio::test(start_paused = true)]
async fn dialling_takes_no_longer_than_allowed() {
    let dial = || std::future::pending::<std::io::Result<testkit::pipe::End>>();
    let client = client().dial_timeout(ms(1500)).connect_with("nowhere", dial).unwrap();
    let start = Instant::now();
    let error = client.call(ask("x")).await.unwrap_err();
    exactly(start, ms(1500));
    assert_eq!((error.kind(), error.may_retry(), error.is_remote()), (ErrorKind::Connect, true, true));
    assert!(client.is_failing());
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_three_seconds_for_the_opening_exchange() {
    for byte_by_byte in [false, true] {
        let (net, mut ends) = net();
        let client = net.client(client());
        let start = Instant::now();
        let mut call = client.call(ask("x"));
        let mut peer = RawPeer::new(meanwhile(&mut call, ends.next()).await);
        if byte_by_byte {
            tokio::spawn(async move {
                for byte in hello(Compression::None).bytes() {
                    peer.send(&[byte]).await;
                    sleep(ms(400)).await;
                }
            });
        }
        let error = call.await.unwrap_err();
        exactly(start, secs(3));
        assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Handshake, true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_waits_three_seconds_for_the_opening_exchange() {
    for byte_by_byte in [false, true] {
        let (here, there) = testkit::pipe::duplex();
        let server = server().build().unwrap();
        let start = Instant::now();
        let stats = server.clone();
        let serving =
            tokio::spawn(async move { server.serve_connection(there, None, std::sync::Arc::new(echo)).await });
        let way = here.outgoing();
        let mut peer = RawPeer::new(here);
        if byte_by_byte {
            for byte in hello(Compression::None).bytes() {
                if way.written() < 8 {
                    peer.send(&[byte]).await;
                    sleep(ms(370)).await;
                }
            }
        }
        assert_eq!(serving.await.unwrap().unwrap_err().kind(), ErrorKind::Handshake);
        exactly(start, secs(3));
        assert!(peer.read_to_end().await.is_empty(), "nothing is said to whom has not introduced itself");
        assert_eq!(stats.stats().connect_errors, 1);
    }
}

/// A slow peer that makes it in time is served; the pieces do not matter.
#[tokio::test(start_paused = true)]
async fn a_slow_opening_exchange_succeeds_in_time() {
    let (net, ends) = net();
    let (_server, _serving) = serve(server(), ends, echo);
    let mut peer = RawPeer::new(net.dial());
    let said = hello(Compression::None);
    for byte in said.bytes() {
        peer.send(&[byte]).await;
        sleep(ms(200)).await;
    }
    let heard = peer.hear_hello(b"fastrpc").await;
    peer.begin(&said, &heard);
    peer.ask(1, "slow").await;
    assert_eq!(peer.answer().await, (1, "slow".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_client_gives_up_a_peer_that_owes_replies_and_is_silent() {
    let (net, mut ends) = net();
    let client = net.client(client().read_timeout(secs(7)));
    let mut first = client.call(ask("first"));
    let mut peer = meanwhile(&mut first, ends.peer()).await;
    let id = meanwhile(&mut first, peer.request()).await.id;
    peer.reply(id, "done").await;
    first.await.unwrap();
    advance(secs(50)).await; // Nothing is owed: silence is fine.

    let start = Instant::now();
    let mut second = client.call(ask("second"));
    let id = meanwhile(&mut second, peer.request()).await.id;
    meanwhile(&mut second, sleep(secs(5))).await;
    let whole = reply_bytes(id, b"never whole");
    peer.say(&whole[..5]).await; // A sign of life.
    let error = second.await.unwrap_err();
    exactly(start, secs(5 + 7));
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, false));
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_gives_up_a_peer_that_does_not_read() {
    let (net, mut ends) = net();
    let client = net.client(client().write_timeout(secs(4)));
    let mut call = client.call(ask("warm"));
    let end = meanwhile(&mut call, ends.peer()).await.into_inner();
    settle().await;
    let way = end.incoming();
    way.choke();
    let mut stuck = client.call(Request::new("stuck", vec![0; 1000]));
    meanwhile(&mut stuck, way.writer_blocked()).await;
    // Any progress starts the limit anew.
    for _ in 0..3 {
        meanwhile(&mut stuck, sleep(secs(3))).await;
        way.allow(1);
        settle().await;
    }
    let start = Instant::now();
    let error = stuck.await.unwrap_err();
    exactly(start, secs(4));
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, false));
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_connection_ends_and_comes_back() {
    let (net, ends) = net();
    let (server, _serving) = serve(server(), ends, echo);
    let client = net.client(client().idle_timeout(secs(10)));
    client.call(ask("x")).await.unwrap();
    for _ in 0..3 {
        sleep(secs(9)).await;
        client.call(ask("x")).await.unwrap();
    }
    assert_eq!(client.stats().connections, 1);
    sleep(secs(11)).await;
    client.call(ask("x")).await.unwrap();
    assert_eq!((client.stats().connections, client.stats().reconnects, client.stats().connection_errors), (2, 1, 0));
    assert_eq!(server.stats().connection_errors, 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_connection_with_a_call_pending_is_not_idle() {
    let (net, ends) = net();
    let (_server, _serving) = serve(server().idle_timeout(secs(10)), ends, async |call: Call<Request>| {
        sleep(secs(100)).await;
        Reply::new(call.into_request().name)
    });
    let client = net.client(client().idle_timeout(secs(10)).timeout(secs(1000)));
    assert_eq!(client.call(ask("slow")).await.unwrap().value, "slow");
    assert_eq!(client.call(ask("again")).await.unwrap().value, "again");
    assert_eq!(client.stats().connections, 1);
}

/// Sends that wait for a slow peer are no idleness either, and the wait for it is no busy loop.
#[tokio::test(start_paused = true)]
async fn a_client_connection_with_sends_waiting_is_not_idle() {
    let (net, mut ends) = net();
    let client = net.client(client().idle_timeout(secs(1)).write_timeout(secs(60)));
    client.send(&ask("first")).unwrap();
    let end = ends.next().await;
    let way = end.incoming();
    let mut peer = RawPeer::new(end);
    peer.hear_hello(b"fastrpc").await;
    way.choke();
    peer.send(&hello(Compression::None).bytes()).await;
    way.writer_blocked().await;
    client.send(&ask("second")).unwrap();
    sleep(secs(30)).await;
    way.allow_all();
    settle().await;
    assert_eq!(peer.request().await.message.name, b"first");
    assert_eq!(peer.request().await.message.name, b"second");
    peer.expect_end().await; // Idle at last.
}

/// Nor is a batch that forms.
#[tokio::test(start_paused = true)]
async fn a_client_connection_with_a_batch_forming_is_not_idle() {
    let (net, mut ends) = net();
    let client = net.client(client().idle_timeout(secs(1)).batch_delay(secs(3)));
    client.send(&ask("first")).unwrap();
    let mut peer = ends.peer().await;
    let start = Instant::now();
    assert_eq!(peer.request().await.message.name, b"first");
    exactly(start, secs(3));
    peer.expect_end().await;
    exactly(start, secs(3 + 1));
}

#[tokio::test(start_paused = true)]
async fn a_server_ends_idle_connections() {
    let (mut peer, _, _, serving) = served(server().idle_timeout(secs(10)), echo).await;
    for id in 1..4 {
        peer.ask(id, "x").await;
        peer.answer().await;
        sleep(secs(9)).await;
    }
    peer.expect_end().await;
    drop(peer);
    serving.await.unwrap().unwrap();
}

/// Idleness counts from the end of the last handler, also of one whose reply nobody wants.
#[tokio::test(start_paused = true)]
async fn a_server_connection_is_not_idle_while_a_handler_runs() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn, Dispatch::Pipeline] {
        for id in [0, 1] {
            let settings = server().idle_timeout(secs(10)).dispatch(dispatch);
            let (mut peer, _, to_client, serving) = served(settings, async |_: Call<Request>| {
                sleep(secs(100)).await;
                Reply::new("")
            })
            .await;
            let start = Instant::now();
            peer.ask(id, "slow").await;
            to_client.ended().await;
            exactly(start, secs(100 + 10));
            drop(peer);
            serving.await.unwrap().unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_gives_up_a_peer_that_stops_in_a_request() {
    let settings = server().read_timeout(secs(7)).idle_timeout(secs(100));
    let (mut peer, _, _, serving) = served(settings, echo).await;
    sleep(secs(50)).await; // Between requests it is idle, not silent.
    let start = Instant::now();
    peer.say(&request_bytes(1, "never whole", b"")[..9]).await;
    assert_eq!(serving.await.unwrap().unwrap_err().kind(), ErrorKind::Connection);
    exactly(start, secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_server_gives_up_a_peer_that_does_not_read() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn, Dispatch::Pipeline] {
        let (mut peer, _, to_client, serving) = served(server().write_timeout(secs(4)).dispatch(dispatch), echo).await;
        to_client.choke();
        let start = Instant::now();
        peer.ask(1, "unread").await;
        assert_eq!(serving.await.unwrap().unwrap_err().kind(), ErrorKind::Connection);
        exactly(start, secs(4));
    }
}
