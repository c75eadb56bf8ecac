//! What serves an input's teleport connections: another server whenever the input's settings change.

use std::sync::{Mutex, PoisonError};

use httpteleport::{Server, Stats};

/// The servers of one input.
#[derive(Default)]
pub(crate) struct Servers(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// The last one serves, those before it have connections still.
    servers: Vec<Server>,
    /// Of those that have none any more.
    over: Option<Stats>,
}

impl Servers {
    /// This one serves from now on.
    pub(crate) fn add(&self, server: Option<&Server>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.servers.extend(server.cloned());
        known.forget();
    }

    /// What all of them have done; none if there was never one.
    pub(crate) fn stats(&self) -> Option<Stats> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.forget();
        let there = known.servers.iter().map(Server::stats);
        there.chain(known.over).reduce(|sum, stats| sum + stats)
    }
}

impl Known {
    /// Keeps the sums of those before the last whose connections have all ended.
    fn forget(&mut self) {
        let Some(current) = self.servers.pop() else { return };
        let over = &mut self.over;
        self.servers.retain(|server| {
            let stats = server.stats();
            let is_over = stats.connections == stats.connections_ended && stats.pending == 0;
            if is_over {
                *over = Some(over.unwrap_or_default() + stats);
            }
            !is_over
        });
        self.servers.push(current);
    }
}

#[cfg(test)]
mod tests {
    use httpteleport::Limits;

    use super::*;

    #[test]
    fn those_whose_connections_have_ended_are_forgotten_but_for_their_sums() {
        let servers = Servers::default();
        assert_eq!(servers.stats(), None);
        for _ in 0..100 {
            servers.add(Some(&Server::builder(Limits::default()).build().expect("fine")));
        }
        assert_eq!(servers.stats(), Some(Stats::default()));
        assert_eq!(servers.0.lock().expect("no panic").servers.len(), 1);
    }
}
