//! Who may connect, and who it is that does.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::proxy_header;
use crate::access::{Access, Networks};
use crate::config;
use crate::counters::Counters;
use crate::listen::{Accepted, Client, Peer};
use crate::seldom::Seldom;

/// The door of one listener.
pub(super) struct Door {
    access: Access,
    /// Load balancers that say whom a connection is of.
    balancers: Networks,
    /// How long they may take for that.
    patience: Duration,
    counters: Arc<Counters>,
    /// Who can connect can cause these lines.
    turned_away: Seldom,
}

impl Door {
    pub(super) fn new(settings: &config::Listener, counters: Arc<Counters>) -> Door {
        Door {
            access: settings.access.clone(),
            balancers: settings.proxy_protocol.clone(),
            patience: settings.timeouts.handshake,
            counters,
            turned_away: Seldom::default(),
        }
    }

    /// Lets the connection in, or drops it. One whose client has to be told by a load balancer first is let in.
    pub(super) fn open(&self, accepted: Accepted) -> Option<Accepted> {
        self.counters.accepted.add();
        let client = accepted.client();
        if self.is_balancer(client) || self.admits(client) { Some(accepted) } else { None }
    }

    /// Finds out whose connection it is, where a load balancer tells; drops it if that one may not connect.
    pub(super) async fn identify(&self, accepted: Accepted) -> Option<Accepted> {
        let (mut stream, peer) = match accepted {
            Accepted::Tcp(stream, peer) if self.is_balancer(Client::Tcp(peer.remote)) => (stream, peer),
            known => return Some(known),
        };
        let balancer = peer.remote;
        let ends = match timeout(self.patience, proxy_header::read(&mut stream)).await {
            Ok(Ok(ends)) => ends,
            Ok(Err(why)) => {
                self.counters.bad_proxy_header.add();
                self.turned_away.warn(format_args!("connection of {balancer} closed: {why}"));
                return None;
            }
            Err(_) => {
                self.counters.slow_handshake.add();
                tracing::debug!("connection of {balancer} closed: its PROXY header did not come in time");
                return None;
            }
        };
        let peer = ends.map_or(peer, |(remote, local)| Peer { local, remote });
        // A load balancer that looks whether this proxy lives comes for itself.
        let known = ends.is_none() || self.admits(Client::Tcp(peer.remote));
        known.then_some(Accepted::Tcp(stream, peer))
    }

    fn is_balancer(&self, client: Client) -> bool {
        !self.balancers.is_empty() && self.balancers.has_client(client)
    }

    fn admits(&self, client: Client) -> bool {
        let admitted = self.access.admits(client);
        if !admitted {
            self.counters.denied.add();
            self.turned_away.warn(format_args!("connection of {client} closed: it is not allowed to connect"));
        }
        admitted
    }
}
