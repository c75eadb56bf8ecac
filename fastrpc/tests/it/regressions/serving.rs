//! Listeners, shutdown, and failures that fail.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrpc::codec::tlv::{Reply, Request, Tlv};
use fastrpc::{BatchTimer, Call, Compression, Dispatch, ErrorKind, Listener, Server};
use testkit::pipe::End;
use testkit::raw::RawPeer;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::compute_for;
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_shutdown_declines_and_closes_though_a_peer_floods() {
    let stop = Arc::new(Notify::new());
    let (signal, held) = (stop.clone(), Arc::new(Notify::new()));
    let gate = held.clone();
    let handler = move |call: Call<Request>| {
        let gate = gate.clone();
        async move {
            if call.request().name == "held" {
                gate.notified().await;
            }
            Reply::new("")
        }
    };
    let (net, ends) = net();
    let server = server().build().unwrap();
    let serving = server.serve(ends, handler).with_graceful_shutdown(async move { signal.notified().await });
    let serving = tokio::spawn(serving.grace(secs(1000)).into_future());
    let mut peer = RawPeer::client(net.dial(), &hello(Compression::None)).await;
    peer.ask(7, "held").await;
    let mut end = peer.into_inner();
    tokio::spawn(async move {
        let calls: Vec<u8> = (0..600).flat_map(|_| request_bytes(0, "", b"")).collect();
        while end.write_all(&calls).await.is_ok() {
            compute_for(ms(100));
        }
    });
    while server.stats().calls < 5000 {
        tokio::task::yield_now().await;
    }
    stop.notify_one();
    let start = Instant::now();
    while server.stats().overloads == 0 {
        assert!(start.elapsed() < secs(10), "still serving: {:?}", server.stats());
        tokio::task::yield_now().await;
    }
    held.notify_one();
    while !serving.is_finished() {
        assert!(start.elapsed() < secs(30), "still open: {:?}", server.stats());
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_signal_of_one_listener_leaves_the_others_serving() {
    let server = server().build().unwrap();
    let (signalled, first) = net();
    let (other, second) = net();
    let stopping = server.serve(first, echo).with_graceful_shutdown(tokio::time::sleep(secs(1)));
    let stopping = tokio::spawn(stopping.into_future());
    let serving = tokio::spawn(server.serve(second, echo).into_future());
    let (before, other) = (signalled.client(client()), other.client(client()));
    before.call(ask("")).await.unwrap();
    other.call(ask("")).await.unwrap();
    stopping.await.unwrap();
    assert_eq!(other.call(ask("served")).await.unwrap().value, "served");
    assert!(!serving.is_finished());
    assert_eq!(other.stats().connections, 1, "and its connections go on");
}

/// A listener at which every other peer has gone before it was accepted.
struct Aborting(Ends, bool);

impl Listener for Aborting {
    type Io = End;

    async fn accept(&mut self) -> io::Result<(End, Option<SocketAddr>)> {
        let accepted = self.0.accept().await?;
        self.1 = !self.1;
        if self.1 { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(accepted) }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_aborted_before_its_accept_does_not_delay_the_next() {
    let (net, ends) = net();
    let server = server().build().unwrap();
    tokio::spawn(server.serve(Aborting(ends, false), echo).into_future());
    let start = Instant::now();
    for _ in 0..10 {
        let _aborted = net.dial();
        let mut peer = RawPeer::client(net.dial(), &hello(Compression::None)).await;
        peer.ask(1, "served").await;
        assert_eq!(peer.answer().await.1, "served");
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_panics_ends_the_connection_with_an_error_that_is_told() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn, Dispatch::Pipeline] {
        let treacherous = Tlv::new().on_failure(|_| panic!("as asked: the failure"));
        let builder = Server::builder(treacherous)
            .wire(fastrpc::Wire::Classic)
            .compression(Compression::None)
            .batch_timer(BatchTimer::Tokio);
        let server = builder.dispatch(dispatch).build().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let observer = told.clone();
        let (net, ends) = net();
        let serving = server.serve(ends, |_: Call<Request>| async { panic!("as asked: the handler") });
        let observed = serving.on_connection_end(move |_, ended| observer.lock().unwrap().push(ended.is_err()));
        tokio::spawn(observed.into_future());
        let client = net.client(client());
        assert_eq!(client.call(ask("")).await.unwrap_err().kind(), ErrorKind::Connection);
        settle().await;
        assert_eq!(*told.lock().unwrap(), [true], "{dispatch:?}");
        assert_eq!(server.stats().connection_errors, 1, "{dispatch:?}");
    }
}
