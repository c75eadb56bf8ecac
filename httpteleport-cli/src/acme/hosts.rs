//! What is known of the names that certificates are for, and when one is ordered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::sign::CertifiedKey;
use tokio::time::Instant;

use super::refused::Why;

/// Most names at a time. Clients can name whatever the pattern takes.
pub(super) const MOST: usize = 1000;
/// So many certificates may be ordered at once for names that are new ...
pub(super) const BURST: f64 = 20.0;
/// ... and then one in so long, well below what authorities allow.
const REFILL: Duration = Duration::from_secs(60);
/// After a failure; doubled by each that follows.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);
/// While a certificate lasts, a pause is at most this part of the time that is left of it ...
const PART_OF_REST: u32 = 3;
/// ... but no less than this.
const SHORTEST_PAUSE: Duration = Duration::from_secs(5);
/// An authority that wants a longer pause is asked all the same after this one.
const LONGEST_ASKED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// All names.
#[derive(Debug)]
pub(super) struct Hosts {
    hosts: HashMap<String, Host>,
    tokens: f64,
    counted: Instant,
}

#[derive(Debug)]
struct Host {
    certificate: Option<Held>,
    ordering: bool,
    /// Failures in a row.
    failures: u32,
    /// Not before this.
    next: Instant,
}

/// A certificate, and when it should be another one.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) renew: Instant,
    pub(super) end: Instant,
}

/// What to do for a client that names a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// There is a certificate.
    Nothing,
    /// Order one, which counts as begun.
    Order,
    /// One is being ordered.
    Wait,
    /// There is none, and none is ordered now.
    Refuse(Why),
}

impl Hosts {
    pub(super) fn new(now: Instant) -> Hosts {
        Hosts { hosts: HashMap::new(), tokens: BURST, counted: now }
    }

    /// The certificate of this name, if it has one that is good.
    pub(super) fn certificate(&self, name: &str, now: Instant) -> Option<Arc<CertifiedKey>> {
        let held = self.hosts.get(name)?.certificate.as_ref()?;
        (now < held.end).then(|| Arc::clone(&held.key))
    }

    /// The names that have a certificate, each with the seconds that are left of it; below zero if it is over.
    pub(super) fn left(&self, now: Instant) -> impl Iterator<Item = (&String, f64)> {
        let left = move |held: &Held| {
            let after = |a: Instant, b: Instant| a.saturating_duration_since(b).as_secs_f64();
            after(held.end, now) - after(now, held.end)
        };
        self.hosts.iter().filter_map(move |(name, host)| Some((name, left(host.certificate.as_ref()?))))
    }

    /// What a client needs that names this host, which the pattern takes.
    pub(super) fn need(&mut self, name: &str, now: Instant) -> Need {
        if self.certificate(name, now).is_some() {
            return Need::Nothing;
        }
        match self.hosts.get(name) {
            Some(host) if host.ordering => return Need::Wait,
            Some(host) if now < host.next => return Need::Refuse(Why::Failed(host.next - now)),
            None if self.hosts.len() >= MOST => return Need::Refuse(Why::Full),
            _ => {}
        }
        if let Err(next) = self.take_token(now) {
            return Need::Refuse(Why::Busy(next));
        }
        self.host(name, now).ordering = true;
        Need::Order
    }

    /// Whether one is being ordered for this name.
    pub(super) fn is_ordering(&self, name: &str) -> bool {
        self.hosts.get(name).is_some_and(|host| host.ordering)
    }

    /// A name whose certificate should be renewed now, which counts as begun; or when to ask again.
    pub(super) fn due(&mut self, now: Instant) -> Result<String, Option<Instant>> {
        let when = |host: &Host| host.certificate.as_ref().map(|held| held.renew.max(host.next));
        let idle = self.hosts.iter_mut().filter(|(_, host)| !host.ordering);
        let first = idle.filter_map(|(name, host)| Some((when(host)?, name, host))).min_by_key(|(when, ..)| *when);
        match first {
            Some((when, name, host)) if when <= now => {
                host.ordering = true;
                Ok(name.clone())
            }
            first => Err(first.map(|(when, ..)| when)),
        }
    }

    /// An order has brought this, or the cache has.
    pub(super) fn hold(&mut self, name: &str, held: Held, now: Instant) {
        let host = self.host(name, now);
        *host = Host { certificate: Some(held), ordering: false, failures: 0, next: now };
    }

    /// An order has failed; when there may be another one. `jitter` of 0 to 1 spreads those that failed together; `asked` is what the
    /// authority wants at least.
    pub(super) fn fail(&mut self, name: &str, now: Instant, jitter: f64, asked: Duration) -> Duration {
        let host = self.host(name, now);
        let whole = FIRST_PAUSE.saturating_mul(1 << host.failures.min(16)).min(LONGEST_PAUSE);
        let left = host.certificate.as_ref().map(|held| held.end.saturating_duration_since(now));
        let most = left.filter(|left| !left.is_zero()).map(|left| (left / PART_OF_REST).max(SHORTEST_PAUSE));
        let pause = whole.min(most.unwrap_or(whole));
        // Those that are cut short would make the first one long that comes when the certificate is over.
        host.failures += u32::from(pause == whole);
        let pause = pause.mul_f64(1.0 + jitter / 4.0).max(asked.min(LONGEST_ASKED));
        (host.ordering, host.next) = (false, now + pause);
        pause
    }

    fn host(&mut self, name: &str, now: Instant) -> &mut Host {
        let new = || Host { certificate: None, ordering: false, failures: 0, next: now };
        self.hosts.entry(name.to_owned()).or_insert_with(new)
    }

    /// Takes what one order costs; or tells when there will be that.
    fn take_token(&mut self, now: Instant) -> Result<(), Duration> {
        let gained = (now - self.counted).as_secs_f64() / REFILL.as_secs_f64();
        (self.tokens, self.counted) = ((self.tokens + gained).min(BURST), now);
        if self.tokens < 1.0 {
            return Err(REFILL.mul_f64(1.0 - self.tokens));
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(now: Instant, renew: u64, end: u64) -> Held {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("a key");
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let ring = rustls::crypto::ring::default_provider();
        let key = CertifiedKey::from_der(vec![made.cert.der().clone()], key, &ring).expect("a pair");
        Held { key: Arc::new(key), renew: now + Duration::from_secs(renew), end: now + Duration::from_secs(end) }
    }

    #[test]
    fn one_order_at_a_time_and_then_none() {
        let now = Instant::now();
        let mut hosts = Hosts::new(now);
        assert_eq!([(); 3].map(|()| hosts.need("a.example", now)), [Need::Order, Need::Wait, Need::Wait]);
        hosts.hold("a.example", held(now, 60, 90), now);
        assert_eq!(hosts.need("a.example", now), Need::Nothing);
        assert_eq!(hosts.due(now), Err(Some(now + Duration::from_secs(60))));
        let later = now + Duration::from_secs(60);
        assert_eq!(hosts.due(later).as_deref(), Ok("a.example"));
        assert_eq!(hosts.due(later), Err(None), "it has begun");
        assert_eq!(hosts.need("a.example", later), Need::Nothing, "the old one is good yet");
        assert_eq!(hosts.need("a.example", now + Duration::from_secs(90)), Need::Wait);
    }

    #[test]
    fn names_without_end_are_ordered_slowly_and_not_without_end() {
        let start = Instant::now();
        let mut hosts = Hosts::new(start);
        let mut ask = |n: u64, seconds: u64| hosts.need(&format!("h{n}.example"), start + Duration::from_secs(seconds));
        let at_once = (0..500).filter(|&n| ask(n, 0) == Need::Order).count();
        assert_eq!(at_once, 20);
        assert_eq!(ask(500, 0), Need::Refuse(Why::Busy(REFILL)));
        let in_an_hour = (0..3600).filter(|&n| ask(1000 + n, n) == Need::Order).count();
        assert!((58..=60).contains(&in_an_hour), "{in_an_hour}");
        let in_a_month = (0..30 * 24 * 60).filter(|&n| ask(10_000 + n, 3600 + n * 60) == Need::Order).count();
        assert_eq!(20 + in_an_hour + in_a_month, MOST);
        assert_eq!(ask(700, 31 * 24 * 60 * 60), Need::Refuse(Why::Full));
    }

    #[test]
    fn failures_make_pauses_that_grow() {
        let mut now = Instant::now();
        let mut hosts = Hosts::new(now);
        let mut pauses = Vec::new();
        for _ in 0..14 {
            assert_eq!(hosts.need("a.example", now), Need::Order);
            let pause = hosts.fail("a.example", now, 0.0, Duration::ZERO);
            let before = Duration::from_millis(1);
            assert_eq!(hosts.need("a.example", now + pause - before), Need::Refuse(Why::Failed(before)));
            pauses.push(pause.as_secs());
            now += pause;
        }
        assert_eq!((pauses[..3].to_vec(), pauses[13]), (vec![60, 120, 240], 24 * 60 * 60));
        assert_eq!(hosts.fail("b.example", now, 1.0, Duration::ZERO), Duration::from_secs(75));
        // A renewal that fails is tried again, and what there is goes on to be shown.
        hosts.hold("a.example", held(now, 0, 9000), now);
        assert!(hosts.due(now).is_ok());
        let pause = hosts.fail("a.example", now, 0.0, Duration::ZERO);
        assert_eq!((hosts.due(now), hosts.need("a.example", now)), (Err(Some(now + pause)), Need::Nothing));
    }

    #[test]
    fn a_renewal_is_tried_again_while_the_certificate_lasts() {
        let start = Instant::now();
        let seconds = Duration::from_secs;
        let mut hosts = Hosts::new(start);
        hosts.hold("a.example", held(start, 0, 300), start);
        let (mut now, mut pauses) = (start, Vec::new());
        while now < start + seconds(300) {
            hosts.due(now).expect("a renewal");
            let pause = hosts.fail("a.example", now, 0.0, Duration::ZERO);
            pauses.push(pause.as_secs());
            now += pause;
        }
        assert_eq!(pauses[..4], [60, 80, 53, 35], "the second would be 120");
        assert!(pauses[4..].iter().all(|pause| (5..=24).contains(pause)), "{pauses:?}");
        // Over; the pauses that were short do not count.
        assert_eq!(hosts.need("a.example", now), Need::Order);
        assert_eq!(hosts.fail("a.example", now, 0.0, Duration::ZERO), seconds(120));
    }

    #[test]
    fn an_authority_that_asks_for_a_longer_pause_gets_it_within_reason() {
        let now = Instant::now();
        let mut hosts = Hosts::new(now);
        hosts.hold("a.example", held(now, 0, 300), now);
        for (asked, pause) in [(10, 60), (7200, 7200), (1 << 40, 7 * 24 * 60 * 60)] {
            hosts.hold("a.example", held(now, 0, 300), now);
            let asked = Duration::from_secs(asked);
            assert_eq!(hosts.fail("a.example", now, 0.0, asked), Duration::from_secs(pause));
        }
    }
}
