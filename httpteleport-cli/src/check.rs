//! `httptp check FILE`: whether the program could start as the file says, and the environment.
//!
//! What is wrong with the file itself is found as at a start. Then all that a start needs is tried: files, folders, and addresses
//! of this machine, apart from who has their ports now. What a start only warns of, such as upstreams that are not there yet, is a warning here
//! as well. Nothing is made, opened or connected to.

use std::sync::Arc;

use crate::cli::Checked;
use crate::config::{ConfigFile, Group, Listener, Loaded, Located, Part, Process, Settings};
use crate::discover::{self, Known};
use crate::listen::{self, Given};
use crate::metrics::Metrics;
use crate::metrics::recent::Recent;
use crate::overlap::{self, Open};
use crate::shutdown::Shutdown;
use crate::spans::Spans;
use crate::{acme, admin, groups, threads};

/// Parts of the settings, and lines on them that begin with an option.
type Told = Vec<(Part, String)>;

/// Reads the file and tries what it and the environment say: the settings, and what a start would warn of, each a line that says where.
///
/// # Errors
///
/// All that is wrong, each a line that says where.
pub(crate) fn run(checked: &Checked) -> Result<(Settings, Vec<String>), Vec<String>> {
    let (settings, warnings) = all_of(&checked.config).map_err(|lines| checked.told(lines))?;
    let warnings = checked.told(warnings).into_iter().chain(checked.idle.iter().cloned()).collect();
    Ok((settings, warnings))
}

fn all_of(config: &ConfigFile) -> Result<(Settings, Vec<String>), Vec<String>> {
    let Loaded { settings, located, of_files } = config.load_all()?;
    let none = |error: anyhow::Error| located.told(vec![(Part::Process, format!("{error:#}"))]);
    let runtime = threads::runtime(settings.process.threads).map_err(none)?;
    let (faults, missing) = runtime.block_on(look(&settings, &located));
    let homeless = runtime.block_on(overlap::of_usual_admin(&settings, &Given::default(), Some(&located)));
    // A look-up that was given up may still wait for its answer.
    runtime.shutdown_background();
    if !faults.is_empty() || !of_files.is_empty() {
        return Err(located.told_with(of_files, faults));
    }
    let warnings = settings.idle_options.iter().cloned().chain(located.told(missing)).chain(homeless).collect();
    Ok((settings, warnings))
}

/// What is wrong, and what there is not as yet.
async fn look(settings: &Settings, located: &Located) -> (Told, Told) {
    let mut faults: Vec<_> = process(&settings.process).await.into_iter().map(|line| (Part::Process, line)).collect();
    for (index, of_listener) in settings.listeners.iter().enumerate() {
        faults.extend(listener(of_listener).await.into_iter().map(|line| (Part::Listener(index), line)));
    }
    faults.extend(overlap::find(settings, &Open::default(), Some(located)).await);
    let (wrong, missing) = all_groups(settings).await;
    faults.extend(wrong);
    (faults, missing)
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

/// What is wrong with the sources of all groups, each by itself, and what of them is not there.
async fn all_groups(settings: &Settings) -> (Told, Told) {
    let shutdown = Shutdown::new();
    let metrics = Arc::new(Metrics::new(&settings.process, Arc::<Recent>::default(), None, None, shutdown.clone()));
    let (mut wrong, mut missing, mut searches) = (Vec::new(), Vec::new(), Vec::new());
    for (index, group) in settings.groups.iter().enumerate() {
        for source in &group.sources {
            let group = Group { sources: vec![source.clone()], ..group.clone() };
            match groups::make(settings, &group, &Known::default(), &shutdown, &metrics) {
                Ok(made) => {
                    missing.extend(made.missing.into_iter().map(|line| (Part::Group(index), line)));
                    searches.push((index, made.search));
                }
                Err(error) => wrong.push((Part::Group(index), format!("{error:#}"))),
            }
        }
    }
    for (index, found) in discover::begin(searches).await {
        match found {
            Ok(lines) => missing.extend(lines.into_iter().map(|line| (Part::Group(index), line))),
            Err(error) => wrong.push((Part::Group(index), format!("{error:#}"))),
        }
    }
    // What is wrong with a group's options is found with each of its sources.
    wrong.dedup();
    (wrong, missing)
}
