//! Looking names up in DNS.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RecordType;
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Resolver, TokioResolver};
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout, timeout_at};

use super::family::Families;
use super::late::{Going, Late, Pair, pair};
use super::search::Search;
use crate::outbound::one_line;

mod services;

pub(crate) use services::Service;

/// One server has so long to answer, and is asked so often.
const PATIENCE: (Duration, usize) = (Duration::from_secs(2), 2);

/// What has taken longer, whatever it waits for, has failed.
const LONGEST: Duration = Duration::from_secs(5);

/// What the system knows and DNS does not is asked for again after this.
const SYSTEM_TTL: Duration = Duration::from_secs(30);

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
#[derive(Debug)]
pub(crate) struct Found<T> {
    pub(crate) what: Vec<T>,
    pub(crate) until: Instant,
    /// Whether that is all: some hosts may not be found just now.
    pub(crate) is_all: bool,
    /// What could not be looked up just now of hosts that have other addresses.
    pub(crate) failed: Option<Failed>,
    /// Hosts of which there is nothing.
    pub(crate) lacking: Option<Lacking>,
    /// What may still come.
    pub(super) late: Option<Late<Result<Found<T>, Lost>>>,
}

/// Addresses that may be there or not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failed {
    pub(crate) families: Families,
    /// One line.
    pub(crate) why: String,
}

/// Hosts among others that have no address.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lacking {
    /// In the order of the alphabet, which answers do not change; at least one.
    hosts: Vec<String>,
    /// Why the first of them has none, in a line.
    why: String,
}

/// Why nothing was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lost {
    /// One line.
    pub(crate) why: String,
    pub(crate) what: Lack,
}

/// What there is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// The name, so no records of any kind.
    Name,
    /// Such records.
    Records,
    /// An answer: it may be there all the same.
    Answer,
}

impl Lost {
    fn new(why: impl Into<String>, what: Lack) -> Lost {
        Lost { why: why.into(), what }
    }

    /// Whether it may be there all the same: nobody has said that it is not.
    pub(crate) fn for_now(&self) -> bool {
        self.what == Lack::Answer
    }
}

/// The addresses of one family, and until when they are true.
type Addresses = Result<(Vec<IpAddr>, Instant), Lost>;

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
        let mut lost = Lost::new("it is no name", Lack::Name);
        for name in self.search.names(host) {
            match self.addresses_of(&name, until).await {
                Ok(found) => return Ok(found),
                // What may be there is the better reason.
                Err(why) if !lost.for_now() => lost = why,
                Err(_) => {}
            }
        }
        if self.system { system(host, self.families).await.ok_or(lost) } else { Err(lost) }
    }

    /// The addresses of a name that is whole. Of which there is no answer at that time has failed. One family does not wait for long for the
    /// other, which then comes later.
    async fn addresses_of(&self, name: &str, until: Instant) -> Result<Found<IpAddr>, Lost> {
        let four = self.family(name, RecordType::A, self.families.ipv4, until);
        let six = self.family(name, RecordType::AAAA, self.families.ipv6, until);
        // That there is no such name is taken from A alone: of AAAA some servers say it of names that have an A (RFC 4074).
        let enough = |answer: &Addresses, is_four: bool| match answer {
            Ok(_) => true,
            Err(lost) => is_four && lost.what == Lack::Name,
        };
        match pair(four, six, enough).await {
            Pair::Both(four, six) => both(four, six),
            Pair::First(four, six) => {
                let rest = |four| Box::pin(async move { both(Ok(four), six.await) });
                four.map(|four| Found::so_far(four.clone(), Families::IPV6, rest(four)))
            }
            Pair::Second(four, six) => {
                let rest = |six| Box::pin(async move { both(four.await, Ok(six)) });
                six.map(|six| Found::so_far(six.clone(), Families::IPV4, rest(six)))
            }
        }
    }

    /// The addresses of one family; none if they are not wanted.
    fn family(&self, name: &str, kind: RecordType, wanted: bool, until: Instant) -> Going<Addresses> {
        let (resolver, name) = (self.resolver.clone(), name.to_owned());
        Box::pin(async move {
            if !wanted {
                return Err(no_records());
            }
            let found = timeout_at(until, resolver.lookup(name, kind)).await;
            let found = found.map_err(|_| no_answer())?.map_err(|error| lost(&error))?;
            let what: Vec<_> = found.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
            if what.is_empty() { Err(no_records()) } else { Ok((what, found.valid_until().into())) }
        })
    }
}

impl Found<IpAddr> {
    /// Addresses of one family, where the other one's may come with `rest`.
    fn so_far((what, until): (Vec<IpAddr>, Instant), late: Families, rest: Going<Result<Found<IpAddr>, Lost>>) -> Self {
        Found { what, until, is_all: true, failed: None, lacking: None, late: Some(Late { families: late, rest }) }
    }
}

impl<T> Found<T> {
    /// The same, if there is nothing else; what cannot be looked up may be there.
    fn without(mut self, families: Families, lost: Lost) -> Found<T> {
        self.fail(lost.for_now().then_some(Failed { families, why: lost.why }));
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

impl Lacking {
    /// Hosts, each with the reason; `None` of none.
    pub(super) fn of(hosts: impl Iterator<Item = (String, String)>) -> Option<Lacking> {
        let mut hosts: Vec<_> = hosts.collect();
        hosts.sort();
        let why = hosts.first()?.1.clone();
        let mut hosts: Vec<_> = hosts.into_iter().map(|(host, _)| host).collect();
        hosts.dedup();
        Some(Lacking { hosts, why })
    }

    /// Whether they are the same hosts, for whatever reason.
    pub(crate) fn is_same(&self, other: &Lacking) -> bool {
        self.hosts == other.hosts
    }
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts[..] {
            [host] => write!(f, "its host {host} has no address: {}", self.why),
            hosts => write!(f, "{} of its hosts have no address, {} among them: {}", hosts.len(), hosts[0], self.why),
        }
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

/// What the answers for both families come to.
fn both(four: Addresses, six: Addresses) -> Result<Found<IpAddr>, Lost> {
    let all = |(what, until)| Found { what, until, is_all: true, failed: None, lacking: None, late: None };
    match (four, six) {
        (Ok((mut four, until)), Ok((six, other))) => {
            four.extend(six);
            Ok(all((four, until.min(other))))
        }
        (Ok(four), Err(lost)) => Ok(all(four).without(Families::IPV6, lost)),
        (Err(lost), Ok(six)) => Ok(all(six).without(Families::IPV4, lost)),
        (Err(four), Err(six)) => Err(if six.for_now() && !four.for_now() { six } else { four }),
    }
}

/// What an error means for whoever reads the log.
fn lost(error: &NetError) -> Lost {
    match error {
        NetError::Timeout | NetError::NoConnections => no_answer(),
        error if error.is_nx_domain() => Lost::new("there is no such name", Lack::Name),
        error if error.is_no_records_found() => no_records(),
        error => Lost::new(one_line(error), Lack::Answer),
    }
}

/// What else this system knows of names.
async fn system(host: &str, families: Families) -> Option<Found<IpAddr>> {
    let found = timeout(LONGEST, lookup_host((host, 0))).await.ok()?.ok()?;
    let mut what: Vec<_> = found.map(|address| address.ip()).filter(|ip| families.has(*ip)).collect();
    what.sort_by_key(IpAddr::is_ipv6);
    (!what.is_empty()).then(|| Found {
        what,
        until: Instant::now() + SYSTEM_TTL,
        is_all: true,
        failed: None,
        lacking: None,
        late: None,
    })
}

async fn limited<T>(asked: impl Future<Output = Result<T, Lost>>) -> Result<T, Lost> {
    timeout(LONGEST, asked).await.unwrap_or_else(|_| Err(no_answer()))
}

fn no_records() -> Lost {
    Lost::new("it has no such records", Lack::Records)
}

fn no_answer() -> Lost {
    Lost::new("no DNS server answers", Lack::Answer)
}

#[cfg(test)]
pub(super) mod tests;
