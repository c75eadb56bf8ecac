//! `httptp check FILE`: whether the program could start as the file says.
//!
//! What is wrong with the file itself is found as at a start. Then all that a start needs is tried: files, folders, names, and addresses
//! of this machine, apart from who has their ports now. Nothing is made, opened or connected to.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::config::{ConfigFile, Group, Listener, Located, Part, Process, Settings};
use crate::listen;
use crate::metrics::Metrics;
use crate::metrics::recent::Recent;
use crate::overlap::{self, Open};
use crate::shutdown::Shutdown;
use crate::spans::Spans;
use crate::{acme, admin, groups, threads};

/// Sources that are looked up at the same time.
const AT_ONCE: usize = 64;

/// Reads the file and tries what it says.
///
/// # Errors
///
/// All that is wrong, each a line that says where.
pub(crate) fn run(config: &ConfigFile) -> Result<Settings, Vec<String>> {
    let (settings, located) = config.load()?;
    let none = |error: anyhow::Error| located.told(vec![(Part::Process, format!("{error:#}"))]);
    let runtime = threads::runtime(settings.process.threads).map_err(none)?;
    let settings = Arc::new(settings);
    let faults = runtime.block_on(faults(&settings, &located));
    // A look-up that was given up may still wait for its answer.
    runtime.shutdown_background();
    if faults.is_empty() { Ok(Arc::unwrap_or_clone(settings)) } else { Err(located.told(faults)) }
}

async fn faults(settings: &Arc<Settings>, located: &Located) -> Vec<(Part, String)> {
    let mut faults: Vec<_> = process(&settings.process).await.into_iter().map(|line| (Part::Process, line)).collect();
    for (index, of_listener) in settings.listeners.iter().enumerate() {
        faults.extend(listener(of_listener).await.into_iter().map(|line| (Part::Listener(index), line)));
    }
    faults.extend(overlap::find(settings, &Open::default(), Some(located)).await);
    faults.extend(all_groups(settings).await);
    faults
}

async fn process(process: &Process) -> Vec<String> {
    let mut faults = match &process.admin {
        Some(admin) => admin::faults(admin).await,
        None => Vec::new(),
    };
    let handover =
        process.handover.as_deref().map(|path| listen::try_unix(path, &format!("--handover {}", path.display())));
    let spans = process.otlp.as_ref().map(|otlp| Spans::start(otlp).map(drop));
    faults.extend(handover.into_iter().chain(spans).filter_map(Result::err).map(|error| format!("{error:#}")));
    faults
}

async fn listener(listener: &Listener) -> Vec<String> {
    let place = listen::try_to(&listener.endpoint).await.err().map(|error| format!("{error:#}"));
    let acme = listener.tls.iter().filter_map(|tls| tls.acme.as_ref()).flat_map(acme::faults);
    place.into_iter().chain(acme).collect()
}

/// What is wrong with the sources of all groups, each by itself.
async fn all_groups(settings: &Arc<Settings>) -> Vec<(Part, String)> {
    let shutdown = Shutdown::new();
    let metrics = Arc::new(Metrics::new(&settings.process, Arc::<Recent>::default(), None, None, shutdown.clone()));
    let (places, mut tries) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    for (index, group) in settings.groups.iter().enumerate() {
        for source in &group.sources {
            let group = Group { sources: vec![source.clone()], ..group.clone() };
            let (settings, shutdown, metrics) = (Arc::clone(settings), shutdown.clone(), Arc::clone(&metrics));
            let places = Arc::clone(&places);
            tries.spawn(async move {
                let _place = places.acquire_owned().await;
                let opened = groups::open(&settings, &group, &shutdown, &metrics).await;
                opened.err().map(|error| (Part::Group(index), format!("{error:#}")))
            });
        }
    }
    let mut faults: Vec<_> = tries.join_all().await.into_iter().flatten().collect();
    // What is wrong with a group's options is found with each of its sources.
    faults.dedup();
    faults
}
