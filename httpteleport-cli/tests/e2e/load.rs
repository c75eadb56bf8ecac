//! Many callers at once, each of whom knows which reply is his.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use testkit::wire::HttpReply;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::caller::{Caller, body, request};
use crate::node::PATIENCE;

/// Callers that ask one thing after the other until they are stopped.
pub(crate) struct Load {
    callers: JoinSet<()>,
    counts: watch::Sender<Counts>,
    stop: Arc<AtomicBool>,
}

/// What came of the calls so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Answered with what they asked for.
    pub(crate) good: usize,
    /// Answered 502.
    pub(crate) bad_gateway: usize,
    /// Answered 503 by a far node that was told to stop.
    pub(crate) declined: usize,
    /// Answered 504.
    pub(crate) timed_out: usize,
    /// Met the end of their connection instead of a reply.
    pub(crate) cut_off: usize,
}

impl Counts {
    pub(crate) fn failed(self) -> usize {
        self.bad_gateway + self.declined + self.timed_out + self.cut_off
    }
}

impl Load {
    /// So many callers of the HTTP input at `address`. They panic at a reply that is not theirs, or at none.
    pub(crate) fn start(address: &str, callers: usize) -> Load {
        let (counts, stop) = (watch::Sender::new(Counts::default()), Arc::new(AtomicBool::new(false)));
        let mut tasks = JoinSet::new();
        for number in 0..callers {
            tasks.spawn(keep_calling(address.to_owned(), number, counts.clone(), Arc::clone(&stop)));
        }
        Load { callers: tasks, counts, stop }
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the counts, less what they are now, satisfy `enough`.
    pub(crate) async fn until(&self, what: &str, enough: impl Fn(Counts) -> bool) {
        let start = self.counts();
        let since = |now: &Counts| Counts {
            good: now.good - start.good,
            bad_gateway: now.bad_gateway - start.bad_gateway,
            declined: now.declined - start.declined,
            timed_out: now.timed_out - start.timed_out,
            cut_off: now.cut_off - start.cut_off,
        };
        let mut counts = self.counts.subscribe();
        let met = timeout(PATIENCE, counts.wait_for(|now| enough(since(now)))).await;
        assert!(met.is_ok(), "{what}: never, but {:?} after {start:?}", self.counts());
    }

    /// Waits for so many more calls that succeed.
    pub(crate) async fn good(&self, more: usize) {
        self.until("calls succeed", |counts| counts.good >= more).await;
    }

    /// Lets every caller finish the call at hand.
    pub(crate) async fn stop(self) -> Counts {
        self.stop.store(true, Ordering::Relaxed);
        self.stop_when_nobody_listens().await
    }

    /// Waits until every caller has found that nobody accepts connections any more.
    pub(crate) async fn stop_when_nobody_listens(mut self) -> Counts {
        while let Some(ended) = timeout(PATIENCE, self.callers.join_next()).await.expect("no call hangs") {
            ended.expect("every caller got his own replies");
        }
        self.counts()
    }
}

async fn keep_calling(address: String, number: usize, counts: watch::Sender<Counts>, stop: Arc<AtomicBool>) {
    let mut connection = None;
    for call in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Some(caller) = &mut connection else {
            match tokio::net::TcpStream::connect(&address).await {
                Ok(stream) => connection = Some(Caller::over(stream)),
                // Nobody listens any more: there is nothing left to ask.
                Err(_) => return,
            }
            continue;
        };
        // Short and long ones, so that the batches differ.
        let token = format!("{number}/{call};").repeat(1 + (number * 7 + call) % 40);
        let reply = caller.try_ask(&request("POST", &format!("/{number}/{call}")).body(token.as_bytes())).await;
        counts.send_modify(|counts| note(counts, reply.as_ref(), &token));
        if reply.is_none_or(|reply| reply.value("Connection") == Some("close")) {
            connection = None;
        }
    }
}

fn note(counts: &mut Counts, reply: Option<&HttpReply>, token: &str) {
    match reply {
        None => counts.cut_off += 1,
        Some(reply) if reply.status == 200 => {
            assert_eq!(body(reply), token, "a reply reached the wrong caller");
            counts.good += 1;
        }
        Some(reply) if reply.status == 503 => {
            assert_eq!(body(reply), "the server is shutting down");
            counts.declined += 1;
        }
        Some(reply) => {
            assert!(body(reply).starts_with("http: proxying error: "), "{reply:?}");
            match reply.status {
                502 => counts.bad_gateway += 1,
                504 => counts.timed_out += 1,
                _ => panic!("{reply:?}"),
            }
        }
    }
}
