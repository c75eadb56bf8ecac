//! Which upstreams there are: looked up in DNS as often as its records say, and read from files that change.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use crate::endpoint::{Address, Endpoint, Scheme};
use crate::outbound::{LookedUp, Place};

mod dns;
mod entry;
mod family;
mod file;
mod first;
mod known;
mod late;
mod search;
mod source;
mod subset;
mod watch;
mod watched_file;

use dns::{Dns, Failed, Found, Lacking, Service};
pub(crate) use family::Families;
pub(crate) use first::{Search, begin};
pub(crate) use known::Known;
use late::Late;
pub(crate) use source::{Source, To};
pub(crate) use subset::Subset;

/// How upstreams are found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// The DNS server to ask. Default: those of this system, and what it knows otherwise.
    pub(crate) resolver: Option<SocketAddr>,
    /// Which addresses of names are upstreams. Default: all.
    pub(crate) families: Families,
    /// Most upstreams of a group; of more a part is used. Default: 10,000.
    pub(crate) most: usize,
    /// A smaller part for this node. Default: all.
    pub(crate) subset: Option<Subset>,
}

impl Default for Options {
    fn default() -> Options {
        Options { resolver: None, families: Families::ANY, most: 10_000, subset: None }
    }
}

/// Names are looked up again when their records are no longer true, but no more often than this.
const SHORTEST: Duration = Duration::from_secs(1);
/// And no more seldom than this.
const LONGEST: Duration = Duration::from_secs(300);
/// After a look-up that failed the next one comes after this; after each further one, later.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// But no later than this.
const LAST_RETRY: Duration = Duration::from_secs(30);
/// And than this while nothing was ever found: whoever waits for it waits for nothing else.
const LAST_SEARCH: Duration = Duration::from_secs(4);

/// Looks for the upstreams of sources.
#[derive(Clone)]
struct Finder {
    /// Made when it is needed if the system says nothing of DNS as yet, as at its start.
    dns: Option<Dns>,
    resolver: Option<SocketAddr>,
    families: Families,
}

/// The upstreams of a source, and when to look again.
struct Looked {
    places: Vec<Place>,
    again: Instant,
    /// Whether there are no others that cannot be found just now.
    is_all: bool,
    /// Addresses of these families may be there as well.
    failed: Option<Failed>,
    /// Hosts of which there is nothing.
    lacking: Option<Lacking>,
    /// What may still come.
    late: Option<Late<Result<Looked, String>>>,
}

impl Finder {
    /// One that looks as the options say.
    fn new(options: &Options) -> Finder {
        let (resolver, families) = (options.resolver, options.families);
        Finder { dns: Dns::new(resolver, families).ok(), resolver, families }
    }

    /// Looks for the upstreams of a source now.
    ///
    /// # Errors
    ///
    /// One line: there are none, or they cannot be found now.
    async fn look(&self, source: &Source) -> Result<Looked, String> {
        if let Some(place) = source.fixed() {
            let again = Instant::now() + LONGEST;
            return Ok(Looked { places: vec![place], again, is_all: true, failed: None, lacking: None, late: None });
        }
        match &source.to {
            To::Host(endpoint) => self.host(source, endpoint).await,
            To::Srv { scheme, name } => self.services(source, *scheme, name).await,
            To::File(_) => Err("is a file".to_owned()),
        }
    }

    fn dns(&self) -> Result<Dns, String> {
        let made = self.dns.clone().map_or_else(|| Dns::new(self.resolver, self.families), Ok);
        made.map_err(|error| format!("{error:#}"))
    }

    async fn host(&self, source: &Source, endpoint: &Endpoint) -> Result<Looked, String> {
        let Address::Tcp { host, port } = &endpoint.address else { return Err("is no name".to_owned()) };
        let found = self.dns()?.addresses(host).await.map_err(|lost| lost.why)?;
        let (source, host, scheme, port) = (source.clone(), host.clone(), endpoint.scheme, *port);
        Ok(looked(found, move |ip| source.place(at(scheme, ip, port), Some(LookedUp::Host(host.clone())))))
    }

    async fn services(&self, source: &Source, scheme: Scheme, name: &str) -> Result<Looked, String> {
        let found = self.dns()?.services(name).await.map_err(|lost| lost.why)?;
        let (source, domain, name) = (source.clone(), domain(name), name.trim_end_matches('.').to_owned());
        Ok(looked(found, move |service: Service| {
            let looked_up =
                LookedUp::Service { host: service.host.clone(), service: name.clone(), domain: domain.clone() };
            place_of(&source, scheme, looked_up, &service)
        }))
    }
}

/// The upstream that is one host of a service.
fn place_of(source: &Source, scheme: Scheme, looked_up: LookedUp, service: &Service) -> Place {
    let (ip, port) = (service.address.ip(), service.address.port());
    let place = source.place(at(scheme, ip, port), Some(looked_up));
    // A weight of 0 stands for a small chance, which 1 beside others that are larger is.
    let weight = place.weight.saturating_mul(u32::from(service.weight).max(1));
    let priority = place.priority.saturating_add(service.priority);
    Place { weight, priority, ..place }
}

/// What was found, at its places.
fn looked<T: Send + 'static>(found: Found<T>, place: impl Fn(T) -> Place + Send + 'static) -> Looked {
    let Found { what, until, is_all, failed, lacking, late } = found;
    let places = what.into_iter().map(&place).collect();
    let late = late.map(|late| late.map(|found| Ok(looked(found.map_err(|lost| lost.why)?, place))));
    Looked { places, again: again(until, Instant::now()), is_all, failed, lacking, late }
}

fn at(scheme: Scheme, ip: IpAddr, port: u16) -> Endpoint {
    Endpoint { scheme, address: Address::Tcp { host: ip.to_string(), port } }
}

/// When to look again at what is true until then.
fn again(until: Instant, now: Instant) -> Instant {
    until.clamp(now + SHORTEST, now + LONGEST)
}

/// The domain that a service belongs to, which certificates of its hosts have to be for: who asked for a service of that domain
/// trusts no other name that an answer may contain (RFC 6125, appendix B.2; RFC 4985).
fn domain(name: &str) -> String {
    let domain = name.splitn(3, '.').nth(2).unwrap_or(name);
    domain.strip_suffix('.').unwrap_or(domain).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_at_least_and_five_minutes_at_most() {
        let now = Instant::now();
        let after = |ttl| (again(now + Duration::from_secs(ttl), now) - now).as_secs();
        assert_eq!([0, 1, 30, 86_400].map(after), [1, 1, 30, 300]);
    }

    #[test]
    fn weights_that_are_multiplied_end_at_the_largest_that_there_is() {
        let weight = |source: u32, weight: u16| {
            let source = Source { weight: source, ..Source::parse("http+srv://_a._tcp.b").expect("a source") };
            let service = Service { host: "h".to_owned(), address: ([10, 0, 0, 1], 80).into(), priority: 0, weight };
            place_of(&source, Scheme::Http, LookedUp::Host("b".to_owned()), &service).weight
        };
        let cases = [(1, 0), (3, 0), (3, 7), (65_537, 65_535), (512 * 512, 16_384), (1_000_000, 65_535)];
        assert_eq!(cases.map(|(source, srv)| weight(source, srv)), [1, 3, 21, u32::MAX, u32::MAX, u32::MAX]);
    }

    #[test]
    fn certificates_are_for_the_domain_of_a_service() {
        assert_eq!(domain("_teleport._tcp.dc2.example.com"), "dc2.example.com");
        assert_eq!(domain("_teleport._tcp.example."), "example");
    }
}
