//! Looking names up in DNS.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, Record};
use hickory_resolver::{Resolver, TokioResolver};
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::outbound::one_line;

/// One server has so long to answer, and is asked so often.
const PATIENCE: (Duration, usize) = (Duration::from_secs(2), 2);

/// A look-up that takes longer, whatever it waits for, has failed.
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
    /// Asks this server, or those that this system is set up with.
    ///
    /// # Errors
    ///
    /// The system is set up with none that can be read.
    pub(crate) fn new(server: Option<SocketAddr>) -> anyhow::Result<Dns> {
        let mut builder = match server {
            Some(server) => {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                let servers = vec![NameServerConfig::new(server.ip(), true, connections.into())];
                let config = ResolverConfig::from_name_servers(servers);
                Resolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
            None => Resolver::builder_tokio()
                .context("cannot read /etc/resolv.conf; name a DNS server with --resolver, for example 10.0.0.2:53")?,
        };
        set(builder.options_mut(), server.is_some());
        let resolver = builder.build().context("cannot look names up")?;
        Ok(Dns { resolver, system: server.is_none() })
    }

    /// The addresses of a host: those of version 4, or those of version 6 if it has none.
    ///
    /// # Errors
    ///
    /// One line: it has none, or they cannot be found now.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Found<IpAddr>, Lost> {
        let asked = limited(async {
            let found = self.resolver.lookup_ip(host).await.map_err(|error| lost(&error))?;
            Ok(Found { what: found.iter().collect(), until: found.valid_until().into(), is_all: true })
        });
        match asked.await {
            Ok(found) if !found.what.is_empty() => Ok(found),
            Err(lost) if self.system => system(host).await.ok_or(lost),
            Err(lost) => Err(lost),
            Ok(_) => Err(Lost { why: "it has no address".to_owned(), for_now: false }),
        }
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
        let mut found = Found { what: Vec::new(), until, is_all: true };
        let mut why = Lost { why: "it has no hosts".to_owned(), for_now: false };
        for (record, host) in hosts {
            match host {
                Ok(host) => {
                    found.until = found.until.min(host.until);
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

fn set(options: &mut ResolverOpts, stated: bool) {
    (options.timeout, options.attempts) = PATIENCE;
    // Whoever asks does so when what was found is no longer true.
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
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
async fn system(host: &str) -> Option<Found<IpAddr>> {
    let found = timeout(LONGEST, lookup_host((host, 0))).await.ok()?.ok()?;
    let mut what: Vec<_> = found.map(|address| address.ip()).collect();
    if what.iter().any(IpAddr::is_ipv4) {
        what.retain(IpAddr::is_ipv4);
    }
    (!what.is_empty()).then(|| Found { what, until: Instant::now() + SYSTEM_TTL, is_all: true })
}

async fn limited<T>(asked: impl Future<Output = Result<T, Lost>>) -> Result<T, Lost> {
    timeout(LONGEST, asked).await.unwrap_or_else(|_| Err(Lost { why: NO_ANSWER.to_owned(), for_now: true }))
}
