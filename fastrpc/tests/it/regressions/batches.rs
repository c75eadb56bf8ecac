//! When a batch goes out, and who is woken for it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use fastrpc::codec::tlv::{Reply, Request};
use fastrpc::{AtLimit, Call, Client, Server};
use testkit::pipe::duplex;
use tokio::time::Instant;

use super::all;
use crate::support::*;

#[test]
fn a_pipe_without_batch_delay_needs_no_runtime_with_io() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (net, ends) = net();
        serve(Server::builder(codec()).wire(fastrpc::Wire::Classic), ends, echo);
        let client = net.client(Client::builder(codec()).wire(fastrpc::Wire::Classic));
        assert_eq!(client.call(ask("served")).await.unwrap().value, "served");
    });
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_unread_replies_does_not_wait_for_the_batch_delay() {
    let (net, ends) = net();
    let big = |_: Call<Request>| async { Reply::new(vec![0; 500]) };
    serve(server().batch_delay(secs(1)).max_unread(1024), ends, big);
    let client = net.client(client());
    let start = Instant::now();
    all(&client, (0..30).map(|_| ask(""))).await;
    assert!(start.elapsed() < secs(2), "took {:?}", start.elapsed()); // The last batch, which is not full, waits once.
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_unsent_requests_does_not_wait_for_the_batch_delay() {
    let (net, ends) = net();
    serve(server(), ends, echo);
    let client = net.client(client().batch_delay(secs(1)).max_unsent(1024).at_limit(AtLimit::Wait));
    let start = Instant::now();
    all(&client, (0..30).map(|_| Request::new("", vec![0; 500]))).await;
    assert!(start.elapsed() < secs(2), "took {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn handlers_that_end_within_one_batch_do_not_wake_the_driver_each() {
    const CALLS: u64 = 500;
    let polls = Arc::new(AtomicUsize::new(0));
    let handler = |call: Call<Request>| async move {
        let wait = String::from_utf8_lossy(&call.request().value).parse().unwrap();
        tokio::time::sleep(ms(wait)).await;
        Reply::new("")
    };
    let (near, far) = duplex();
    let server = server().batch_delay(secs(1)).build().unwrap();
    let count = polls.clone();
    let mut serving = Box::pin(async move { server.serve_connection(far, None, Arc::new(handler)).await });
    tokio::spawn(poll_fn(move |cx| {
        count.fetch_add(1, Relaxed);
        serving.as_mut().poll(cx)
    }));
    let (client, driver) = client().handshake(near).await.unwrap();
    tokio::spawn(driver);
    all(&client, (1..=CALLS).map(|n| Request::new("", n.to_string()))).await;
    let polls = polls.load(Relaxed);
    assert!(polls <= 50, "{polls} polls of the driver for {CALLS} calls in one batch");
}
