//! Inputs: what accepts requests, whatever they come over, and hands them to the router.

use std::sync::Arc;

use arc_swap::ArcSwap;
use httpteleport::{ContextMemory, Server};
use rustls::ServerConfig;

use self::activity::Activity;
use self::door::{Door, Guest};
use self::gate::Gate;
pub(crate) use self::house::House;
use self::policy::{Bodies, Current, Policy};
use self::room::Room;
use crate::access_log::AccessLog;
use crate::acme::{Manager, Tokens};
use crate::config::{self, Largest};
use crate::counters::Counters;
use crate::listen::{Accepted, Listener};
use crate::metrics::servers::Servers;
use crate::metrics::traffic;
use crate::router::Router;
use crate::seldom::Seldom;
use crate::shutdown::Shutdown;
use crate::spans::Spans;

mod activity;
mod bodiless;
mod breaks;
mod delivery;
mod door;
mod exchange;
mod farewell;
mod gate;
mod house;
mod http;
mod http1;
mod http2;
mod policy;
mod proxy_header;
mod rest;
mod room;
mod teleport;
mod upgrade;
mod upload;

pub(crate) use self::activity::Busy;

/// One input, whose port is open. What it does can change while it serves.
pub(crate) struct Input {
    listener: Listener,
    /// For connections that come.
    serving: ArcSwap<Serving>,
    /// For requests that come, on those that are there as well.
    policy: Current,
    /// What goes through it.
    traffic: Arc<traffic::Input>,
    /// What serves its teleport connections, and what did before.
    servers: Arc<Servers>,
    /// Where its connections have their places.
    room: Room,
    /// Ends the accepting; every connection's task is spawned on it.
    shutdown: Shutdown,
}

/// What an input does with connections.
struct Serving {
    /// What the input is called in logs.
    name: String,
    door: Door,
    service: Service,
}

enum Service {
    Http(Arc<http::Shared>),
    Teleport(Arc<teleport::Shared>),
}

/// What an input needs beside its settings.
pub(crate) struct Parts {
    /// There exactly when the input's scheme asks for TLS.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// What orders its certificates, if it has none of its own.
    pub(crate) acme: Option<Arc<Manager>>,
    /// What authorities ask for by HTTP in clear text, if that is what it speaks.
    pub(crate) tokens: Option<Tokens>,
    /// Where the requests go.
    pub(crate) router: Router,
    /// Most connections, and most requests at a time.
    pub(crate) concurrency: usize,
    /// Where all connections of the process have their places.
    pub(crate) house: Arc<House>,
    /// What passes anywhere in this process.
    pub(crate) largest: Largest,
    /// What contexts of compression may take, anywhere in this process.
    pub(crate) contexts: ContextMemory,
    /// The process's.
    pub(crate) counters: Arc<Counters>,
    /// Likewise.
    pub(crate) access_log: Option<Arc<AccessLog>>,
    /// Likewise.
    pub(crate) spans: Option<Arc<Spans>>,
}

/// What an input is to do from now on.
pub(crate) struct Change {
    serving: Arc<Serving>,
    policy: Arc<Policy>,
}

impl Input {
    /// An input at a port that is open. Nothing is accepted yet.
    ///
    /// # Errors
    ///
    /// Its settings cannot be served.
    pub(crate) fn new(
        listener: Listener,
        settings: &config::Listener,
        parts: Parts,
        shutdown: Shutdown,
    ) -> anyhow::Result<Input> {
        let policy = Arc::new(ArcSwap::new(Arc::new(policy(settings, &parts, None))));
        let traffic = Arc::<traffic::Input>::default();
        let room = Room::new(parts.concurrency, Arc::clone(&parts.house), Arc::clone(&traffic));
        let serving = serving(&listener, settings, parts, (&policy, None), &traffic, &shutdown)?;
        let servers = Arc::<Servers>::default();
        servers.add(serving.service.server());
        let serving = ArcSwap::new(Arc::new(serving));
        Ok(Input { listener, serving, policy, traffic, servers, room, shutdown })
    }

    /// Prepares other settings for it.
    ///
    /// # Errors
    ///
    /// They cannot be served.
    pub(crate) fn prepare(&self, settings: &config::Listener, parts: Parts) -> anyhow::Result<Change> {
        let policy = Arc::new(policy(settings, &parts, Some(&self.policy.load().gate)));
        let before = self.serving.load();
        let known = (&self.policy, Some(&before.door));
        let serving = serving(&self.listener, settings, parts, known, &self.traffic, &self.shutdown)?;
        Ok(Change { serving: Arc::new(serving), policy })
    }

    /// Keeps to other settings from now on: all requests to what is said of requests, and connections that come to the rest.
    pub(crate) fn change(&self, change: Change) {
        self.policy.store(change.policy);
        self.servers.add(change.serving.service.server());
        self.serving.store(change.serving);
    }

    /// Where it listens.
    pub(crate) fn listener(&self) -> &Listener {
        &self.listener
    }

    /// What goes through it, and over its teleport connections.
    pub(crate) fn counts(&self) -> (Arc<traffic::Input>, Arc<Servers>) {
        (Arc::clone(&self.traffic), Arc::clone(&self.servers))
    }

    /// Ends the accepting, and every connection when what runs on it is done.
    pub(crate) fn retire(&self) {
        self.shutdown.begin();
    }

    /// Accepts connections until draining begins, then returns. What runs on them goes on, as tasks of the shutdown.
    pub(crate) async fn serve(self: Arc<Self>) {
        let failures = Seldom::default();
        loop {
            // The system queues what comes beyond the limit.
            let next = async {
                let permit = self.room.place(&self.serving.load().name, self.listener.client_waits()).await;
                let shortage = || self.room.make_room_for_files();
                (permit, self.listener.accept(&self.traffic.accept_errors, &failures, shortage).await)
            };
            let (permit, accepted) = tokio::select! {
                next = next => next,
                () = self.shutdown.begun() => return,
            };
            let open = self.traffic.accepted();
            let serving = self.serving.load_full();
            let Some(guest) = serving.door.open(accepted) else { continue };
            let of_house = tokio::select! {
                permit = self.room.house_place(&serving.name) => Some(permit),
                // Whoever was accepted is served.
                () = self.shutdown.begun() => None,
            };
            let place = self.room.take(permit, of_house);
            self.shutdown.spawn(async move {
                let known = tokio::select! {
                    biased;
                    known = serving.door.identify(guest) => known,
                    () = place.activity.asked() => None,
                };
                if let Some(Guest { accepted, held }) = known {
                    serving.service.connection(accepted, &place.activity).await;
                    drop(held);
                }
                drop((place, open));
            });
        }
    }
}

fn policy(settings: &config::Listener, parts: &Parts, before: Option<&Gate>) -> Policy {
    Policy {
        gate: Gate::new(settings, Arc::clone(&parts.counters), before),
        router: parts.router.clone(),
        bodies: Bodies {
            most: settings.limits.max_body_size,
            patience: settings.timeouts.body,
            most_trailers: settings.limits.max_header_size,
        },
    }
}

fn serving(
    listener: &Listener,
    settings: &config::Listener,
    parts: Parts,
    (policy, before): (&Current, Option<&Door>),
    traffic: &Arc<traffic::Input>,
    shutdown: &Shutdown,
) -> anyhow::Result<Serving> {
    let name = listener.describe(&settings.endpoint);
    let door = Door::new(settings, Arc::clone(&parts.counters), before);
    let (policy, traffic, shutdown) = (Arc::clone(policy), Arc::clone(traffic), shutdown.clone());
    let service = if settings.endpoint.scheme.is_teleport() {
        Service::Teleport(Arc::new(teleport::Shared::new(
            settings,
            parts,
            listener.local_addr(),
            policy,
            traffic,
            shutdown,
        )?))
    } else {
        Service::Http(Arc::new(http::Shared::new(settings, parts, policy, traffic, shutdown)))
    };
    Ok(Serving { name, door, service })
}

impl Service {
    /// What serves its connections, if they speak teleport.
    fn server(&self) -> Option<&Server> {
        match self {
            Service::Http(_) => None,
            Service::Teleport(shared) => Some(shared.server()),
        }
    }

    /// Serves one connection to its end.
    async fn connection(&self, accepted: Accepted, activity: &Arc<Activity>) {
        match self {
            Service::Http(shared) => Arc::clone(shared).accepted(accepted, activity).await,
            Service::Teleport(shared) => Box::pin(shared.accepted(accepted, activity)).await,
        }
    }
}
