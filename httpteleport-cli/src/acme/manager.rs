//! Orders certificates when somebody needs them, and again before they end.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context;
use instant_acme::{Account, AccountCredentials, NewAccount};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::cache::{self, Cache};
use super::challenge::{Challenge, Proofs};
use super::hosts::{Held, Hosts, MOST, Need};
use super::http::{Http, Wish};
use super::http_01::Tokens;
use super::order::order;
use super::problem::{is_bad_nonce, is_forgotten, is_limited};
use super::refused;
use super::tally::Tally;
use super::tls_alpn::Challenges;
use crate::config;
use crate::outbound::one_line;
use crate::shutdown::Shutdown;
use crate::tls;

/// Orders that are under way at a time.
const AT_ONCE: usize = 4;
/// For one order, whole.
const PATIENCE: Duration = Duration::from_secs(180);
/// So often an order is made at once while all that the authority has against it are nonces; the library tries thrice for each.
const TRIES: u32 = 8;

/// The certificates of an input that come from an authority.
pub(crate) struct Manager {
    settings: config::Acme,
    pub(super) known: Arc<Known>,
    pub(super) challenge: Arc<ServerConfig>,
    orders: mpsc::Sender<String>,
    refused: refused::Log,
    tally: Arc<Tally>,
    /// What makes them, before it begins.
    waiting: Mutex<Option<(Arc<Orders>, mpsc::Receiver<String>)>>,
    task: OnceLock<AbortOnDropHandle<()>>,
}

/// Certificates, and who waits for them.
#[derive(Debug)]
pub(super) struct Known {
    hosts: Mutex<Hosts>,
    changed: watch::Sender<()>,
}

/// What orders need.
struct Orders {
    settings: config::Acme,
    cache: Cache,
    tls: Arc<ClientConfig>,
    wish: Arc<Wish>,
    account: AsyncMutex<Option<Account>>,
    proofs: Proofs,
    known: Arc<Known>,
    tally: Arc<Tally>,
}

/// All that is wrong with the files that orders need, each a line that names the option. Nothing is made.
pub(crate) fn faults(settings: &config::Acme) -> Vec<String> {
    let cache = Cache::check(&settings.cache).err();
    let trusted = tls::trusting(settings.ca.as_deref(), "--acme-ca").err();
    cache.into_iter().chain(trusted).map(|error| format!("{error:#}")).collect()
}

impl Manager {
    /// Opens the cache. Nothing is ordered before it [begins](Manager::begin), and nothing new before somebody needs it. An authority that
    /// asks by HTTP is shown what it wants to see by `tokens`; what becomes of orders is counted in `tally`.
    ///
    /// # Errors
    ///
    /// The cache or the file of authorities is of no use: one line that names the option.
    pub(crate) fn new(settings: &config::Acme, tokens: &Tokens, tally: &Arc<Tally>) -> anyhow::Result<Manager> {
        let cache = Cache::open(&settings.cache)?;
        let known = Arc::new(Known { hosts: Mutex::new(Hosts::new(Instant::now())), changed: watch::Sender::new(()) });
        let challenges = Challenges::default();
        let (orders, wanted) = mpsc::channel(MOST);
        let challenge = challenges.server_config()?;
        let makes = Arc::new(Orders {
            settings: settings.clone(),
            cache,
            tls: tls::trusting(settings.ca.as_deref(), "--acme-ca")?,
            wish: Arc::default(),
            account: AsyncMutex::default(),
            proofs: match settings.challenge {
                Challenge::TlsAlpn => Proofs::TlsAlpn(challenges),
                Challenge::Http => Proofs::Http(tokens.clone()),
            },
            known: Arc::clone(&known),
            tally: Arc::clone(tally),
        });
        makes.read_cache();
        let waiting = Mutex::new(Some((makes, wanted)));
        Ok(Manager {
            settings: settings.clone(),
            known,
            challenge,
            orders,
            refused: refused::Log::default(),
            tally: Arc::clone(tally),
            waiting,
            task: OnceLock::new(),
        })
    }

    /// Renews, and makes the orders that come, from now on until draining begins. The process that was here before has made them until now:
    /// what it has kept since is read. Called again it does nothing.
    pub(crate) fn begin(&self, shutdown: &Shutdown) {
        let Some((orders, wanted)) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        orders.read_cache();
        let shutdown = shutdown.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = orders.run(wanted) => {}
                // The authority would look at the process that is here next.
                () = shutdown.begun() => {}
            }
        });
        // It is the first.
        let _ = self.task.set(AbortOnDropHandle::new(task));
    }

    /// Whether it does what these settings say.
    pub(crate) fn has(&self, settings: &config::Acme) -> bool {
        self.settings == *settings
    }

    /// The names that have a certificate, each with the seconds that are left of it; below zero if it is over.
    pub(crate) fn left(&self) -> Vec<(String, f64)> {
        let hosts = self.known.hosts();
        hosts.left(Instant::now()).map(|(name, left)| (name.clone(), left)).collect()
    }

    /// Shows the certificates.
    pub(crate) fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::clone(&self.known) as Arc<dyn ResolvesServerCert>
    }

    /// The error of a handshake of a client that has named this host: why there is no certificate, if that is all that it says.
    pub(super) fn explained(&self, error: io::Error, host: Option<&str>) -> io::Error {
        // It has no other words for that.
        if !matches!(tls::cause(&error), Some(rustls::Error::General(_))) {
            return error;
        }
        io::Error::other(match host {
            None => "the client names no host, so there is no certificate to show".to_owned(),
            Some(host) if !self.settings.hosts.takes(host) => {
                format!("there is no certificate for {host}, which --autocert-host-regexp does not take")
            }
            Some(host) => format!("there is no certificate for {host} as yet"),
        })
    }

    /// Waits until there is a certificate for this name, or there will be none for now.
    pub(super) async fn ready(&self, name: &str) {
        if !self.settings.hosts.takes(name) {
            return;
        }
        let mut changed = self.known.changed.subscribe();
        let mut need = self.known.hosts().need(name, Instant::now());
        if let Need::Refuse(why) = need {
            self.refused.say(name, why);
            self.tally.refused.add();
        }
        if need == Need::Order && self.orders.try_send(name.to_owned()).is_err() {
            self.known.hosts().fail(name, Instant::now(), 0.0, Duration::ZERO);
        }
        while matches!(need, Need::Order | Need::Wait) {
            tokio::select! {
                _ = changed.changed() => {}
                // Draining has begun.
                () = self.orders.closed() => return,
            }
            need = if self.known.hosts().is_ordering(name) { Need::Wait } else { Need::Nothing };
        }
    }
}

impl Known {
    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Known {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.hosts().certificate(&hello.server_name()?.to_ascii_lowercase(), Instant::now())
    }
}

impl Orders {
    /// Takes what is kept, but for names that it orders.
    fn read_cache(&self) {
        let (now, kept) = (Instant::now(), self.cache.certificates());
        let mut hosts = self.known.hosts();
        for (name, held) in kept.into_iter().filter(|(name, _)| self.settings.hosts.takes(name)) {
            if !hosts.is_ordering(&name) {
                hosts.hold(&name, held, now);
            }
        }
    }

    /// Makes the orders that come, and those of renewals. Never ends.
    async fn run(self: Arc<Self>, mut wanted: mpsc::Receiver<String>) {
        let mut running = JoinSet::new();
        loop {
            let idle = running.len() < AT_ONCE;
            let due = if idle { self.known.hosts().due(Instant::now()) } else { Err(None) };
            let next = match due {
                Ok(name) => Some(name),
                Err(when) => tokio::select! {
                    name = wanted.recv(), if idle => match name {
                        Some(name) => Some(name),
                        None => return,
                    },
                    () = sleep_until(when.unwrap_or_else(Instant::now)), if when.is_some() => None,
                    _ = running.join_next(), if !running.is_empty() => None,
                },
            };
            if let Some(name) = next {
                let orders = Arc::clone(&self);
                running.spawn(async move { orders.make(&name).await });
            }
        }
    }

    /// Orders one certificate, and notes what comes of it.
    async fn make(&self, name: &str) {
        let made = timeout(PATIENCE, self.try_to_make(name)).await;
        let made = made.unwrap_or_else(|_| Err(anyhow::anyhow!("the authority did not get done in time")));
        let now = Instant::now();
        match made {
            Ok(held) => {
                self.known.hosts().hold(name, held, now);
                self.tally.done.add();
                tracing::info!("certificate for {name}: there is a new one");
            }
            Err(error) => {
                let asked = self.wish.left(now).filter(|_| is_limited(&error)).unwrap_or_default();
                let pause = self.known.hosts().fail(name, now, fastrand::f64(), asked);
                self.tally.failed.add();
                let (why, pause) = (one_line(&*error), pause.as_secs());
                tracing::warn!("certificate for {name}: {why}; none is ordered for the next {pause}s");
            }
        }
        self.known.changed.send_replace(());
    }

    async fn try_to_make(&self, name: &str) -> anyhow::Result<Held> {
        let pem = self.order(name).await?;
        let held = cache::held(&pem).context("what the authority has made is of no use")?;
        let (cache, whose) = (self.cache.clone(), name.to_owned());
        if let Err(error) = spawn_blocking(move || cache.keep(&whose, &pem)).await? {
            tracing::warn!("certificate for {name}: it is not kept: {error:#}");
        }
        Ok(held)
    }

    /// A key and its certificates, PEM. What is tried again makes sense at once.
    async fn order(&self, name: &str) -> anyhow::Result<String> {
        let mut tries = 1;
        loop {
            match self.order_once(name).await {
                Err(error) if is_bad_nonce(&error) && tries < TRIES => {
                    tracing::debug!("certificate for {name}: {error}; it is ordered again");
                    tries += 1;
                }
                made => return made,
            }
        }
    }

    async fn order_once(&self, name: &str) -> anyhow::Result<String> {
        let account = self.account().await?;
        match order(&account, name, &self.proofs).await {
            Err(error) if is_forgotten(&error) => {
                let account = self.account.lock().await.insert(self.register().await?).clone();
                order(&account, name, &self.proofs).await
            }
            made => made,
        }
    }

    /// The account, from memory, from the cache, or new.
    async fn account(&self) -> anyhow::Result<Account> {
        let mut slot = self.account.lock().await;
        if let Some(account) = &*slot {
            return Ok(account.clone());
        }
        let kept = self.cache.account(&self.settings.directory);
        let kept = kept.and_then(|text| serde_json::from_str::<AccountCredentials>(&text).ok());
        let account = match kept {
            Some(credentials) => self.builder().from_credentials(credentials).await?,
            None => self.register().await?,
        };
        Ok(slot.insert(account).clone())
    }

    async fn register(&self) -> anyhow::Result<Account> {
        let contact: Vec<_> = self.settings.contact.iter().map(|address| format!("mailto:{address}")).collect();
        let contact: Vec<_> = contact.iter().map(String::as_str).collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let made = self.builder().create(&new, self.settings.directory.clone(), None).await;
        let (account, credentials) = made.context("no account with the authority")?;
        self.cache.keep_account(&self.settings.directory, &serde_json::to_string(&credentials)?)?;
        Ok(account)
    }

    fn builder(&self) -> instant_acme::AccountBuilder {
        Account::builder_with_http(Box::new(Http { tls: Arc::clone(&self.tls), wish: Arc::clone(&self.wish) }))
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Manager({:?})", self.settings)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use tokio::net::TcpListener;
    use tokio::time::sleep;

    use super::*;
    use crate::acme::HostPattern;

    fn is_pending(future: impl Future) -> bool {
        matches!(pin!(future).poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_ordered_before_it_begins_nor_once_draining_has_begun() {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let settings = config::Acme {
            hosts: HostPattern::parse("(www|api)\\.example\\.test").expect("a pattern"),
            cache: folder.path().join("cache"),
            directory: format!("https://{}/dir", authority.local_addr().expect("an address")),
            ca: None,
            contact: Vec::new(),
            challenge: Challenge::TlsAlpn,
        };
        let manager = Manager::new(&settings, &Tokens::default(), &Arc::default()).expect("fine");
        let mut first = pin!(manager.ready("www.example.test"));
        assert!(is_pending(first.as_mut()), "it waits");
        sleep(Duration::from_secs(3600)).await;
        assert!(is_pending(authority.accept()), "nobody has asked the authority");

        let shutdown = Shutdown::new();
        manager.begin(&shutdown);
        manager.begin(&shutdown);
        let asked = authority.accept().await.expect("a connection");
        assert!(is_pending(first.as_mut()), "it still waits");
        shutdown.begin();
        first.await;
        manager.ready("api.example.test").await;
        drop(asked);
        sleep(Duration::from_secs(3600)).await;
        assert!(is_pending(authority.accept()), "nobody asks it again");
    }
}
