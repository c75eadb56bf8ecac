//! Law 3: every call has a deadline, exact to 10 ms, in whatever state it is.

use std::time::Duration;

use fastrpc::{AtLimit, Client, ErrorKind};
use testkit::raw::RawPeer;
use tokio::time::{Instant, advance};

use crate::support::*;

const LIMIT: Duration = ms(1234);

/// Makes a call with a deadline of [`LIMIT`] and checks that it ends right then.
async fn expires(client: &Client<fastrpc::codec::tlv::Tlv>) -> fastrpc::Error {
    let start = Instant::now();
    let error = client.call(ask("late")).timeout(LIMIT).await.unwrap_err();
    let took = start.elapsed();
    assert!(took >= LIMIT && took <= LIMIT + ms(10), "took {took:?}");
    assert!(error.is_timeout(), "{error:?}");
    error
}

#[tokio::test(start_paused = true)]
async fn without_a_reply() {
    let (net, mut ends) = net();
    let client = net.client(client());
    tokio::spawn(async move {
        let mut peer = ends.peer().await;
        peer.request().await;
        std::future::pending::<()>().await;
    });
    assert!(!expires(&client).await.may_retry(), "it was sent");
}

#[tokio::test(start_paused = true)]
async fn after_half_a_reply() {
    let (net, mut ends) = net();
    let client = net.client(client());
    tokio::spawn(async move {
        let mut peer = ends.peer().await;
        let whole = reply_bytes(peer.request().await.id, b"never whole");
        for piece in whole[..whole.len() - 1].chunks(3) {
            peer.say(piece).await;
            tokio::time::sleep(ms(200)).await;
        }
        std::future::pending::<()>().await;
    });
    expires(&client).await;
}

#[tokio::test(start_paused = true)]
async fn while_dialling() {
    let dial = || std::future::pending::<std::io::Result<testkit::pipe::End>>();
    let client = client().connect_with("nowhere", dial).unwrap();
    assert!(expires(&client).await.may_retry());
}

#[tokio::test(start_paused = true)]
async fn while_the_next_dial_waits() {
    let dial = || async { Err::<testkit::pipe::End, _>(std::io::ErrorKind::ConnectionRefused.into()) };
    let client = client().backoff(secs(60), secs(60)).connect_with("nowhere", dial).unwrap();
    assert_eq!(client.call(ask("first")).await.unwrap_err().kind(), ErrorKind::Connect);
    assert!(expires(&client).await.may_retry());
}

#[tokio::test(start_paused = true)]
async fn in_the_opening_exchange() {
    let (net, ends) = net();
    let client = net.client(client());
    assert!(expires(&client).await.may_retry());
    drop(ends);
}

#[tokio::test(start_paused = true)]
async fn in_the_queue_at_a_limit() {
    let (net, _ends) = net();
    let client = net.client(client().max_pending(1).at_limit(AtLimit::Wait));
    let mut first = client.call(ask("first")).timeout(secs(2));
    assert!(poll_once(&mut first).is_pending());
    let start = Instant::now();
    let error = client.call(ask("late")).timeout(LIMIT).await.unwrap_err();
    assert!(error.is_timeout() && error.may_retry());
    assert!(start.elapsed() >= LIMIT && start.elapsed() <= LIMIT + ms(10));
    assert_eq!(client.stats().timeouts, 1);
    assert_eq!(client.pending(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_writes_are_choked() {
    let (net, mut ends) = net();
    let client = net.client(client());
    let mut warm = client.call(ask("warm"));
    let mut peer = meanwhile(&mut warm, ends.peer()).await;
    let id = meanwhile(&mut warm, peer.request()).await.id;
    let end = peer.into_inner();
    end.incoming().choke();
    let mut stuck = client.call(ask("stuck")).timeout(LIMIT);
    assert!(poll_once(&mut stuck).is_pending());
    end.incoming().writer_blocked().await;
    let error = expires(&client).await;
    assert!(error.may_retry(), "it never left: {error:?}");
    assert!(stuck.await.unwrap_err().is_timeout());
    let mut peer = RawPeer::new(end);
    peer.reply(id, "warm").await;
    assert_eq!(warm.await.unwrap().value, "warm");
}

#[tokio::test(start_paused = true)]
async fn the_default_applies() {
    let (net, _ends) = net();
    let client = net.client(client().timeout(ms(777)).handshake_timeout(secs(60)));
    let start = Instant::now();
    assert!(client.call(ask("late")).await.unwrap_err().is_timeout());
    assert!(start.elapsed() >= ms(777) && start.elapsed() <= ms(787));
}

#[tokio::test(start_paused = true)]
async fn counts_from_the_first_poll() {
    let (net, _ends) = net();
    let client = net.client(client().handshake_timeout(secs(60)));
    let call = client.call(ask("late")).timeout(LIMIT);
    advance(secs(5)).await;
    let start = Instant::now();
    assert!(call.await.unwrap_err().is_timeout());
    assert!(start.elapsed() >= LIMIT && start.elapsed() <= LIMIT + ms(10));
}

/// A request that fails to encode wakes no driver; the time it was tried at must not be taken for now later.
#[tokio::test(start_paused = true)]
async fn a_request_that_failed_to_encode_does_not_stop_the_clock() {
    let (net, ends) = net();
    let client = net.client(client());
    let (_server, _serving) = serve(server(), ends, echo);
    client.call(ask("warm")).await.unwrap();
    settle().await;
    let huge = fastrpc::codec::tlv::Request::new(vec![0; 2 << 20], "");
    assert_eq!(client.call(huge).await.unwrap_err().kind(), ErrorKind::Encode);
    advance(secs(20)).await;
    assert_eq!(client.call(ask("fresh")).timeout(secs(10)).await.unwrap().value, "fresh");
}

/// A call that is made again after its connection was lost keeps the deadline it had.
#[tokio::test(start_paused = true)]
async fn a_repeated_call_keeps_its_deadline() {
    let (net, mut ends) = net();
    let client = net.client(client().batch_delay(ms(1000)));
    tokio::spawn(async move {
        let peer = ends.peer().await;
        tokio::time::sleep(ms(900)).await;
        drop(peer);
        let mut peer = ends.peer().await;
        peer.request().await;
        std::future::pending::<()>().await;
    });
    expires(&client).await;
}
