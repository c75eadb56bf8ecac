//! Who may connect, and who it is that does.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::proxy_header;
use crate::access::{Access, Networks};
use crate::balance::Load;
use crate::clients::{ClientLimits, Clients};
use crate::config;
use crate::counters::Counters;
use crate::listen::{Accepted, Client, Peer};

/// The door of one listener.
pub(super) struct Door {
    access: Access,
    /// Load balancers that say whom a connection is of.
    balancers: Networks,
    /// Proxies whose connections carry requests of many clients.
    carriers: Networks,
    /// Connections of each client, where they have a limit.
    clients: Option<Arc<Clients>>,
    /// How long they may take for that.
    patience: Duration,
    counters: Arc<Counters>,
}

/// A connection that was let in.
pub(super) struct Guest {
    pub(super) accepted: Accepted,
    /// Its place among those of its client, where they have a limit.
    pub(super) held: Option<Load>,
}

impl Door {
    /// The door of a listener with these settings. Connections that are there count on where clients may have as many as before.
    pub(super) fn new(settings: &config::Listener, counters: Arc<Counters>, before: Option<&Door>) -> Door {
        let limits = ClientLimits { concurrency: settings.limits.client_connections, rate: None };
        let same = before.and_then(|door| door.clients.clone()).filter(|clients| clients.limits() == limits);
        Door {
            access: settings.access.clone(),
            balancers: settings.proxy_protocol.clone(),
            carriers: settings.identity.trusted.clone(),
            clients: same.or_else(|| Clients::new(limits).map(Arc::new)),
            patience: settings.timeouts.handshake,
            counters,
        }
    }

    /// Lets the connection in, or drops it. One whose client has to be told by a load balancer first is let in.
    pub(super) fn open(&self, accepted: Accepted) -> Option<Guest> {
        self.counters.accepted.add();
        let client = accepted.client();
        let held = if self.is_balancer(client) { None } else { self.admit(client)? };
        Some(Guest { accepted, held })
    }

    /// Finds out whose connection it is, where a load balancer tells; drops it if that one may not connect.
    pub(super) async fn identify(&self, guest: Guest) -> Option<Guest> {
        let (mut stream, peer) = match guest.accepted {
            Accepted::Tcp(stream, peer) if self.is_balancer(Client::Tcp(peer.remote)) => (stream, peer),
            accepted => return Some(Guest { accepted, ..guest }),
        };
        let balancer = peer.remote;
        let ends = match timeout(self.patience, proxy_header::read(&mut stream)).await {
            Ok(Ok(ends)) => ends,
            Ok(Err(why)) => {
                self.counters.bad_proxy_header.note("connection", balancer, format_args!("closed: {why}"));
                return None;
            }
            Err(_) => {
                let became = "closed: its PROXY header did not come in time";
                self.counters.slow_handshake.note("connection", balancer, became);
                return None;
            }
        };
        let peer = ends.map_or(peer, |(remote, local)| Peer { local, remote });
        // A load balancer that looks whether this proxy lives comes for itself.
        let held = if ends.is_none() { None } else { self.admit(Client::Tcp(peer.remote))? };
        Some(Guest { accepted: Accepted::Tcp(stream, peer), held })
    }

    fn is_balancer(&self, client: Client) -> bool {
        !self.balancers.is_empty() && self.balancers.has_client(client)
    }

    /// Lets a client in, with what it has to hold for that; or `None`.
    fn admit(&self, client: Client) -> Option<Option<Load>> {
        if !self.admits(client) {
            return None;
        }
        let limited = self.clients.as_ref().filter(|_| self.carriers.is_empty() || !self.carriers.has_client(client));
        let Some(clients) = limited else { return Some(None) };
        let held = clients.admit(client, Instant::now()).ok();
        if held.is_none() {
            let became = "closed: it has as many connections as --client-connections allows";
            self.counters.client_connections.note("connection", client, became);
        }
        held
    }

    fn admits(&self, client: Client) -> bool {
        let admitted = self.access.admits(client);
        if !admitted {
            self.counters.denied.note("connection", client, "closed: it is not allowed to connect");
        }
        admitted
    }
}
