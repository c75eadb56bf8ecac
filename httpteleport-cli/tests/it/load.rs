//! About 500 requests a second, half of them on connections of their own, half on kept ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::client::{Client, Reply};

const CALLERS: u32 = 10;

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
            let caller = Caller { address: address.to_owned(), over: Arc::clone(&over), served: Arc::clone(&served) };
            tokio::spawn(caller.keep_calling(start + Duration::from_millis(2) * number))
        };
        let callers = (0..CALLERS).map(caller).collect();
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
}

impl Caller {
    async fn keep_calling(self, start: Instant) {
        let mut kept: Option<Client> = None;
        for turn in 0.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            sleep_until(start + Duration::from_millis(20) * turn).await;
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

    async fn ask(&self, client: &mut Client) -> Reply {
        let reply = client.get("/size/300").await;
        assert_eq!((reply.status(), reply.body.len()), (200, 300), "{}", reply.head);
        self.served.fetch_add(1, Ordering::Relaxed);
        reply
    }
}
