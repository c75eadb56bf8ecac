//! Looking names up in DNS.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Resolver, TokioResolver};
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::family::Families;
use super::search::Search;
use crate::outbound::one_line;

/// One server has so long to answer, and is asked so often.
const PATIENCE: (Duration, usize) = (Duration::from_secs(2), 2);

/// What has taken longer, whatever it waits for, has failed.
const LONGEST: Duration = Duration::from_secs(5);

const NO_ANSWER: &str = "no DNS server answers";

/// What the system knows and DNS does not is asked for again after this.
const SYSTEM_TTL: Duration = Duration::from_secs(30);

/// Hosts of one SRV record that are looked up; those of the best priority, and then the largest weight, come first.
const MOST_HOSTS: usize = 1000;
/// Those that are looked up at the same time.
const AT_ONCE: usize = 16;

/// Looks names up.
#[derive(Clone)]
pub(crate) struct Dns {
    resolver: TokioResolver,
    search: Search,
    /// Addresses of others are not asked for.
    families: Families,
    /// Whether this machine's own ways of finding a name count as well.
    system: bool,
}

/// What was found, and until when it is true.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found<T> {
    pub(crate) what: Vec<T>,
    pub(crate) until: Instant,
    /// Whether that is all: some hosts may not be found just now.
    pub(crate) is_all: bool,
    /// What could not be looked up just now of hosts that have other addresses.
    pub(crate) failed: Option<Failed>,
}

/// Addresses that may be there or not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failed {
    pub(crate) families: Families,
    /// One line.
    pub(crate) why: String,
}

/// Why nothing was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lost {
    /// One line.
    pub(crate) why: String,
    /// Whether it may be there all the same: nobody has said that it is not.
    pub(crate) for_now: bool,
}

/// A host of an SRV record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) priority: u16,
    pub(crate) weight: u16,
}

impl Dns {
    /// Asks this server, or those that this system is set up with, for addresses of these families.
    ///
    /// # Errors
    ///
    /// The system is set up with none that can be read.
    pub(crate) fn new(server: Option<SocketAddr>, families: Families) -> anyhow::Result<Dns> {
        let (config, mut options) = match server {
            Some(server) => (asking(server), ResolverOpts::default()),
            None => read_system_conf()
                .context("cannot read /etc/resolv.conf; name a DNS server with --resolver, for example 10.0.0.2:53")?,
        };
        set(&mut options, server.is_some());
        let search = Search::new(&config, options.ndots);
        let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().context("cannot look names up")?;
        Ok(Dns { resolver, search, families, system: server.is_none() })
    }

    /// The addresses of a host, those of version 4 first.
    ///
    /// # Errors
    ///
    /// One line: it has none, or they cannot be found now.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Found<IpAddr>, Lost> {
        let until = Instant::now() + LONGEST;
        let mut lost = Lost { why: "it is no name".to_owned(), for_now: false };
        for name in self.search.names(host) {
            match self.addresses_of(&name, until).await {
                Ok(found) => return Ok(found),
                // What may be there is the better reason.
                Err(why) if !lost.for_now => lost = why,
                Err(_) => {}
            }
        }
        if self.system { system(host, self.families).await.ok_or(lost) } else { Err(lost) }
    }

    /// The addresses of a name that is whole. Of which there is no answer at that time has failed.
    async fn addresses_of(&self, name: &str, until: Instant) -> Result<Found<IpAddr>, Lost> {
        let ipv4 = Families { ipv4: true, ipv6: false };
        let ipv6 = Families { ipv4: false, ipv6: true };
        let (four, six) = tokio::join!(
            self.family(name, RecordType::A, self.families.ipv4, until),
            self.family(name, RecordType::AAAA, self.families.ipv6, until)
        );
        match (four, six) {
            (Ok(mut four), Ok(six)) => {
                four.what.extend(six.what);
                four.until = four.until.min(six.until);
                Ok(four)
            }
            (Ok(found), Err(lost)) => Ok(found.without(ipv6, lost)),
            (Err(lost), Ok(found)) => Ok(found.without(ipv4, lost)),
            (Err(four), Err(six)) => Err(if six.for_now && !four.for_now { six } else { four }),
        }
    }

    /// The addresses of one family; none if they are not wanted.
    async fn family(&self, name: &str, kind: RecordType, wanted: bool, until: Instant) -> Result<Found<IpAddr>, Lost> {
        let nothing = Lost { why: "it has no such records".to_owned(), for_now: false };
        if !wanted {
            return Err(nothing);
        }
        let found = timeout_at(until, self.resolver.lookup(name, kind)).await;
        let found = found.map_err(|_| no_answer())?.map_err(|error| lost(&error))?;
        let what: Vec<_> = found.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
        let until = found.valid_until().into();
        if what.is_empty() { Err(nothing) } else { Ok(Found { what, until, is_all: true, failed: None }) }
    }

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
        let mut found = Found { what: Vec::new(), until, is_all: true, failed: None };
        let mut why = Lost { why: "it has no hosts".to_owned(), for_now: false };
        for (record, host) in hosts {
            match host {
                Ok(host) => {
                    found.until = found.until.min(host.until);
                    found.fail(host.failed.map(|failed| failed.of(&record.host)));
                    found.what.extend(host.what.into_iter().map(|ip| record.at(ip)));
                }
                Err(lost) => {
                    found.is_all &= !lost.for_now;
                    why = Lost { why: format!("{}: {}", record.host, lost.why), ..lost };
                }
            }
        }
        if found.what.is_empty() { Err(why) } else { Ok(found) }
    }

    /// The addresses of the hosts, in their order.
    async fn hosts(&self, mut records: Vec<Srv>) -> Vec<(Srv, Result<Found<IpAddr>, Lost>)> {
        records.sort_by_key(|record| (record.priority, std::cmp::Reverse(record.weight)));
        records.truncate(MOST_HOSTS);
        let mut asked = JoinSet::new();
        let mut done = Vec::with_capacity(records.len());
        for (index, record) in records.into_iter().enumerate() {
            if asked.len() >= AT_ONCE {
                done.extend(asked.join_next().await.and_then(Result::ok));
            }
            let dns = self.clone();
            asked.spawn(async move {
                let host = dns.addresses(&record.host).await;
                (index, (record, host))
            });
        }
        while let Some(host) = asked.join_next().await {
            done.extend(host.ok());
        }
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, host)| host).collect()
    }
}

impl<T> Found<T> {
    /// The same, if there is nothing else; what cannot be looked up may be there.
    fn without(mut self, families: Families, lost: Lost) -> Found<T> {
        self.fail(lost.for_now.then_some(Failed { families, why: lost.why }));
        self
    }

    /// Notes what else has failed.
    fn fail(&mut self, failed: Option<Failed>) {
        if let Some(failed) = failed {
            let before = self.failed.take().map(|before| before.families).unwrap_or_default();
            self.failed = Some(Failed { families: before.and(failed.families), ..failed });
        }
    }
}

impl Failed {
    /// The same of one host among others.
    fn of(self, host: &str) -> Failed {
        Failed { why: format!("{host}: {}", self.why), ..self }
    }
}

/// Asks this server alone.
fn asking(server: SocketAddr) -> ResolverConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    ResolverConfig::from_name_servers(vec![NameServerConfig::new(server.ip(), true, connections.into())])
}

fn set(options: &mut ResolverOpts, stated: bool) {
    (options.timeout, options.attempts) = PATIENCE;
    // Whoever asks does so when what was found is no longer true.
    options.cache_size = 0;
    if stated {
        options.use_hosts_file = ResolveHosts::Never;
    }
}

/// An SRV record.
struct Srv {
    host: String,
    port: u16,
    priority: u16,
    weight: u16,
}

impl Srv {
    fn at(&self, ip: IpAddr) -> Service {
        Service { address: SocketAddr::new(ip, self.port), priority: self.priority, weight: self.weight }
    }
}

/// A record of a host that is there: a dot alone says that there is no such service.
fn srv(record: &Record) -> Option<Srv> {
    let RData::SRV(srv) = &record.data else { return None };
    let host = srv.target.to_utf8();
    let found = Srv { host, port: srv.port, priority: srv.priority, weight: srv.weight };
    (!srv.target.is_root() && srv.port != 0).then_some(found)
}

/// What an error means for whoever reads the log.
fn lost(error: &NetError) -> Lost {
    let (why, for_now) = match error {
        NetError::Timeout | NetError::NoConnections => (NO_ANSWER.to_owned(), true),
        error if error.is_nx_domain() => ("there is no such name".to_owned(), false),
        error if error.is_no_records_found() => ("it has no such records".to_owned(), false),
        error => (one_line(error), true),
    };
    Lost { why, for_now }
}

/// What else this system knows of names.
async fn system(host: &str, families: Families) -> Option<Found<IpAddr>> {
    let found = timeout(LONGEST, lookup_host((host, 0))).await.ok()?.ok()?;
    let mut what: Vec<_> = found.map(|address| address.ip()).filter(|ip| families.has(*ip)).collect();
    what.sort_by_key(IpAddr::is_ipv6);
    (!what.is_empty()).then(|| Found { what, until: Instant::now() + SYSTEM_TTL, is_all: true, failed: None })
}

async fn limited<T>(asked: impl Future<Output = Result<T, Lost>>) -> Result<T, Lost> {
    timeout(LONGEST, asked).await.unwrap_or_else(|_| Err(no_answer()))
}

fn no_answer() -> Lost {
    Lost { why: NO_ANSWER.to_owned(), for_now: true }
}

#[cfg(test)]
mod tests;
