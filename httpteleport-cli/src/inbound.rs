//! Inputs: what accepts requests, whatever they come over, and hands them to the router.

use std::sync::Arc;

use httpteleport::Server;
use rustls::ServerConfig;
use tokio::sync::Semaphore;

use self::door::Door;
use self::gate::Gate;
use crate::config::{self, Largest};
use crate::counters::Counters;
use crate::listen::{Accepted, Listener};
use crate::metrics::traffic;
use crate::router::Router;
use crate::shutdown::Shutdown;

mod door;
mod exchange;
mod gate;
mod http;
mod http1;
mod http2;
mod proxy_header;
mod rest;
mod teleport;
mod upgrade;
mod upload;

/// One input, whose port is open; nothing is accepted yet.
pub(crate) struct Input {
    listener: Listener,
    door: Arc<Door>,
    service: Service,
    /// One permit a connection.
    connections: Arc<Semaphore>,
    traffic: Arc<traffic::Input>,
    /// Ends the accepting; every connection's task is spawned on it.
    shutdown: Shutdown,
}

/// What an input does with its connections.
#[derive(Clone)]
enum Service {
    Http(Arc<http::Shared>),
    Teleport(Arc<teleport::Shared>),
}

/// What holds for all inputs of a process.
#[derive(Clone, Copy)]
struct Bounds {
    concurrency: usize,
    largest: Largest,
}

/// What an input needs beside its settings.
pub(crate) struct Parts {
    /// Bound already.
    pub(crate) listener: Listener,
    /// There exactly when the input's scheme asks for TLS.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Where the requests go.
    pub(crate) router: Router,
    /// Most connections, and most requests at a time.
    pub(crate) concurrency: usize,
    /// What passes anywhere in this process.
    pub(crate) largest: Largest,
    /// The process's.
    pub(crate) counters: Arc<Counters>,
    /// The input's own.
    pub(crate) traffic: Arc<traffic::Input>,
    /// Ends it.
    pub(crate) shutdown: Shutdown,
}

impl Input {
    /// An input made of its parts.
    ///
    /// # Errors
    ///
    /// Its settings cannot be served.
    pub(crate) fn new(settings: &config::Listener, parts: Parts) -> anyhow::Result<Input> {
        let Parts { listener, tls, router, concurrency, largest, counters, traffic, shutdown } = parts;
        let gate = Gate::new(settings, Arc::clone(&counters), Arc::clone(&traffic));
        let service = if settings.endpoint.scheme.is_teleport() {
            let own_address = listener.local_addr();
            let bounds = Bounds { concurrency, largest };
            Service::Teleport(Arc::new(teleport::Shared::new(settings, tls, gate, router, bounds, own_address)?))
        } else {
            Service::Http(Arc::new(http::Shared::new(settings, tls, gate, router, shutdown.clone())))
        };
        let connections = Arc::new(Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS)));
        let door = Arc::new(Door::new(settings, counters));
        Ok(Input { listener, door, service, connections, traffic, shutdown })
    }

    /// Where it listens.
    pub(crate) fn listener(&self) -> &Listener {
        &self.listener
    }

    /// What serves its connections, if they speak teleport.
    pub(crate) fn server(&self) -> Option<Server> {
        match &self.service {
            Service::Http(_) => None,
            Service::Teleport(shared) => Some(shared.server().clone()),
        }
    }

    /// Accepts connections until draining begins, then returns and closes the port. What runs on them goes on, as tasks of
    /// the shutdown.
    pub(crate) async fn serve(self) {
        let accept = async {
            loop {
                // The system queues what comes beyond the limit.
                let permit = Arc::clone(&self.connections).acquire_owned().await;
                let accepted = self.listener.accept(&self.traffic.accept_errors).await;
                let open = self.traffic.accepted();
                let Some(accepted) = self.door.open(accepted) else { continue };
                let (door, service) = (Arc::clone(&self.door), self.service.clone());
                self.shutdown.spawn(async move {
                    if let Some(accepted) = door.identify(accepted).await {
                        service.connection(accepted).await;
                    }
                    drop((permit, open));
                });
            }
        };
        tokio::select! {
            () = accept => {}
            () = self.shutdown.begun() => self.service.drain(),
        }
    }
}

impl Service {
    async fn connection(self, accepted: Accepted) {
        match self {
            Service::Http(shared) => shared.accepted(accepted).await,
            Service::Teleport(shared) => Box::pin(shared.accepted(accepted)).await,
        }
    }

    /// The connections end when what has begun on them is done.
    fn drain(&self) {
        match self {
            // Each of them looks for itself.
            Service::Http(_) => {}
            Service::Teleport(shared) => shared.drain(),
        }
    }
}
