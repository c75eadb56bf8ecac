//! What runs: inputs, groups of upstreams, and how both become others while requests go on.

use std::sync::Arc;

use anyhow::bail;
use httpteleport::Wire;
use tokio::task::JoinSet;

use crate::access_log::AccessLog;
use crate::acme::{Manager, Tokens};
use crate::announced;
use crate::compress::Compress;
use crate::config::{self, Largest, Located, Part, Settings};
use crate::discover::{self, Known};
use crate::endpoint::Scheme;
use crate::groups;
use crate::inbound::{House, Input, Parts};
use crate::listen::{Given, InUse, Listener};
use crate::listening::Listening;
use crate::metrics::certificates::Certificates;
use crate::metrics::recent::Recent;
use crate::metrics::{GroupSource, InputSource, Metrics, Sources};
use crate::open_files;
use crate::overlap;
use crate::proxy::Proxy;
use crate::router::Router;
use crate::shutdown::Shutdown;
use crate::spans::Spans;
use crate::tls::{self, Digest};

/// A running process. Dropped, it goes on until its shutdown begins.
pub(crate) struct Running {
    settings: Settings,
    /// In the order of the settings.
    inputs: Vec<Live>,
    /// Likewise.
    groups: Vec<Arc<Proxy>>,
    metrics: Arc<Metrics>,
    /// Where connections of clients have their places.
    house: Arc<House>,
    /// What was not found when they were made, each a line that begins with an option.
    missing: Vec<(Part, String)>,
    /// What was in the files of certificates when each group was made.
    groups_files: Vec<Digest>,
    /// What orders certificates, of each listener that has none of its own.
    acme: Vec<Option<Arc<Manager>>>,
    /// What they show to authorities that ask by HTTP.
    tokens: Tokens,
    listening: Arc<Listening>,
    shutdown: Shutdown,
}

#[derive(Clone)]
struct Live {
    input: Arc<Input>,
    /// Whether it accepts.
    serves: bool,
}

impl Running {
    /// Makes everything that the settings ask for and opens the ports, or takes those that are given. Nothing is accepted yet.
    ///
    /// # Errors
    ///
    /// One line that names the option and says what to do.
    pub(crate) async fn open(
        settings: Settings,
        given: &mut Given,
        recent: Arc<Recent>,
        access_log: Option<Arc<AccessLog>>,
        spans: Option<Arc<Spans>>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Running> {
        let metrics = Metrics::new(&settings.process, recent, access_log, spans, shutdown.clone());
        let mut running = Running {
            metrics: Arc::new(metrics),
            house: Arc::new(House::new(open_files::most_clients())),
            settings: Settings::empty(settings.process.clone()),
            inputs: Vec::new(),
            groups: Vec::new(),
            missing: Vec::new(),
            groups_files: Vec::new(),
            acme: Vec::new(),
            tokens: Tokens::default(),
            listening: Arc::default(),
            shutdown: shutdown.clone(),
        };
        running.apply(settings, given).await?;
        Ok(running)
    }

    /// Does as these settings say from now on. Ports that stay are kept open, and so are upstreams that stay as they are; inputs
    /// that are not among them drain.
    ///
    /// # Errors
    ///
    /// One line that names the option and says what to do. Nothing has changed then.
    pub(crate) async fn change(&mut self, settings: Settings) -> anyhow::Result<()> {
        self.apply(settings, &mut Given::default()).await
    }

    /// Has the files of unix sockets that others have made be as the settings say.
    ///
    /// # Errors
    ///
    /// One line that begins with `--in URL`: the system does not let it.
    pub(crate) fn set_modes(&self) -> anyhow::Result<()> {
        let mut inputs = self.inputs().zip(&self.settings.listeners);
        inputs.try_for_each(|(input, settings)| input.listener().keep_to(&settings.endpoint, settings.sharing))
    }

    async fn apply(&mut self, settings: Settings, given: &mut Given) -> anyhow::Result<()> {
        let files: Vec<_> = settings.groups.iter().map(|group| tls::digest(group.tls.files())).collect();
        let (groups, missing) = self.groups_of(&settings, &files).await?;
        let acme = self.acme_of(&settings)?;
        let (mut inputs, mut changes, mut modes) = (Vec::<Live>::new(), Vec::new(), Vec::new());
        for (index, listener) in settings.listeners.iter().enumerate() {
            let parts = self.parts(index, acme[index].clone(), &settings, &groups)?;
            if let Some(kept) = self.kept(listener, &inputs) {
                changes.push((Arc::clone(&kept.input), kept.input.prepare(listener, parts)?));
                modes.push((Arc::clone(&kept.input), listener));
                inputs.push(kept);
            } else {
                let socket = self.listen(listener, given).await?;
                let input = Arc::new(Input::new(socket, listener, parts, self.shutdown.part())?);
                inputs.push(Live { input, serves: false });
            }
        }
        // The last that can fail, as files know no other way back than another change.
        for (input, listener) in modes {
            input.listener().keep_to(&listener.endpoint, listener.sharing)?;
        }
        // From here on nothing can fail.
        for (input, change) in changes {
            input.change(change);
        }
        let stays = |old: &Live| inputs.iter().any(|new| Arc::ptr_eq(&new.input, &old.input));
        for gone in self.inputs.iter().filter(|old| !stays(old)) {
            gone.input.retire();
        }
        (self.inputs, self.groups, self.groups_files) = (inputs, groups, files);
        (self.acme, self.settings, self.missing) = (acme, settings, missing);
        self.metrics.follow(self.sources());
        self.listening.follow(self.inputs().cloned().collect());
        Ok(())
    }

    /// Opens the listener's port. Where this process itself listens there already, at another address, the error says that.
    async fn listen(&self, listener: &config::Listener, given: &mut Given) -> anyhow::Result<Listener> {
        let endpoint = &listener.endpoint;
        let error = match Listener::open(endpoint, listener.sharing, given).await {
            Err(error) if error.is::<InUse>() => error,
            opened => return opened,
        };
        let own: Vec<_> = self.inputs().flat_map(|input| input.listener().places()).collect();
        let Some(own) = overlap::in_the_way(&endpoint.address, &own).await else { return Err(error) };
        bail!(
            "--in {endpoint}: this program itself listens at {own}, and a port cannot go from one address to another in one step; \
             go by way of another port, or restart it"
        )
    }

    /// What is counted where.
    fn sources(&self) -> Sources {
        let input = |((input, acme), settings): ((&Arc<Input>, &Option<Arc<Manager>>), &config::Listener)| {
            let (traffic, servers) = input.counts();
            let pairs = settings.tls.iter().flat_map(|tls| &tls.pairs);
            let certificates = Certificates::new(pairs, acme.clone());
            InputSource { name: input.listener().describe(&settings.endpoint), traffic, servers, certificates }
        };
        let group = |(proxy, settings): (&Arc<Proxy>, &config::Group)| GroupSource {
            name: settings.name.clone(),
            proxy: Arc::clone(proxy),
            certificates: Certificates::new(&settings.tls.pair, None),
        };
        Sources {
            inputs: self.inputs().zip(&self.acme).zip(&self.settings.listeners).map(input).collect(),
            groups: self.groups.iter().zip(&self.settings.groups).map(group).collect(),
        }
    }

    /// The groups of these settings, and what is not found of them: those that stay as they are, and so do their certificates, keep their
    /// connections.
    async fn groups_of(
        &self,
        settings: &Settings,
        files: &[Digest],
    ) -> anyhow::Result<(Vec<Arc<Proxy>>, Vec<(Part, String)>)> {
        let same_demand = self.demand() == demand(settings);
        let (mut groups, mut searches) = (Vec::with_capacity(settings.groups.len()), Vec::new());
        let mut missing = Vec::new();
        for (index, (group, files)) in settings.groups.iter().zip(files).enumerate() {
            let mut known = self.settings.groups.iter().zip(&self.groups_files);
            let same = known.position(|(old, had)| same_demand && old == group && had == files);
            groups.push(match same {
                Some(index) => Arc::clone(&self.groups[index]),
                None => {
                    let made = groups::make(settings, group, &self.known(group), &self.shutdown, &self.metrics)?;
                    missing.extend(made.missing.into_iter().map(|line| (Part::Group(index), line)));
                    searches.push((index, made.search));
                    Arc::new(made.proxy)
                }
            });
        }
        for (index, found) in discover::begin(searches).await {
            missing.extend(found?.into_iter().map(|line| (Part::Group(index), line)));
        }
        Ok((groups, missing))
    }

    /// What the group of before of that name has found.
    fn known(&self, group: &config::Group) -> Known {
        let old = self.settings.groups.iter().position(|old| old.name == group.name);
        old.map(|index| self.groups[index].upstreams().known()).unwrap_or_default()
    }

    /// What orders certificates by these settings; those who do that already go on.
    fn acme_of(&self, settings: &Settings) -> anyhow::Result<Vec<Option<Arc<Manager>>>> {
        let mut all = Vec::<Option<Arc<Manager>>>::new();
        for listener in &settings.listeners {
            let wanted = listener.tls.as_ref().and_then(|tls| tls.acme.as_ref());
            let there = |wanted| self.acme.iter().chain(&all).flatten().find(|one| one.has(wanted)).cloned();
            let start = |wanted| Manager::new(wanted, &self.tokens, &self.metrics.orders).map(Arc::new);
            let one = wanted.map(|wanted| there(wanted).map_or_else(|| start(wanted), Ok));
            all.push(one.transpose()?);
        }
        Ok(all)
    }

    fn demand(&self) -> (Largest, usize) {
        demand(&self.settings)
    }

    fn parts(
        &self,
        index: usize,
        acme: Option<Arc<Manager>>,
        settings: &Settings,
        groups: &[Arc<Proxy>],
    ) -> anyhow::Result<Parts> {
        let listener = &settings.listeners[index];
        let ordered = || acme.as_ref().map(|acme| acme.resolver());
        let http = listener.endpoint.scheme == Scheme::Https;
        Ok(Parts {
            tls: listener.tls.as_ref().map(|identity| tls::server_config(identity, ordered(), http)).transpose()?,
            acme,
            tokens: (listener.endpoint.scheme == Scheme::Http).then(|| self.tokens.clone()),
            router: Router::new(index, &settings.routes, groups, Arc::clone(&self.metrics.slots)),
            concurrency: settings.process.concurrency,
            house: Arc::clone(&self.house),
            largest: settings.largest(),
            contexts: self.metrics.contexts.clone(),
            counters: Arc::clone(&self.metrics.counters),
            access_log: self.metrics.access_log.clone(),
            spans: self.metrics.spans.clone(),
        })
    }

    /// The input that listens where this one should, unless another one has it already.
    fn kept(&self, listener: &config::Listener, taken: &[Live]) -> Option<Live> {
        let same = |old: &config::Listener| {
            old.endpoint.address == listener.endpoint.address && old.sharing.reuse_port == listener.sharing.reuse_port
        };
        let free = |live: &Live| !taken.iter().any(|other| Arc::ptr_eq(&other.input, &live.input));
        let inputs = self.settings.listeners.iter().zip(&self.inputs);
        inputs.filter(|(old, live)| same(old) && free(live)).map(|(_, live)| live.clone()).next()
    }

    /// Lets those inputs accept that do not yet, and orders certificates for them.
    pub(crate) fn serve(&mut self) {
        for acme in self.acme.iter().flatten() {
            acme.begin(&self.shutdown);
        }
        for live in self.inputs.iter_mut().filter(|live| !live.serves) {
            live.serves = true;
            // Waited for, as its end removes a socket's file.
            self.shutdown.spawn(Arc::clone(&live.input).serve());
        }
    }

    /// Lets go of the inputs, so that each closes its port as soon as it stops accepting.
    pub(crate) fn let_go(&mut self) {
        self.inputs.clear();
        self.listening.clear();
    }

    /// What it listens on, as long as it does.
    pub(crate) fn listening(&self) -> &Arc<Listening> {
        &self.listening
    }

    /// The inputs, in the order of the settings.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &Arc<Input>> {
        self.inputs.iter().map(|live| &live.input)
    }

    /// The groups, in the order of the settings.
    pub(crate) fn groups(&self) -> &[Arc<Proxy>] {
        &self.groups
    }

    /// What all of it counts.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The settings that hold.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Says what runs, in a line for each input, now that the ports are open.
    pub(crate) fn announce(&self) {
        let coded = |scheme: Scheme, how: Compress, wire: Wire| {
            if scheme.is_teleport() { format!(" ({})", how.on(wire)) } else { String::new() }
        };
        for (index, (input, listener)) in self.inputs().zip(&self.settings.listeners).enumerate() {
            let (endpoint, wire) = (&listener.endpoint, listener.teleport.wire);
            let others = input.listener().other_addresses();
            let others: String = others.iter().map(|address| format!(" and {address}")).collect();
            let from = input.listener().describe(endpoint) + &others + &coded(endpoint.scheme, listener.compress, wire);
            let ways = self.settings.ways(index);
            let to: Vec<_> = ways
                .map(|(group, out)| {
                    let coded = out.scheme().map(|scheme| coded(scheme, group.compress, group.teleport.wire));
                    format!("{out}{}", coded.unwrap_or_default())
                })
                .collect();
            announced::say(&self.settings.process, &format!("{from} -> {}", to.join(", ")));
        }
        for line in &self.settings.idle_options {
            tracing::warn!("{line}");
        }
    }

    /// Says in the log which upstreams are not found as yet, in the words of the file where they stand in one.
    pub(crate) fn tell_missing(&self, file: Option<&Located>) {
        let lines = match file {
            Some(file) => file.told(self.missing.clone()),
            None => self.missing.iter().map(|(_, line)| line.clone()).collect(),
        };
        for line in lines {
            tracing::warn!("{line}");
        }
    }

    /// Says in the log which inputs are at other addresses than their names have now, in the words of the file where they stand in one.
    pub(crate) async fn tell_moved(&self, file: Option<&Located>) {
        // All at once: whoever waits for the settings to be steady does not wait for each in turn.
        let mut looks = JoinSet::new();
        for (index, (input, listener)) in self.inputs().zip(&self.settings.listeners).enumerate() {
            let (input, endpoint) = (Arc::clone(input), listener.endpoint.clone());
            looks.spawn(async move { input.listener().moved(&endpoint).await.map(|line| (index, line)) });
        }
        let mut moved: Vec<_> = looks.join_all().await.into_iter().flatten().collect();
        moved.sort_unstable();
        for (index, line) in moved {
            let lines = match file {
                Some(file) => file.told(vec![(Part::Listener(index), line)]),
                None => vec![line],
            };
            for line in lines {
                tracing::warn!("{line}");
            }
        }
    }

    /// Says in the log what was refused, at the end.
    pub(crate) fn sum_up(&self) {
        let (counted, interims) = (self.metrics.counters.to_string(), self.metrics.interims.count());
        if !counted.is_empty() {
            tracing::info!("connections and refusals: {counted}");
        }
        if interims > 0 {
            tracing::info!("{interims} interim replies of upstreams ended here");
        }
        let upstreams = self.groups.iter().flat_map(|group| group.upstreams().snapshot());
        for upstream in upstreams.filter(|upstream| upstream.failures > 0) {
            tracing::info!("{upstream}");
        }
        let unrepeated: u64 = self.groups.iter().map(|group| group.upstreams().unrepeated()).sum();
        if unrepeated > 0 {
            tracing::info!("{unrepeated} requests were not sent again, as --retry-budget was used up");
        }
    }
}

/// What groups have to be made for.
fn demand(settings: &Settings) -> (Largest, usize) {
    (settings.largest(), settings.process.concurrency)
}
