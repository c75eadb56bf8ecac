//! One framed connection, both its ends in this process: all that this program uses of the sessions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrpc::internals::framed::Role;
use fastrpc::internals::session::{Driver, NoCalls, Options};
use fastrpc::wire::framed::codec::RecordCodec;
use fastrpc::{BoxIo, Error, Stats};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub(crate) use fastrpc::internals::session::{BodyReader, BodyWriter, Caller, Incoming, Responder, SendBody};
pub(crate) use fastrpc::wire::framed::frame::ResetCode;

use crate::serving::{Served, serve};

/// How long what has nothing to do any more may take to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than calls go on, and shorter than a drain waits for them.
const LONG: Duration = Duration::from_secs(50);
/// More than calls may take that go on during a drain.
const DRAIN: Duration = Duration::from_secs(90);

/// Settings of both ends, which also count what all connections do.
#[derive(Clone, Default)]
pub(crate) struct Ends {
    near: Options,
    far: Options,
}

impl Ends {
    pub(crate) fn new(codec: RecordCodec) -> Self {
        // A slow reader is slow here, and not stalled.
        let options = || Options { codec, ..Options::default() };
        Self { near: options(), far: options() }
    }

    pub(crate) fn stats(&self) -> (Stats, Stats) {
        (self.near.counted.stats(), self.far.counted.stats())
    }
}

pub(crate) struct Link {
    pub(crate) caller: Caller,
    far: Caller,
    drivers: Mutex<Vec<JoinHandle<Result<(), Error>>>>,
    cut: AtomicBool,
    draining: AtomicBool,
    served: Arc<Served>,
}

impl Link {
    pub(crate) fn open(near: BoxIo, far: BoxIo, ends: Ends, served: Arc<Served>) -> Arc<Self> {
        let (ours, theirs) = (ends.near.settings.clone(), ends.far.settings.clone());
        let serving = served.clone();
        let handler = move |call: Incoming| serve(call, serving.clone());
        let (caller, client) = Driver::new(Role::Client, near, ends.near, theirs, NoCalls);
        let (far, server) = Driver::new(Role::Server, far, ends.far, ours, handler);
        let drivers = Mutex::new(vec![tokio::spawn(client), tokio::spawn(server)]);
        Arc::new(Self { caller, far, drivers, cut: false.into(), draining: false.into(), served })
    }

    /// It is about to be cut: from here on its calls may fail.
    pub(crate) fn will_be_cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// Whether calls that were not begun may be sent back.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Takes no more calls, by the will of either end, and ends well when those that run are over.
    pub(crate) async fn drained(&self, by_server: bool) -> Result<(), String> {
        self.draining.store(true, Ordering::SeqCst);
        let asking = if by_server { &self.far } else { &self.caller };
        asking.drain();
        let (mut ended, mut left) = (Box::pin(self.ended(DRAIN)), String::new());
        let outcomes = match timeout(LONG, &mut ended).await {
            Ok(outcomes) => outcomes?,
            Err(_) => {
                let (near, far, oldest) = (self.caller.streams(), self.far.streams(), self.served.oldest());
                left = format!("; after {LONG:?}: {near} and {far} streams, the oldest handler of {oldest:?}");
                ended.await?
            }
        };
        for ended in outcomes {
            if let Err(error) = ended
                && !self.is_cut()
            {
                return Err(format!("a connection that drained ended with an error: {error}{left}"));
            }
        }
        self.empty().await
    }

    /// Ends, as it was cut, and leaves nothing.
    pub(crate) async fn buried(&self) -> Result<(), String> {
        self.ended(PATIENCE).await?;
        self.empty().await
    }

    /// With no calls, has no stream and all its credit.
    pub(crate) async fn balanced(&self) -> Result<(), String> {
        self.empty().await?;
        sleep(Duration::from_secs(1)).await; // Credit that is on its way arrives.
        let (near, far) = (self.caller.balance(), self.far.balance());
        let even = (near.unread, far.unread) == (0, 0) && near.credit == far.granted && far.credit == near.granted;
        if even {
            Ok(())
        } else {
            Err(format!("credit was lost or made: {near:?} at the client, {far:?} at the server"))
        }
    }

    async fn ended(&self, patience: Duration) -> Result<Vec<Result<(), Error>>, String> {
        let drivers = std::mem::take(&mut *self.drivers.lock().unwrap_or_else(PoisonError::into_inner));
        let mut outcomes = Vec::new();
        for (driver, end) in drivers.into_iter().zip(["client", "server"]) {
            let outcome = timeout(patience, driver).await;
            let outcome = outcome.map_err(|_| format!("the {end} of a connection did not end within {patience:?}"))?;
            outcomes.push(outcome.map_err(|panic| format!("the {end} of a connection panicked: {panic}"))?);
        }
        Ok(outcomes)
    }

    async fn empty(&self) -> Result<(), String> {
        let none = async {
            while self.caller.streams() + self.far.streams() > 0 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let left = |_| {
            let (near, far) = (self.caller.streams(), self.far.streams());
            format!("streams are left of a connection without calls: {near} at the client, {far} at the server")
        };
        timeout(PATIENCE, none).await.map_err(left)
    }
}
