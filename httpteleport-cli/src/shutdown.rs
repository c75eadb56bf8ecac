//! A clean end: stop accepting, finish what runs, within a bound.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Where the listening sockets outlive the process, clients do not see it end: so long a connection on which nothing runs may bring one
/// more request, whose reply says that it was the last.
pub(crate) const PARTING: Duration = Duration::from_secs(2);

/// The same for a process whose successor starts when it has ended, while those wait who connect.
pub(crate) const SHORT_PARTING: Duration = Duration::from_millis(250);

/// What is cut off over HTTP/1.1 has so long to hear that, and no longer than half of what a drain takes.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Tells every part of the program to drain, and waits for what they run.
#[derive(Clone)]
pub(crate) struct Shutdown {
    /// Whoever asks is told to go elsewhere; all else is as before.
    leaving: Stage,
    begun: Stage,
    /// Connections on which nothing runs are to end.
    parting: Stage,
    /// What still runs is given up.
    cut: Stage,
    tasks: TaskTracker,
}

/// A step on the way to the end.
#[derive(Clone, Default)]
struct Stage {
    reached: CancellationToken,
    /// The same, without a lock for whoever asks often.
    flag: Arc<AtomicBool>,
    /// That of the whole that this is a part of.
    whole: Option<Arc<AtomicBool>>,
}

impl Stage {
    /// That of a part: it is reached by itself, or with the whole.
    fn part(&self) -> Stage {
        let whole = Some(Arc::clone(&self.flag));
        Stage { reached: self.reached.child_token(), flag: Arc::default(), whole }
    }

    fn reach(&self) {
        self.flag.store(true, Ordering::Release);
        self.reached.cancel();
    }

    fn is_reached(&self) -> bool {
        let reached = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        reached(&self.flag) || self.whole.as_deref().is_some_and(reached)
    }
}

impl Shutdown {
    pub(crate) fn new() -> Shutdown {
        Shutdown {
            leaving: Stage::default(),
            begun: Stage::default(),
            parting: Stage::default(),
            cut: Stage::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// One for a part of what this is for: it begins by itself, or with the whole, which waits for its tasks.
    pub(crate) fn part(&self) -> Shutdown {
        Shutdown {
            leaving: self.leaving.part(),
            begun: self.begun.part(),
            parting: self.parting.part(),
            cut: self.cut.part(),
            tasks: self.tasks.clone(),
        }
    }

    /// Says to whoever asks that the process is about to drain. Nothing else changes.
    pub(crate) fn leave(&self) {
        self.leaving.reach();
    }

    /// Whether it is about to drain, or does.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.is_reached()
    }

    /// Begins draining, and waits for nothing.
    pub(crate) fn begin(&self) {
        self.leaving.reach();
        self.begun.reach();
        self.parting.reach();
    }

    /// Resolves once draining has begun. Cancel safe.
    pub(crate) async fn begun(&self) {
        self.begun.reached.cancelled().await;
    }

    /// Whether draining has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.is_reached()
    }

    /// Resolves once connections on which nothing runs are to end: with the beginning, or some time after it. Cancel safe.
    pub(crate) async fn parting(&self) {
        self.parting.reached.cancelled().await;
    }

    /// Whether they are to end.
    pub(crate) fn is_parting(&self) -> bool {
        self.parting.is_reached()
    }

    /// Resolves once what still runs is given up. Cancel safe.
    pub(crate) async fn cut(&self) {
        self.cut.reached.cancelled().await;
    }

    /// What the work comes to, or `None` once it is given up. It costs a look at a flag each time that it goes on, and only these looks
    /// notice: its task has to be woken by [`Shutdown::cut`].
    pub(crate) async fn unless_cut<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| if self.cut.is_reached() { Poll::Ready(None) } else { work.as_mut().poll(cx).map(Some) }).await
    }

    /// Runs a task that draining waits for.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Begins draining, and waits until every task has ended, but no longer than `longest`. Connections on which nothing runs stay for
    /// `patience`, at most half of that, so that what their clients have sent by then is answered. What is cut off is so a second before the end, to be
    /// able to say so. Cancel safe: it may be called again, with less.
    pub(crate) async fn drain(&self, patience: Duration, longest: Duration) {
        self.leaving.reach();
        self.begun.reach();
        self.tasks.close();
        // Those on which nothing runs end in order in any case.
        let last = LAST_WORDS.min(longest / 2);
        let before = longest.saturating_sub(last);
        let patience = patience.min(before / 2);
        let ended = async {
            if !patience.is_zero() {
                let _ = timeout(patience, self.tasks.wait()).await;
            }
            self.parting.reach();
            self.tasks.wait().await;
        };
        if timeout(before, ended).await.is_err() {
            tracing::warn!("{} connections cut off after {before:?} (--drain-timeout {longest:?})", self.tasks.len());
            self.cut.reach();
            let _ = timeout(last, self.tasks.wait()).await;
        }
    }
}
