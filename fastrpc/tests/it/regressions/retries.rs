//! What is made again, and what its error tells.

use std::error::Error as _;
use std::io;
use std::sync::{Arc, Mutex};

use fastrpc::{AtLimit, Compression, ErrorKind};
use testkit::pipe::End;
use testkit::raw::RawPeer;
use tokio::time::Instant;

use super::pair;
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_call_that_never_left_is_made_again_though_others_queue() {
    let (net, mut ends) = net();
    let client = net.client(client().max_pending(1).at_limit(AtLimit::Wait));
    let mut warm = client.call(ask("warm"));
    let end = meanwhile(&mut warm, ends.next()).await;
    let way = end.incoming();
    let mut peer = meanwhile(&mut warm, RawPeer::server(end, &hello(Compression::None))).await;
    let id = meanwhile(&mut warm, peer.request()).await.id;
    peer.reply(id, "").await;
    warm.await.unwrap();
    way.choke();
    let call = |name| {
        let client = client.clone();
        tokio::spawn(async move { client.call(ask(name)).await.map(|reply| reply.value) })
    };
    let first = call("first");
    settle().await;
    let queued = call("queued");
    settle().await;
    drop(peer); // Not a byte of the first call has left.
    serve(server(), ends, echo);
    assert_eq!(first.await.unwrap().unwrap(), "first");
    assert_eq!(queued.await.unwrap().unwrap(), "queued");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_be_made_again_keeps_the_cause() {
    let (client, driver, _serving, [way, back]) = pair(client(), server(), echo).await;
    tokio::spawn(driver);
    way.choke();
    let mut call = client.call(ask("unsent"));
    meanwhile(&mut call, way.writer_blocked()).await;
    back.fail(io::ErrorKind::ConnectionReset);
    let error = call.await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, true));
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    assert_eq!(cause, Some(io::ErrorKind::ConnectionReset), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn later_calls_on_an_ended_connection_keep_the_cause() {
    let (client, driver, _serving, _) = pair(client(), server(), echo).await;
    drop(driver);
    let error = client.call(ask("later")).await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, true));
    assert!(format!("{error:?}").contains("driver was dropped"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dialer_that_panics_is_a_failed_dial() {
    for early in [true, false] {
        let dials = Arc::new(Mutex::new(Vec::new()));
        let seen = dials.clone();
        let dial = move || {
            seen.lock().unwrap().push(Instant::now());
            assert!(!early, "as asked: the dialer");
            async { panic!("as asked: the dialling future") }
        };
        let panicking = client().backoff(secs(1), secs(1)).connect_with::<_, _, End>("nowhere", dial).unwrap();
        let errors = [panicking.call(ask("")).await.unwrap_err(), panicking.call(ask("")).await.unwrap_err()];
        assert!(panicking.is_failing());
        let dials = dials.lock().unwrap();
        assert!(dials.windows(2).all(|pair| pair[1] - pair[0] >= ms(500)), "no pause: {dials:?}");
        assert_eq!(panicking.stats().connect_errors, dials.len() as u64);
        for error in errors {
            assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connect, true), "{error:?}");
        }
    }
}
