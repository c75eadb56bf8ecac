//! Law 8: no waker and no drop of a user's value runs under the connection's lock. Each test calls back into the client
//! from there; were a lock held, it would never end.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

use bytes::BytesMut;
use fastrpc::codec::tlv::Tlv;
use fastrpc::{BoxError, Client, Codec, Compression, Decoded, ErrorKind, Failure};
use testkit::raw::RawPeer;

use crate::support::*;

/// A waker that calls back when it is woken, and when it is dropped.
struct CallsBack(Client<Tlv>);

impl CallsBack {
    fn call_back(&self) {
        let _ = self.0.pending();
        let _ = self.0.send(&ask("from a waker"));
        let mut call = self.0.call(ask("from a waker"));
        let _ = Pin::new(&mut call).poll(&mut Context::from_waker(Waker::noop()));
    }
}

impl Wake for CallsBack {
    fn wake(self: Arc<Self>) {
        self.call_back();
    }
}

impl Drop for CallsBack {
    fn drop(&mut self) {
        self.call_back();
    }
}

fn calls_back(client: &Client<Tlv>) -> Waker {
    Waker::from(Arc::new(CallsBack(client.clone())))
}

fn run(test: impl Future<Output = ()> + Send + 'static) {
    watched(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    });
}

#[test]
fn wakers_run_and_are_dropped_outside_the_lock() {
    run(async {
        let (net, mut ends) = net();
        let client = net.client(client().batch_delay(ms(1)));
        let mut calls: Vec<_> = (0..8).map(|_| client.call(ask("call"))).collect();
        for call in &mut calls {
            // The second waker takes the place of the first, which is dropped.
            for _ in 0..2 {
                let waker = calls_back(&client);
                assert!(Pin::new(&mut *call).poll(&mut Context::from_waker(&waker)).is_pending());
            }
        }
        let mut peer = ends.peer().await;
        // By a reply, twice.
        for _ in 0..2 {
            let id = peer.request().await.id;
            peer.reply(id, "reply").await;
        }
        settle().await;
        assert!(poll_once(&mut calls[0]).is_ready());
        // By dropping the call.
        drop(calls.pop());
        // By a deadline.
        let waker = calls_back(&client);
        let mut late = client.call(ask("late")).timeout(ms(5));
        assert!(Pin::new(&mut late).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        tokio::time::sleep(ms(20)).await;
        assert!(poll_once(&mut late).is_ready());
        // By the end of the connection, then by close.
        drop(peer);
        settle().await;
        client.close();
        for mut call in calls {
            assert!(poll_once(&mut call).is_ready());
        }
    });
}

/// The driver's waker is kept by the pipe, the timer and the connection. Once the first two have let go of it, the next
/// poll makes the connection drop the last one.
#[test]
fn the_drivers_waker_is_dropped_outside_the_lock() {
    run(async {
        let (here, there) = testkit::pipe::duplex();
        let hello = hello(Compression::None);
        let (opened, mut peer) = tokio::join!(client().handshake(here), RawPeer::server(there, &hello));
        let (client, mut driver) = opened.unwrap();
        let mut call = client.call(ask("sets the timer")).timeout(ms(5));
        assert!(poll_once(&mut call).is_pending());
        let dropped = Arc::new(AtomicBool::new(false));
        let waker = Waker::from(Arc::new(Dropped(calls_back(&client), dropped.clone())));
        assert!(Pin::new(&mut driver).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        tokio::time::sleep(ms(20)).await;
        peer.reply(12345, "wakes the reader").await;
        assert!(!dropped.load(Ordering::SeqCst), "the connection has it still");
        assert!(poll_once(&mut driver).is_pending());
        assert!(dropped.load(Ordering::SeqCst), "the connection was the last to have it");
    });
}

/// A waker that does nothing but tell that it was dropped, and calls back then.
struct Dropped(#[expect(dead_code, reason = "for its drop")] Waker, Arc<AtomicBool>);

impl Wake for Dropped {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Dropped {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_displaced_calls_waker_runs_outside_the_lock() {
    run(async {
        let (net, _ends) = net();
        let client = net.client(client().max_pending(1).at_limit(fastrpc::AtLimit::DropOldest));
        let waker = calls_back(&client);
        let mut old = client.call(ask("old"));
        assert!(Pin::new(&mut old).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        let mut new = client.call(ask("new"));
        let _ = poll_once(&mut new);
        let Poll::Ready(Err(error)) = poll_once(&mut old) else { panic!("displaced") };
        assert!(error.is_overload());
    });
}

/// A codec whose replies call back when they are dropped, and whose errors do.
#[derive(Default)]
struct DropsBack {
    client: Arc<OnceLock<Client<DropsBack>>>,
}

struct Noisy(Arc<OnceLock<Client<DropsBack>>>, u8);

impl Drop for Noisy {
    fn drop(&mut self) {
        let Some(client) = self.0.get() else { return };
        let _ = client.send(&Noisy(Arc::default(), b'd'));
    }
}

impl std::fmt::Debug for Noisy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Noisy")
    }
}

impl std::fmt::Display for Noisy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("noisy")
    }
}

impl std::error::Error for Noisy {}

impl Codec for DropsBack {
    type Request = Noisy;
    type Reply = Noisy;
    type Partial = ();

    fn encode_request(&self, request: &Noisy, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.push(request.1);
        if request.1 == b'e' { Err(Box::new(Noisy(self.client.clone(), 0))) } else { Ok(()) }
    }

    fn decode_request(&self, (): &mut (), _: &mut BytesMut) -> Result<Option<Decoded<Noisy, Noisy>>, BoxError> {
        Ok(None)
    }

    fn encode_reply(&self, _: &Noisy, _: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(())
    }

    fn decode_reply(&self, (): &mut (), input: &mut BytesMut) -> Result<Option<Decoded<Noisy, BoxError>>, BoxError> {
        if input.is_empty() {
            return Ok(None);
        }
        let noisy = Noisy(self.client.clone(), input.split_to(1)[0]);
        Ok(Some(if noisy.1 == b'r' { Decoded::Refused(Box::new(noisy)) } else { Decoded::Message(noisy) }))
    }

    fn failure(&self, _: Failure<'_>) -> Noisy {
        Noisy(Arc::default(), 0)
    }
}

#[test]
fn replies_requests_and_errors_are_dropped_outside_the_lock() {
    run(async {
        let (here, there) = testkit::pipe::duplex();
        let handle = Arc::new(OnceLock::new());
        let codec = DropsBack { client: handle.clone() };
        let hello = hello(Compression::None);
        let builder = Client::builder(codec).wire(fastrpc::Wire::Classic).compression(Compression::None);
        let (opened, mut peer) = tokio::join!(builder.handshake(here), RawPeer::server(there, &hello));
        let (client, driver) = opened.unwrap();
        handle.set(client.clone()).unwrap_or_else(|_| panic!("set once"));
        let driver = tokio::spawn(driver);

        let request = |kind| Noisy(handle.clone(), kind);
        let mut kept = client.call(request(b'k'));
        let mut forgotten = client.call(request(b'f'));
        let mut unseen = client.call(request(b'u'));
        let mut refused = client.call(request(b'q'));
        for call in [&mut kept, &mut forgotten, &mut unseen, &mut refused] {
            assert!(poll_once(call).is_pending());
        }
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(peer.frame(|bytes| Ok(((), bytes.len().min(1)))).await.id);
        }
        drop(forgotten);
        peer.say(&testkit::wire::frame(ids[0], b"m")).await;
        peer.say(&testkit::wire::frame(ids[1], b"m")).await; // Late.
        peer.say(&testkit::wire::frame(ids[2], b"m")).await;
        peer.say(&testkit::wire::frame(ids[3], b"r")).await;
        peer.say(&testkit::wire::frame(12345, b"r")).await; // Unknown.
        assert_eq!(kept.await.unwrap().1, b'm');
        assert_eq!(refused.await.unwrap_err().kind(), ErrorKind::Refused);
        settle().await;
        drop(unseen); // With its reply inside.
        assert_eq!(client.call(request(b'e')).await.unwrap_err().kind(), ErrorKind::Encode);
        client.close();
        driver.await.unwrap().unwrap();
    });
}

/// Calls made and dropped on several threads, while replies arrive and the connection comes and goes.
#[test]
fn threads_do_not_block_each_other() {
    watched(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
        runtime.block_on(async {
            let (net, ends) = net();
            let (_server, _serving) = serve(server(), ends, echo);
            let client = net.client(client().max_pending(64).at_limit(fastrpc::AtLimit::Wait).connections(2));
            let wrong = Arc::new(Mutex::new(Vec::new()));
            let tasks = (0..8).map(|task| {
                let (client, wrong) = (client.clone(), wrong.clone());
                tokio::spawn(async move {
                    for n in 0..200 {
                        let name = format!("{task}/{n}");
                        let mut call = client.call(ask(&name));
                        if n % 3 == 0 {
                            let _ = poll_once(&mut call);
                        } else if call.await.unwrap().value != name {
                            wrong.lock().unwrap().push(name);
                        }
                    }
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.unwrap();
            }
            assert!(wrong.lock().unwrap().is_empty());
            assert_eq!(client.pending(), 0);
        });
    });
}
