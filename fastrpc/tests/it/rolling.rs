//! Servers that go away under load, over TCP: on the framed wire no call fails.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fastrpc::codec::tlv::{Reply, Request, Tlv};
use fastrpc::{Call, Client, Server, Wire};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::support::*;

/// A server that has begun, and what has it drain.
struct Running {
    address: SocketAddr,
    server: Server<Tlv>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

async fn start(handler: impl fastrpc::Handler<Tlv>, grace: std::time::Duration) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder(codec()).wire(Wire::Auto).build().unwrap();
    let (stop, stopped) = oneshot::channel();
    let serve = server.serve(listener, handler).grace(grace).with_graceful_shutdown(async move {
        let _ = stopped.await;
    });
    Running { address, server, stop, serving: tokio::spawn(serve.into_future()) }
}

/// Takes its time, a little.
async fn answer(call: Call<Request>) -> Reply {
    let request = call.into_request();
    for _ in 0..request.value.len() % 13 {
        tokio::task::yield_now().await;
    }
    Reply::new([request.name, request.value].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_drain_one_after_the_other_under_load_fail_no_call() {
    for connections in [1, 4] {
        let mut running = [start(answer, secs(10)).await];
        let address = Arc::new(Mutex::new(running[0].address));
        let dialled = address.clone();
        let dial = move || TcpStream::connect(*dialled.lock().unwrap());
        let client = Client::builder(codec()).connections(connections).connect_with("rolling", dial).unwrap();
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let callers: Vec<_> = (0..50usize)
            .map(|caller| {
                let (client, stop, made) = (client.clone(), stop.clone(), made.clone());
                tokio::spawn(async move {
                    let mut n = 0;
                    while !stop.load(Ordering::SeqCst) {
                        n += 1;
                        let (name, value) = (format!("{caller} {n} "), vec![7; (n * 97 + caller) % 20_000]);
                        let reply = client.call(Request::new(name.clone(), value.clone())).await;
                        let reply = reply.unwrap_or_else(|error| panic!("call {name}of 1 failed: {error:?}"));
                        assert!(reply.value == [name.as_bytes(), &value].concat());
                        made.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for _ in 0..4 {
            let before = made.load(Ordering::SeqCst);
            while made.load(Ordering::SeqCst) < before + 200 {
                tokio::time::sleep(ms(1)).await;
            }
            // The next one takes the connections; then the old one drains.
            let next = start(answer, secs(10)).await;
            *address.lock().unwrap() = next.address;
            let old = std::mem::replace(&mut running[0], next);
            old.stop.send(()).unwrap();
            old.serving.await.unwrap();
            let stats = old.server.stats();
            assert_eq!((stats.calls, stats.pending, stats.connection_errors), (stats.replies, 0, 0));
        }
        stop.store(true, Ordering::SeqCst);
        for caller in callers {
            caller.await.unwrap();
        }
        let stats = client.stats();
        assert_eq!((stats.calls, stats.replies), (made.load(Ordering::SeqCst) as u64, stats.calls));
        assert_eq!((stats.timeouts, client.pending()), (0, 0));
        assert!(stats.reconnects >= 4, "{stats:?}");
        client.drain().await;
    }
}

#[tokio::test]
async fn handlers_in_flight_are_answered_and_new_connections_go_elsewhere() {
    let gate = Arc::new(Semaphore::new(0));
    let waits = gate.clone();
    let slow = move |call: Call<Request>| {
        let gate = waits.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            Reply::new(call.into_request().name)
        }
    };
    let (first, second) = (start(slow, secs(30)).await, start(answer, secs(30)).await);
    let address = Arc::new(Mutex::new(first.address));
    let dialled = address.clone();
    let client = Client::builder(codec()).connect_with("rolling", move || TcpStream::connect(*dialled.lock().unwrap()));
    let client = client.unwrap();
    let in_flight: Vec<_> = (0..20)
        .map(|n: i32| {
            let client = client.clone();
            tokio::spawn(async move { client.call(ask(&n.to_string())).await.unwrap().value })
        })
        .collect();
    while first.server.stats().pending < 20 {
        tokio::task::yield_now().await;
    }
    *address.lock().unwrap() = second.address;
    first.stop.send(()).unwrap();
    // Once it has heard of the drain, calls go to the other.
    while second.server.stats().replies == 0 {
        tokio::select! {
            biased;
            reply = client.call(ask("elsewhere")) => assert_eq!(reply.unwrap().value, "elsewhere"),
            () = tokio::time::sleep(ms(20)) => {} // It went to the old one, where it would wait.
        }
    }
    assert_eq!(second.server.stats().connections, 1);
    gate.add_permits(1000);
    for (n, call) in in_flight.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), n.to_string());
    }
    first.serving.await.unwrap();
    assert_eq!((first.server.stats().pending, client.stats().errors), (0, 0));
}

#[tokio::test]
async fn the_grace_bounds_a_drain() {
    let never = |_: Call<Request>| std::future::pending::<Reply>();
    let first = start(never, ms(50)).await;
    let client = Client::builder(codec()).connect(first.address.to_string()).unwrap();
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.call(ask("never")).await }
    });
    while first.server.stats().pending == 0 {
        tokio::task::yield_now().await;
    }
    first.stop.send(()).unwrap();
    first.serving.await.unwrap();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (fastrpc::ErrorKind::Connection, false), "{error:?}");
    assert_eq!(first.server.stats().pending, 0);
}
