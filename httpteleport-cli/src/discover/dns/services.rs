//! Looking up the hosts of SRV records.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::proto::rr::{RData, Record};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Dns, Found, Lack, Lacking, Lost, limited, lost};
use crate::discover::family::Families;
use crate::discover::late::Late;

/// Hosts of one SRV record that are looked up; those of the best priority, and then the largest weight, come first.
const MOST_HOSTS: usize = 1000;
/// Those that are looked up at the same time.
const AT_ONCE: usize = 16;

/// A host of an SRV record, at one of its addresses.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    /// The name of the host.
    pub(crate) host: String,
    pub(crate) priority: u16,
    pub(crate) weight: u16,
}

/// An SRV record.
struct Srv {
    /// As a whole name, with the dot at its end.
    host: String,
    port: u16,
    priority: u16,
    weight: u16,
}

/// And what was found for it.
struct Host {
    record: Srv,
    found: Result<Found<IpAddr>, Lost>,
}

impl Dns {
    /// The hosts of an SRV record, at all their addresses.
    ///
    /// # Errors
    ///
    /// One line: there are none, or none can be found now.
    pub(crate) async fn services(&self, name: &str) -> Result<Found<Service>, Lost> {
        let (records, until) = limited(async {
            let found = self.resolver.srv_lookup(name).await.map_err(|error| lost(&error))?;
            let records: Vec<_> = found.answers().iter().filter_map(srv).collect();
            Ok((records, Instant::from(found.valid_until())))
        })
        .await?;
        let hosts = self.hosts(records).await;
        let mut found = together(&hosts, until)?;
        found.late = late(&hosts).map(|families| {
            let rest = async move {
                // Their questions are asked already.
                let whole = in_order(hosts.into_iter().map(Host::whole), usize::MAX).await;
                together(&whole, until)
            };
            Late { families, rest: Box::pin(rest) }
        });
        Ok(found)
    }

    /// The addresses of the hosts, in their order.
    async fn hosts(&self, mut records: Vec<Srv>) -> Vec<Host> {
        records.sort_by_key(|record| (record.priority, std::cmp::Reverse(record.weight)));
        records.truncate(MOST_HOSTS);
        let look = |record: Srv| {
            let dns = self.clone();
            async move { Host { found: dns.addresses(&record.host).await, record } }
        };
        in_order(records.into_iter().map(look), AT_ONCE).await
    }
}

impl Srv {
    /// The host's name as people write it.
    fn name(&self) -> &str {
        self.host.trim_end_matches('.')
    }

    fn at(&self, ip: IpAddr) -> Service {
        let (address, host) = (SocketAddr::new(ip, self.port), self.name().to_owned());
        Service { address, host, priority: self.priority, weight: self.weight }
    }
}

impl Host {
    /// The same when nothing of it is late any more.
    async fn whole(mut self) -> Host {
        if let Ok(Found { late: Some(late), .. }) = self.found {
            self.found = late.rest.await;
        }
        self
    }
}

/// A record of a host that is there: a dot alone says that there is no such service.
fn srv(record: &Record) -> Option<Srv> {
    let RData::SRV(srv) = &record.data else { return None };
    let host = srv.target.to_utf8();
    let found = Srv { host, port: srv.port, priority: srv.priority, weight: srv.weight };
    (!srv.target.is_root() && srv.port != 0).then_some(found)
}

/// Of which families some hosts may still have addresses.
fn late(hosts: &[Host]) -> Option<Families> {
    let late = hosts.iter().filter_map(|host| host.found.as_ref().ok()?.late.as_ref());
    late.map(|late| late.families).reduce(Families::and)
}

/// What all hosts come to, whose records are true until then.
fn together(hosts: &[Host], until: Instant) -> Result<Found<Service>, Lost> {
    let mut all = Found { what: Vec::new(), until, is_all: true, failed: None, lacking: None, late: None };
    let mut why = Lost::new("it has no hosts", Lack::Records);
    for Host { record, found } in hosts {
        match found {
            Ok(found) => {
                all.until = all.until.min(found.until);
                all.fail(found.failed.clone().map(|failed| failed.of(&record.host)));
                all.what.extend(found.what.iter().map(|ip| record.at(*ip)));
            }
            Err(lost) => {
                all.is_all &= !lost.for_now();
                why = Lost { why: format!("{}: {}", record.name(), lost.why), ..*lost };
            }
        }
    }
    let lost = hosts.iter().filter_map(|host| Some((host.record.name(), host.found.as_ref().err()?)));
    all.lacking = Lacking::of(lost.map(|(host, lost)| (host.to_owned(), lost.why.clone())));
    if all.what.is_empty() { Err(why) } else { Ok(all) }
}

/// What they come to, in their order; so many run at the same time.
async fn in_order<F>(asked: impl Iterator<Item = F>, at_once: usize) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let (mut running, mut done) = (JoinSet::new(), Vec::new());
    for (index, one) in asked.enumerate() {
        if running.len() >= at_once {
            done.extend(running.join_next().await.and_then(Result::ok));
        }
        running.spawn(async move { (index, one.await) });
    }
    while let Some(one) = running.join_next().await {
        done.extend(one.ok());
    }
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, one)| one).collect()
}
