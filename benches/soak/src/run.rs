//! The whole of it: who does what, for how long, and what has to be true in the end.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use fastrand::Rng;
use fastrpc::wire::framed::codec::RecordCodec;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout};

use crate::bulk::Stripes;
use crate::ground::Ground;
use crate::link::{Ends, Link};
use crate::report::{Report, Tally, one, resident};
use crate::serving::Served;

/// Large bodies under way at the same time, in each direction.
const BULK: usize = 3;
/// How long everything may take to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides who calls what, and when connections are cut.
    pub seed: u64,
    /// How long calls are made at least: until the large bodies are through, too.
    pub time: Duration,
    /// Bytes of large bodies, down and up each.
    pub bytes: u64,
    /// Of one large body.
    pub stripe: u64,
    /// Callers of random calls.
    pub callers: usize,
    /// Between one drain or cut and the next, in milliseconds.
    pub turmoil: Range<u64>,
    /// How records are compressed.
    pub codec: RecordCodec,
    /// Bytes by which the process may have grown from a quarter of the time on to the end. `None`: nobody looks.
    pub growth: Option<u64>,
    /// Between two reports.
    pub tell: Duration,
}

/// What all who call share.
pub(crate) struct Scene {
    pub(crate) tally: Tally,
    link: RwLock<Arc<Link>>,
    stop: AtomicBool,
    ids: AtomicU64,
}

impl Scene {
    /// The connection that takes calls now.
    pub(crate) fn link(&self) -> Arc<Link> {
        self.link.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, link: Arc<Link>) -> Arc<Link> {
        std::mem::replace(&mut *self.link.write().unwrap_or_else(PoisonError::into_inner), link)
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

/// Does it, telling how it stands meanwhile. What is wrong is in the report.
///
/// # Errors
///
/// There is no connection to be had.
///
/// # Panics
///
/// Outside a tokio runtime with I/O and time.
pub async fn run(plan: &Plan, ground: Ground, tell: impl Fn(&Report)) -> anyhow::Result<Report> {
    let before = Handle::current().metrics().num_alive_tasks();
    let (begun, ends, served) = (Instant::now(), Ends::new(plan.codec), Arc::new(Served::default()));
    let open = async || {
        let (near, far) = ground.join().await.context("cannot connect through the relay")?;
        anyhow::Ok(Link::open(near, far, ends.clone(), served.clone()))
    };
    let scene = Arc::new(Scene {
        tally: Tally::default(),
        link: RwLock::new(open().await?),
        stop: AtomicBool::new(false),
        ids: AtomicU64::new(plan.seed << 32),
    });

    let mut random = Rng::with_seed(plan.seed);
    let (mut calling, mut loading) = (JoinSet::new(), JoinSet::new());
    for _ in 0..plan.callers {
        calling.spawn(scene.clone().calls(random.fork()));
    }
    let stripes = || Arc::new(Stripes::new(plan.bytes, plan.stripe));
    let (down, up) = (stripes(), stripes());
    for _ in 0..BULK {
        loading.spawn(scene.clone().download(down.clone()));
        loading.spawn(scene.clone().upload(up.clone()));
    }

    let mut old: Vec<Arc<Link>> = Vec::new();
    let mut ending = JoinSet::new();
    let (mut telling, mut early) = (interval_at(begun + plan.tell, plan.tell), None);
    telling.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turmoil = begun + Duration::from_millis(random.u64(plan.turmoil.clone()));
    let enough = begun + plan.time;
    while Instant::now() < enough || !loading.is_empty() {
        tokio::select! {
            _ = telling.tick() => {
                tell(&scene.tally.report(begun.elapsed()));
                if begun.elapsed() >= plan.time / 4 {
                    early = early.or_else(|| Some(resident()));
                }
            }
            Some(ended) = loading.join_next() => ended.context("a large body's task panicked")?,
            () = sleep_until(enough), if Instant::now() < enough => {}
            () = sleep_until(turmoil) => {
                turmoil += Duration::from_millis(random.u64(plan.turmoil.clone()));
                old.retain(|link| Arc::strong_count(link) > 1);
                if random.u8(0..3) == 0 {
                    one(&scene.tally.cuts);
                    let link = scene.link();
                    old.iter().chain([&link]).for_each(|link| link.will_be_cut());
                    ground.cut();
                    scene.replace(open().await?);
                    ending.spawn(async move { link.buried().await });
                } else {
                    one(&scene.tally.drains);
                    let link = scene.replace(open().await?);
                    old.push(link.clone());
                    let by_server = random.bool();
                    ending.spawn(async move { link.drained(by_server).await });
                }
            }
        }
    }
    scene.stop.store(true, Ordering::Relaxed);
    let late = |what: &str| scene.tally.fault(format!("{what} had not ended after {PATIENCE:?}"));
    let callers = async { while calling.join_next().await.is_some() {} };
    if timeout(PATIENCE, callers).await.is_err() {
        late("callers");
    }
    let mut told = Vec::new();
    let links = async {
        while let Some(ended) = ending.join_next().await {
            told.extend(ended.map_err(|panic| panic.to_string()).and_then(|ended| ended).err());
        }
    };
    if timeout(PATIENCE, links).await.is_err() {
        late("connections that drained or were cut");
    }
    let last = scene.link();
    told.extend(last.balanced().await.err());
    told.extend(last.drained(false).await.err());
    drop((last, old, calling, ending, ground));
    told.extend(nothing_left(&served, before).await);
    told.extend(counted(&ends, &scene.tally));
    if let (Some(early), Some(growth)) = (early, plan.growth)
        && resident() > early + growth
    {
        told.push(format!("memory grew from {early} to {} bytes", resident()));
    }
    told.into_iter().for_each(|fault| scene.tally.fault(fault));
    Ok(scene.tally.report(begun.elapsed()))
}

/// Handlers, wrong bodies that they saw, tasks.
async fn nothing_left(served: &Served, before: usize) -> Vec<String> {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let gone = async {
        while tasks() > before {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let mut faults = Vec::new();
    if timeout(PATIENCE, gone).await.is_err() {
        faults.push(format!("{} tasks are left", tasks() - before));
    }
    let (running, wrong) = (served.running().len(), served.wrong.load(Ordering::SeqCst));
    if running > 0 {
        faults.push(format!("{running} handlers are left, the oldest of {:?}", served.oldest()));
    }
    if wrong > 0 {
        faults.push(format!("{wrong} calls came with a head that is none"));
    }
    faults
}

/// The counters agree with each other.
fn counted(ends: &Ends, tally: &Tally) -> Vec<String> {
    let (near, far) = ends.stats();
    let opened = 1 + tally.drains.load(Ordering::Relaxed) + tally.cuts.load(Ordering::Relaxed);
    let mut faults = Vec::new();
    if (near.connections, far.connections) != (opened, opened) {
        faults.push(format!("of {opened} connections {} and {} were counted", near.connections, far.connections));
    }
    if near.replies > far.calls {
        faults.push(format!("{} calls came to the server, and {} replies to the client", far.calls, near.replies));
    }
    faults
}
