//! What a row's connections weigh: memory that is resident, before them, when they are idle, after work.

use super::pair::{Far, Resident};
use super::{Memory, PerConnection};
use crate::rows::{Row, Weigh};
use crate::system;

/// Memory at one time, of this process and of the server's, if that is another.
#[derive(Clone, Copy)]
struct Look {
    here: Resident,
    far: Option<Resident>,
}

impl Look {
    fn take(far: &mut dyn Far) -> anyhow::Result<Self> {
        let here = Resident { now: system::resident()?, peak: system::resident_peak()? };
        Ok(Self { here, far: far.resident()? })
    }

    fn now(self) -> u64 {
        self.here.now + self.far.map_or(0, |far| far.now)
    }

    fn peak(self) -> u64 {
        self.here.peak + self.far.map_or(0, |far| far.peak)
    }
}

/// What was resident before the connections of a row were opened, and when they were.
pub(super) struct Weight {
    connections: Option<usize>,
    before: Look,
    idle: Look,
}

impl Weight {
    /// Looks before anything is opened; `None` of a row whose memory is not looked at.
    pub(super) fn before(row: &Row, far: &mut dyn Far) -> anyhow::Result<Option<Self>> {
        let connections = match row.weigh {
            Weigh::No => return Ok(None),
            Weigh::Peak => None,
            Weigh::Connections => Some(row.clients * row.connections),
        };
        let before = Look::take(far)?;
        Ok(Some(Self { connections, before, idle: before }))
    }

    /// Looks when every connection is open and idle.
    pub(super) fn opened(&mut self, far: &mut dyn Far) -> anyhow::Result<()> {
        self.idle = Look::take(far)?;
        Ok(())
    }

    /// Looks after a round.
    pub(super) fn after(&self, far: &mut dyn Far) -> anyhow::Result<Memory> {
        let now = Look::take(far)?;
        let each = self.connections.map(|connections| {
            let share = |now: u64, before: u64| now.saturating_sub(before) as f64 / connections as f64;
            PerConnection {
                idle: share(self.idle.now(), self.before.now()),
                active: share(now.now(), self.before.now()),
                idle_client: now.far.map(|_| share(self.idle.here.now, self.before.here.now)),
            }
        });
        Ok(Memory { peak: now.peak() as f64, each })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Usage;
    use crate::rows::Carried;

    /// A server whose memory is what the test says.
    struct Says(u64);

    impl Far for Says {
        fn usage(&mut self) -> anyhow::Result<Usage> {
            Ok(Usage::default())
        }

        fn resident(&mut self) -> anyhow::Result<Option<Resident>> {
            Ok(Some(Resident { now: self.0, peak: 2 * self.0 }))
        }
    }

    #[test]
    fn each_connection_weighs_its_share_of_both_processes() {
        let row = Row { weigh: Weigh::Connections, clients: 10, connections: 1, ..Row::new(Carried::Http, "", 10) };
        let mut weight = Weight::before(&row, &mut Says(1 << 30)).expect("memory").expect("weighed");
        weight.opened(&mut Says(3 << 30)).expect("memory");
        let memory = weight.after(&mut Says(11 << 30)).expect("memory");
        let each = memory.each.expect("about connections");
        let gib = |bytes: f64| (bytes * 10.0 / f64::from(1 << 30)).round();
        assert_eq!((gib(each.idle), gib(each.active), each.idle_client.map(gib)), (2.0, 10.0, Some(0.0)));
        assert!(memory.peak > f64::from(1 << 30) * 22.0);
        let plain = Row { weigh: Weigh::No, ..row };
        assert!(Weight::before(&plain, &mut Says(0)).expect("nothing to look at").is_none());
    }
}
