//! About 500 requests a second: most of them over HTTP/1.1, half of these on connections of their own, half on kept ones; some over HTTP/2.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::{Client, Reply};
use crate::http2;
use crate::program::PATIENCE;

/// Those who speak HTTP/1.1, and those who speak HTTP/2; each asks 50 times a second.
const CALLERS: (u32, u32) = (8, 2);

/// Callers of an HTTP input that ask until they are stopped. A request that fails, a connection that is refused, and a kept one that
/// ends under a request end the test.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    start: Instant,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(address: &str) -> Load {
        let (over, served, start) = (Arc::default(), Arc::default(), Instant::now());
        let caller = |number| {
            let start = start + Duration::from_millis(2) * number;
            let caller =
                Caller { address: address.to_owned(), over: Arc::clone(&over), served: Arc::clone(&served), start };
            if number < CALLERS.0 {
                tokio::spawn(caller.keep_calling())
            } else {
                tokio::spawn(caller.keep_calling_http2())
            }
        };
        let callers = (0..CALLERS.0 + CALLERS.1).map(caller).collect();
        Load { over, served, start, callers }
    }

    /// Waits for so many more requests that are served.
    pub(crate) async fn served(&self, more: usize) {
        let until = self.served.load(Ordering::Relaxed) + more;
        while self.served.load(Ordering::Relaxed) < until {
            tokio::task::yield_now().await;
            assert!(self.callers.iter().all(|caller| !caller.is_finished()), "a request failed");
        }
    }

    /// Lets every caller finish its request, and tells how many were served in a second.
    pub(crate) async fn stop(self) -> f64 {
        self.over.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.expect("no request failed");
        }
        self.served.load(Ordering::Relaxed) as f64 / self.start.elapsed().as_secs_f64()
    }
}

struct Caller {
    address: String,
    over: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    start: Instant,
}

impl Caller {
    async fn keep_calling(self) {
        let mut kept: Option<Client> = None;
        let mut turn = 0;
        while self.waits_for(turn).await {
            turn += 1;
            if turn % 2 == 1 {
                self.ask(&mut Client::connect(&self.address).await).await;
                continue;
            }
            // As every client does that keeps connections, it looks whether this one is there still.
            if let Some(client) = &mut kept
                && !client.is_open().await
            {
                kept = None;
            }
            let mut client = match kept.take() {
                Some(client) => client,
                None => Client::connect(&self.address).await,
            };
            if self.ask(&mut client).await.field("connection") != Some("close") {
                kept = Some(client);
            }
        }
    }

    async fn keep_calling_http2(self) {
        let mut kept = http2::connect(&self.address).await;
        let mut turn = 0;
        while self.waits_for(turn).await {
            turn += 1;
            let reply = loop {
                let request = Request::get("http://test/size/300").body(http2::empty()).expect("a request");
                if kept.ready().await.is_ok() {
                    match timeout(PATIENCE, kept.send_request(request)).await.expect("in time") {
                        Ok(reply) => break reply,
                        Err(error) => assert!(is_untouched(&error), "{error:?}"),
                    }
                }
                // It has been told to take another one.
                kept = http2::connect(&self.address).await;
            };
            assert_eq!(reply.status(), 200);
            let body = reply.into_body().collect().await.expect("a body").to_bytes();
            assert_eq!(body.len(), 300);
            self.served.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until it is time to ask again; false when that is over.
    async fn waits_for(&self, turn: u32) -> bool {
        sleep_until(self.start + Duration::from_millis(20) * turn).await;
        !self.over.load(Ordering::Relaxed)
    }

    async fn ask(&self, client: &mut Client) -> Reply {
        let reply = client.get("/size/300").await;
        assert_eq!((reply.status(), reply.body.len()), (200, 300), "{}", reply.head);
        self.served.fetch_add(1, Ordering::Relaxed);
        reply
    }
}

/// Whether a request was not processed, as the server has said which was the last one (RFC 9113, 6.8): clients take another connection.
fn is_untouched(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    error.is_canceled() || cause.is_some_and(|cause| cause.is_go_away() && cause.is_remote())
}
