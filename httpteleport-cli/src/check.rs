//! `httptp check FILE`: whether the program could start as the file says, and the environment.
//!
//! What is wrong with the file itself is found as at a start. Then all that a start needs is tried: files, folders, and addresses
//! of this machine, apart from who has their ports now. What a start only warns of, such as upstreams that are not there yet, is a warning here
//! as well. Nothing is made, opened or connected to.

use std::sync::Arc;

use crate::cli::Checked;
use crate::config::{ClientTls, ConfigFile, Draft, Group, Listener, Located, Part, Process, Settings};
use crate::discover::{self, Known};
use crate::listen::{self, Given};
use crate::metrics::Metrics;
use crate::metrics::recent::Recent;
use crate::overlap::{self, Open};
use crate::shutdown::Shutdown;
use crate::spans::Spans;
use crate::{acme, admin, groups, threads, tls};

/// Parts of the settings, and lines on them that begin with an option.
pub(crate) type Told = Vec<(Part, String)>;

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
    let draft = config.read()?;
    let ((faults, missing), homeless) = try_all(&draft);
    let lines = draft.told(faults);
    if !lines.is_empty() {
        return Err(lines);
    }
    let Draft { settings, located, .. } = draft;
    let warnings = settings.idle_options.iter().cloned().chain(located.told(missing)).chain(homeless).collect();
    Ok((settings, warnings))
}

/// Reads the file for a start, which tries the rest itself.
///
/// # Errors
///
/// The file does not say what it should: all that is wrong with it, and with what it says, each a line that says where.
pub(crate) fn load(config: &ConfigFile) -> Result<(Settings, Located), Vec<String>> {
    let draft = config.read()?;
    if draft.told(Vec::new()).is_empty() {
        return Ok((draft.settings, draft.located));
    }
    let ((faults, _), _) = try_all(&draft);
    Err(draft.told(faults))
}

/// Tries what it says, as far as that can be read: what is wrong, what there is not as yet, and a line if the usual admin address has no place.
fn try_all(draft: &Draft) -> ((Told, Told), Option<String>) {
    let Draft { settings, located, .. } = draft;
    let runtime = match threads::runtime(settings.process.threads) {
        Ok(runtime) => runtime,
        Err(error) => return ((vec![(Part::Process, format!("{error:#}"))], Vec::new()), None),
    };
    let tried = runtime.block_on(async {
        let looked = look(settings, located).await;
        (looked, overlap::of_usual_admin(settings, &Given::default(), Some(located)).await)
    });
    // A look-up that was given up may still wait for its answer.
    runtime.shutdown_background();
    tried
}

/// What is wrong, and what it takes besides: what there is not as yet, and ports that others have to open.
pub(crate) async fn look(settings: &Settings, located: &Located) -> (Told, Told) {
    let mut faults: Vec<_> = process(&settings.process).await.into_iter().map(|line| (Part::Process, line)).collect();
    for (index, of_listener) in settings.listeners.iter().enumerate() {
        faults.extend(listener(of_listener).await.into_iter().map(|line| (Part::Listener(index), line)));
    }
    faults.extend(overlap::find(settings, &Open::default(), Some(located)).await);
    let (wrong, missing) = all_groups(settings).await;
    faults.extend(wrong);
    let mut warnings = denied_ports(settings).await;
    warnings.extend(missing);
    (faults, warnings)
}

/// Listeners whose ports this user may not open.
async fn denied_ports(settings: &Settings) -> Told {
    let mut denied = Vec::new();
    for (index, Listener { endpoint, .. }) in settings.listeners.iter().enumerate() {
        if listen::is_denied(endpoint).await {
            let line = format!(
                "--in {endpoint}: this user may not open the port; a start needs CAP_NET_BIND_SERVICE, or a service manager that opens it"
            );
            denied.push((Part::Listener(index), line));
        }
    }
    denied
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
        // What is wrong with its certificates was told, and is no reason not to look at the rest.
        let is_sound = tls::client_faults(&group.tls).is_empty();
        let tls = if is_sound { group.tls.clone() } else { ClientTls::default() };
        for source in &group.sources {
            let group = Group { sources: vec![source.clone()], tls: tls.clone(), ..group.clone() };
            match groups::make(settings, &group, &Known::default(), &shutdown, &metrics) {
                Ok(made) => {
                    missing.extend(made.missing.into_iter().map(|line| (Part::Group(index), line)));
                    searches.push((index, made.search));
                }
                Err(error) => wrong.push((Part::Group(index), format!("{error:#}"))),
            }
        }
        if !is_sound && group.tls.ca.is_some() {
            // That this system trusts nobody is nothing to a group that has authorities of its own.
            wrong.retain(|(part, line)| *part != Part::Group(index) || !line.starts_with("--out-ca: "));
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
