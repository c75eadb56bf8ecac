//! How much one client may ask for: requests at a time, and in a second.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::balance::{Load, Slots};
use crate::listen::Client;
use crate::refusal::{Reason, Refusal};

/// Clients that are told apart at a time, in so many parts. Those beyond share one limit.
const MOST: usize = 64 * 1024;
const PARTS: usize = 16;
/// Between two looks for clients of a part that need no place any more.
const PAUSE: Duration = Duration::from_secs(1);

/// The limits of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientLimits {
    /// Requests at a time.
    pub(crate) concurrency: Option<usize>,
    /// Requests in a second, and how many may come at once before that counts.
    pub(crate) rate: Option<(u32, u32)>,
}

/// The clients of a listener.
pub(crate) struct Clients {
    limits: ClientLimits,
    parts: Vec<Mutex<Part>>,
    hasher: RandomState,
}

struct Part {
    clients: HashMap<Key, Usage>,
    /// All for whom there was no place.
    others: Usage,
    looked: Instant,
}

/// Whom one limit is for. Whoever has an IPv6 address mostly has the rest of its /64, too.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    V4(u32),
    V6(u64),
}

struct Usage {
    running: Slots,
    /// When the last request would have come, had the client kept to its rate (the "theoretical arrival time" of GCRA, ATM's
    /// algorithm for this).
    due: Instant,
}

impl Clients {
    /// Nobody has asked for anything yet; `None` if there is no limit.
    pub(crate) fn new(limits: ClientLimits) -> Option<Clients> {
        let now = Instant::now();
        let part = || Part { clients: HashMap::new(), others: Usage::new(limits, now), looked: now };
        let limited = limits.concurrency.is_some() || limits.rate.is_some();
        limited.then(|| Clients {
            limits,
            parts: (0..PARTS).map(|_| Mutex::new(part())).collect(),
            hasher: RandomState::new(),
        })
    }

    /// What each of them has.
    pub(crate) fn limits(&self) -> ClientLimits {
        self.limits
    }

    /// Lets a request in, which counts until what this returns is dropped. Programs on this machine, by a unix socket, always
    /// are.
    ///
    /// # Errors
    ///
    /// 429: the client has asked for too much.
    pub(crate) fn admit(&self, client: Client, now: Instant) -> Result<Option<Load>, Refusal> {
        let Some(key) = client.address().map(Key::of) else { return Ok(None) };
        let index = usize::try_from(self.hasher.hash_one(key) % PARTS as u64).unwrap_or_default();
        let mut part = self.parts[index].lock().unwrap_or_else(PoisonError::into_inner);
        part.usage(key, self.limits, now).admit(self.limits, now)
    }
}

impl Part {
    fn usage(&mut self, key: Key, limits: ClientLimits, now: Instant) -> &mut Usage {
        let full = self.clients.len() >= MOST / PARTS;
        if full && !self.clients.contains_key(&key) {
            if now.duration_since(self.looked) >= PAUSE {
                self.looked = now;
                self.clients.retain(|_, usage| usage.counts(now));
            }
            if self.clients.len() >= MOST / PARTS {
                return &mut self.others;
            }
        }
        self.clients.entry(key).or_insert_with(|| Usage::new(limits, now))
    }
}

impl Usage {
    fn new(limits: ClientLimits, now: Instant) -> Usage {
        Usage { running: Slots::new(limits.concurrency.unwrap_or(usize::MAX)), due: now }
    }

    fn admit(&mut self, limits: ClientLimits, now: Instant) -> Result<Option<Load>, Refusal> {
        let due = match limits.rate {
            Some((rate, burst)) => {
                let step = Duration::from_secs(1) / rate;
                let due = self.due.max(now);
                if due - now > step * (burst - 1) {
                    return Err(Refusal::new(Reason::ClientRate, "too many requests of this client in a second"));
                }
                due + step
            }
            None => now,
        };
        let load = self
            .running
            .take()
            .ok_or(Refusal::new(Reason::ClientConcurrency, "too many requests of this client at a time"))?;
        self.due = due;
        Ok(limits.concurrency.map(|_| load))
    }

    /// Whether anything would change if it was forgotten.
    fn counts(&self, now: Instant) -> bool {
        self.due > now || self.running.taken() > 0
    }
}

impl Key {
    fn of(address: IpAddr) -> Key {
        match address.to_canonical() {
            IpAddr::V4(address) => Key::V4(address.to_bits()),
            IpAddr::V6(address) => Key::V6(u64::try_from(address.to_bits() >> 64).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn at(address: &str) -> Client {
        Client::Tcp(SocketAddr::new(address.parse().expect("an address"), 1))
    }

    fn clients(concurrency: Option<usize>, rate: Option<(u32, u32)>) -> Clients {
        Clients::new(ClientLimits { concurrency, rate }).expect("limits")
    }

    fn reason(refused: Result<Option<Load>, Refusal>) -> Option<Reason> {
        refused.err().map(|refusal| refusal.0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_has_so_many_at_a_time_and_others_their_own() {
        let (clients, now) = (clients(Some(2), None), Instant::now());
        let held: Vec<_> = (0..2).map(|_| clients.admit(at("10.0.0.1"), now).expect("a place")).collect();
        assert_eq!(reason(clients.admit(at("::ffff:10.0.0.1"), now)), Some(Reason::ClientConcurrency));
        assert!(clients.admit(at("10.0.0.2"), now).is_ok());
        drop(held);
        assert!(clients.admit(at("10.0.0.1"), now).is_ok());
        for _ in 0..9 {
            assert!(clients.admit(Client::Unix, now).expect("always").is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_has_so_many_in_a_second_after_so_many_at_once() {
        let (clients, start) = (clients(None, Some((10, 3))), Instant::now());
        let admitted = |millis, tries| {
            let now = start + Duration::from_millis(millis);
            (0..tries).filter(|_| clients.admit(at("10.0.0.1"), now).is_ok()).count()
        };
        assert_eq!(admitted(0, 9), 3);
        assert_eq!(admitted(99, 9), 0);
        assert_eq!(admitted(100, 9), 1);
        assert_eq!(admitted(1100, 99), 3, "a pause saves up no more than a burst");
        assert_eq!((1101..2101).map(|millis| admitted(millis, 1)).sum::<usize>(), 10);
        assert_eq!(
            reason(clients.admit(at("10.0.0.1"), start + Duration::from_millis(2101))),
            Some(Reason::ClientRate)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_of_ipv6_is_its_network() {
        let (clients, now) = (clients(None, Some((1, 1))), Instant::now());
        assert!(clients.admit(at("2001:db8::1"), now).is_ok());
        assert_eq!(reason(clients.admit(at("2001:db8::ffff:1"), now)), Some(Reason::ClientRate));
        assert!(clients.admit(at("2001:db8:0:1::1"), now).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_clients_than_there_is_room_for() {
        let (clients, start) = (clients(None, Some((1, 1))), Instant::now());
        let known = || clients.parts.iter().map(|part| part.lock().expect("fine").clients.len()).sum::<usize>();
        let at = |n: u32| Client::Named(IpAddr::V4(n.into()));
        let admitted = (0..200_000).filter(|n| clients.admit(at(*n), start).is_ok()).count();
        assert_eq!(known(), MOST);
        assert_eq!(admitted, MOST + PARTS, "who has no place shares one limit with all of those");
        assert_eq!(reason(clients.admit(at(0), start)), Some(Reason::ClientRate), "who is known stays known");
        let later = start + Duration::from_secs(2);
        assert!((0..1000).all(|n| clients.admit(at(1_000_000 + n), later).is_ok()), "who keeps quiet is forgotten");
        assert!(known() <= 1000 + MOST);
    }
}
